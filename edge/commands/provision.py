"""``edgekit provision``: activate, mark-good, rollback, status; what works with media is in ``provision_medium``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from devices.provision.device import recorded
from devices.provision.lock import installer_lock, launcher_facts
from devices.provision.slots import read_switch
from devices.provision.switch import SLOT_NAMES, SlotName, Switch, as_document
from edge.activation import WAIT_S, Activation, activate_release, declare_good, go_back
from edge.commands.provision_medium import MEDIUM_COMMANDS, root_option
from edge.commands.result import Command, Result, json_option


def wait_option(command: Command) -> Command:
    """Add ``--wait``."""
    text = "Seconds to wait for the verdict on the release; 0 does not wait."
    return click.option("--wait", "wait_s", default=WAIT_S, show_default=True, type=click.FloatRange(min=0), help=text)(
        command
    )


@click.group()
def provision() -> None:
    """Install releases into a device's two slots, switch between them, and say what runs where."""


for _command in MEDIUM_COMMANDS:
    provision.add_command(_command)


@provision.command()
@root_option
@click.option("--slot", type=click.Choice(SLOT_NAMES), help="Which one.  [default: the one that is not active]")
@wait_option
@json_option
def activate(root: Path, slot: SlotName | None, wait_s: float) -> Result:
    """Let the other slot serve, in trial: it is marked good when it is healthy, else the device goes back."""
    with installer_lock(root), recorded(root, "activate"):
        return activation_result(activate_release(root, slot, wait_s=wait_s), root)


@provision.command("mark-good")
@root_option
@json_option
def mark_good(root: Path) -> Result:
    """End the trial of the active slot by your word. A running device does this by itself."""
    with installer_lock(root), recorded(root, "mark-good"):
        switch = declare_good(root)
    return Result(status_document(root, switch), f"Release {switch.serving.release} in slot {switch.active} is good.")


@provision.command()
@root_option
@click.option("--why", default="A person asked for it.", show_default=True, help="For the history, one sentence.")
@wait_option
@json_option
def rollback(root: Path, why: str, wait_s: float) -> Result:
    """Go back to the release in the other slot, which was good before."""
    with installer_lock(root), recorded(root, "rollback", why):
        return activation_result(go_back(root, why, wait_s=wait_s), root)


@provision.command()
@root_option
@json_option
def status(root: Path) -> Result:
    """Show what each slot holds, which one serves, and what happened lately."""
    switch = read_switch(root)
    slots = Table(box=None)
    for column in ("Slot", "Release", "State", ""):
        slots.add_column(column)
    for name in SLOT_NAMES:
        slot = switch.slots[name]
        active = "active" if name == switch.active else ""
        watched = ", watched" if switch.watch and switch.watch.slot == name else ""
        slots.add_row(name, slot.release or "-", slot.state, f"{active}{watched}  {escape(slot.why)}".strip())
    history = Table(box=None)
    for column in ("Time (UTC)", "Slot", "Release", "Event", "Why"):
        history.add_column(column)
    for event in switch.history[-10:]:
        history.add_row(event.time[:19], event.slot, event.release, event.event, escape(event.why))
    facts = launcher_facts(root)
    running = "The device is not running." if facts is None else f"The launcher is process {facts.get('pid')}."
    return Result(status_document(root, switch), Group(slots, "", history, "", running))


def status_document(root: Path, switch: Switch) -> dict[str, object]:
    """The record, and what the launcher says; of ``status`` and in every answer that changes the record."""
    return {"root": str(root), **as_document(switch), "launcher": launcher_facts(root)}


def activation_result(activation: Activation, root: Path) -> Result:
    """What an activation or a way back ended with."""
    release = activation.switch.slots[activation.slot].release
    sentence = (
        f"Release {release} serves from slot {activation.slot} and is good."
        if activation.verdict == "good"
        else f"Release {release} in slot {activation.slot} is active from the next start on; it was not waited for."
    )
    document = {"slot": activation.slot, "release": release, "verdict": activation.verdict}
    return Result({**status_document(root, activation.switch), **document}, sentence)
