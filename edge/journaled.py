"""A device that answers for what it decides: its scores go over a desk, and its services have the review queue.

``edge.service`` loads models and scores, and writes nothing down; a rehearsal or a release in trial uses that. What
answers customers goes through here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from devices.clock import CLOCK_NAME, Clock
from devices.errors import JournalError
from devices.probe import probe
from devices.state import state_dir
from edge.bundle.archive import keep_bundle, prune_bundles
from edge.decide import Desk
from edge.journal.state import open_journal
from edge.review import Reviews
from edge.service import Device, submission_from
from runtime.app import SentApplication
from runtime.budget import Budget


def open_desk(device: Device, bundle: Path) -> Desk:
    """The desk of this device, over its journal and its clock.

    Args:
        device: Loaded.
        bundle: Where the bundle that it serves lies.

    Raises:
        JournalError: The journal or the device key cannot be used; the device must not decide.
    """
    clock, kept = Clock(state_dir() / CLOCK_NAME), device.policy.journal
    journal = open_journal(now=clock.now, bounds=kept.bounds())
    desk = Desk(device.scorer, device.policy, device.bundle, journal, clock, machine=machine_of(device))
    prune_bundles(device.bundle.sha256, desk.ledger.needs_bundle, kept.bundles_bytes)
    keep_bundle(device.bundle.sha256, bundle)
    return desk


def machine_of(device: Device) -> dict[str, str]:
    """What may explain why another machine scores otherwise."""
    return {"cpu": probe().cpu_model, "kit": device.services.version}


def journaled(device: Device, desk: Desk) -> Device:
    """``device`` with its scores decided by ``desk``, the review queue, and both in its status and metrics."""
    services = device.services

    def score(sent: SentApplication, budget: Budget) -> dict[str, Any]:
        return desk.decide(submission_from(sent), budget, key=sent.key).answered().model_dump(mode="json")

    def status() -> dict[str, Any]:
        return {**services.status(), **_status(desk)}

    for name, read in (
        ("journal_backlog", desk.journal.backlog),
        ("review_open", lambda: len(desk.ledger.open_cases())),
        ("offline_seconds", lambda: desk.lease().cut_off / _SECOND),
    ):
        services.metrics.watch(name, _readable(read))
    decisions = Reviews(desk, device.policy.review)
    return replace(device, services=replace(services, score=score, status=status, decisions=decisions))


_SECOND = timedelta(seconds=1)


def _status(desk: Desk) -> dict[str, Any]:
    try:
        held, head, full = desk.lease(), desk.journal.head(), desk.journal.full()
        return {
            "journal": {"backlog": desk.journal.backlog(), "head": head.code}
            | ({"error": full.as_dict()} if full else {}),
            "offline": {
                "since": held.since and held.since.isoformat(),
                "authority": "stopped" if full else held.authority,
            },
        }
    except JournalError as error:  # nothing is decided then
        return {
            "journal": {"backlog": None, "error": error.as_dict()},
            "offline": {"since": None, "authority": "stopped"},
        }


def _readable(read: Callable[[], float]) -> Callable[[], float]:
    """A metric that cannot be read is not a number; the others are shown all the same."""

    def measured() -> float:
        try:
            return read()
        except JournalError:
            return math.nan

    return measured
