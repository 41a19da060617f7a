"""From a complete slot to a verdict on it: the switch, and what the launcher makes of it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devices.errors import SwitchError
from devices.provision.lock import launcher_facts
from devices.provision.slots import Layout, activate_slot, change, read_switch, verify_slot
from devices.provision.switch import SlotName, Switch, activate, inactive, mark_good, roll_back
from devices.provision.trial import await_verdict
from edge.policy import load_update_policy

WAIT_S = 600.0
_LOOK_S = 0.2


@dataclass(frozen=True)
class Activation:
    """How an activation ended.

    Attributes:
        switch: The record.
        slot: The slot that is active now.
        verdict: ``good``: it passed its trial, or is good and serves again; ``pending``: it was not waited for.
    """

    switch: Switch
    slot: SlotName
    verdict: Literal["good", "pending"]


def activate_release(root: Path, name: SlotName | None = None, *, wait_s: float = WAIT_S) -> Activation:
    """Switch to a complete slot and wait for what becomes of its trial. The caller holds the installer's lock.

    Args:
        root: Of the device.
        name: The slot; by default the one that is not active.
        wait_s: How long to wait for the verdict; where no launcher runs, one is started for that. 0 does not wait.

    Raises:
        SlotError: The slot does not verify.
        SwitchError: It is not complete.
        HealthError: The release failed its trial; the device went back by itself.
    """
    name = name or inactive(read_switch(root))
    activate(read_switch(root), name)  # an empty slot has no policy
    crashes = load_update_policy(Layout(root).bundle(name)).crashes
    switch = activate_slot(root, name, crashes=crashes)
    if not wait_s:
        return Activation(switch, name, "pending")
    await_verdict(root, name, python=Path(sys.executable), patience_s=wait_s)
    return Activation(read_switch(root), name, "good")


def declare_good(root: Path) -> Switch:
    """End the active slot's trial by a person's word: every file of it is checked, its health is not.

    Raises:
        SlotError: It does not verify.
        SwitchError: No slot is active.
    """
    verify_slot(root, _active(read_switch(root)))
    return change(root, lambda switch: mark_good(switch, "by a person"))


def go_back(root: Path, why: str, *, wait_s: float = WAIT_S) -> Activation:
    """Let the other slot serve again, whose release is known to be good. The caller holds the installer's lock.

    Where a launcher runs, it is waited for until it has changed over.

    Raises:
        SlotError: That slot does not verify; nothing was changed.
        SwitchError: It is not good.
    """
    switch = read_switch(root)
    if switch.fallback is not None:
        verify_slot(root, switch.fallback)
    switch = change(root, lambda before: roll_back(before, why))
    active, end = _active(switch), time.monotonic() + wait_s
    while (facts := launcher_facts(root)) is not None and time.monotonic() < end:
        if facts.get("slot") == active:
            return Activation(read_switch(root), active, "good")
        time.sleep(_LOOK_S)
    return Activation(switch, active, "pending")


def _active(switch: Switch) -> SlotName:
    if switch.active is None:
        raise SwitchError("No slot of this device is active.", remedy="Run 'edgekit provision install MEDIUM'.")
    return switch.active
