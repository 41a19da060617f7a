"""A device that sends its journal to headquarters by itself, beside whatever else it does."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from devices.errors import SyncSettingsError
from edge.decide import Desk
from edge.offline.sync_loop import SyncLoop
from edge.offline.sync_settings import open_session, remember_policy
from edge.service import Device
from runtime.app import SentApplication
from runtime.budget import Budget

log = logging.getLogger(__name__)


def synced(device: Device, desk: Desk) -> tuple[Device, SyncLoop | None]:
    """``device`` with sessions in a thread beside it, and how they go in its status; and that thread, to be stopped.

    A decision that goes to a person is sent at once if the line is there. A policy without a headquarters sends
    nothing; settings that cannot be used are said in log and status, and the device decides all the same.

    Args:
        device: Its scores are journaled by ``desk``.
        desk: Whose journal is sent, and whose clock learns headquarters' time.
    """
    policy, services = device.policy.sync, device.services
    problem: SyncSettingsError | None = None
    loop: SyncLoop | None = None
    try:
        remember_policy(policy)
        if policy.url:
            loop = SyncLoop(open_session(desk.journal, policy, clock=desk.clock).run, policy.every_minutes * 60)
            loop.start()
    except SyncSettingsError as error:
        log.error("%s", error)
        problem = error

    def score(sent: SentApplication, budget: Budget) -> dict[str, Any]:
        receipt = services.score(sent, budget)
        if loop is not None and receipt["decision"] == "review":
            loop.wake()
        return receipt

    def status() -> dict[str, Any]:
        idle = {"sent": None, "refused": None, "problem": problem.as_dict() if problem else None}
        return {**services.status(), "sync": loop.status() if loop else idle}

    return replace(device, services=replace(services, score=score, status=status)), loop
