"""Check of a provisioned device's slots: is there a whole one that serves, and one to fall back on?"""

from __future__ import annotations

import sys
from pathlib import Path

from devices.doctor.check import Check
from devices.errors import ProvisionError
from devices.provision.slots import Layout, read_switch, verify_slot
from devices.provision.switch import SlotName, other


def active_slot(root: Path) -> SlotName | None:
    """The slot that serves; None where none does, or the record cannot be read."""
    try:
        return read_switch(root).active
    except ProvisionError:
        return None


def check_slots(root: Path) -> Check:
    """DOCTOR-017: does the active slot hold every byte that was installed, and is there another to go back to?

    Reads every file of the active slot, which takes seconds.
    """
    if not Layout(root).switch.exists() and not (root / "slots").exists():
        return Check("DOCTOR-017", "ok", f"Nothing is installed at {root} yet.")
    install = "Install a release: edgekit provision install MEDIUM --root " + str(root)
    try:
        switch = read_switch(root)
        if switch.active is None:
            return Check("DOCTOR-017", "stop", f"No release serves from {root} yet.", install)
        verify_slot(root, switch.active)
    except ProvisionError as error:
        return Check("DOCTOR-017", "stop", error.problem, error.remedy)
    serving, spare = switch.serving, switch.slots[other(switch.active)]
    finding = f"Slot {switch.active} serves release {serving.release} ({serving.state}), and every file of it is whole"
    if serving.state == "bad":
        return Check("DOCTOR-017", "attention", f"{finding}, but it was given up: {serving.why}", install)
    if spare.state == "building":
        return Check(
            "DOCTOR-017",
            "attention",
            f"{finding}; an installation of {spare.release} is under way or was cut off.",
            "Start the same installation again; it goes on where it stopped.",
        )
    behind = f"{spare.release} ({spare.state})" if spare.release else "nothing yet"
    return Check("DOCTOR-017", "ok", f"{finding}; behind it is {behind}.")


def check_interpreter(root: Path, name: SlotName) -> Check | None:
    """Part of DOCTOR-002: what the golden set runs on here should be what serves; None if it is."""
    environment = Layout(root).environment(name)
    if Path(sys.prefix).resolve() == environment.resolve():
        return None
    return Check(
        "DOCTOR-002",
        "attention",
        f"This doctor runs in {sys.prefix}, the active slot in {environment}; the golden set is run by the former.",
        f"Run: {Layout(root).python(name)} -I -m edge.cli device doctor --root {root}",
    )
