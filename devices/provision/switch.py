"""Which of the two slots serves, and what became of each: one record, and the moves that are allowed. Pure.

A slot's life::

    empty -> building -> ready -> trial -> good
                           ^        |       |
                           |        v       v      (rolled back: a person, crashes, or drifting scores)
                           +------ bad <----+

The rules:
 1. Only a complete slot (ready, good, bad) is activated, and every activation begins a trial.
 2. A trial counts its attempts before each start. When it is given up, the other slot serves, if that one is good.
 3. The active slot is never built upon; nor is a good one that a trial may have to fall back on.
 4. After a trial that went well the new release stays watched until enough applications are scored: crashes or
    drift lead back. Building upon the other slot ends the watch, since there is nothing to go back to any more.

Only the standard library and ``devices.errors`` are needed, for Python 3.9 on: the launcher runs these lines with
whatever Python the box has (docs/adr/0019).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, cast, get_args

from devices.errors import SwitchError

SlotName = Literal["a", "b"]
State = Literal["empty", "building", "ready", "trial", "good", "bad"]

SLOT_NAMES: tuple[SlotName, ...] = get_args(SlotName)
COMPLETE: frozenset[State] = frozenset({"ready", "trial", "good", "bad"})
HISTORY_LENGTH = 50
DEFAULT_CRASHES = 3
RECORD_REMEDY = "Start the device: it makes a new record from the slots that are whole."
_SCHEMA = 1


@dataclass(frozen=True)
class Slot:
    """What the record knows of one slot.

    Attributes:
        state: Where it is in its life.
        release: What it holds, ``NAME-SEQUENCE``; empty while the slot is.
        sequence: Of that release; -1 while the slot is empty.
        attempts: Starts of the trial under way.
        crashes: Failed starts after which a trial is given up, and crashes after which a watched release is.
        why: Why it is bad, or why its last attempt failed.
    """

    state: State = "empty"
    release: str = ""
    sequence: int = -1
    attempts: int = 0
    crashes: int = DEFAULT_CRASHES
    why: str = ""


@dataclass(frozen=True)
class Watch:
    """A new release that passed its trial and has not scored enough applications yet.

    Attributes:
        slot: Where it is.
        against: The release that served before; its scores are compared.
        crashes: How often the new release crashed since.
    """

    slot: SlotName
    against: str
    crashes: int = 0


@dataclass(frozen=True)
class Event:
    """One line of the history. ``time`` is UTC by the box's own clock, ISO 8601."""

    time: str
    event: str
    slot: SlotName
    release: str
    why: str = ""


@dataclass(frozen=True)
class Switch:
    """The whole record.

    Attributes:
        active: The slot that serves; None before the first activation.
        slots: Both.
        watch: The release that is watched, if one is.
        history: The latest events, oldest first.
    """

    active: SlotName | None = None
    slots: Mapping[SlotName, Slot] = field(default_factory=lambda: {name: Slot() for name in SLOT_NAMES})
    watch: Watch | None = None
    history: tuple[Event, ...] = ()

    @property
    def serving(self) -> Slot:
        """The active slot.

        Raises:
            SwitchError: None is.
        """
        if self.active is None:
            raise SwitchError("No slot of this device is active.", remedy="Run 'edgekit provision install MEDIUM'.")
        return self.slots[self.active]

    @property
    def fallback(self) -> SlotName | None:
        """The slot that would serve if the active one were given up; None where there is none that is good."""
        if self.active is None:
            return None
        name = other(self.active)
        return name if self.slots[name].state == "good" else None

    def to_bytes(self) -> bytes:
        """As it is written."""
        return json.dumps({"schema_version": _SCHEMA, **asdict(self)}, ensure_ascii=False, indent=1).encode() + b"\n"


def read_record(data: bytes) -> Switch:
    """Parse the record.

    Raises:
        SwitchError: It is not one that this kit writes.
    """
    try:
        document = json.loads(data)
        if document["schema_version"] != _SCHEMA:
            raise ValueError(f"its form is {document['schema_version']}, not {_SCHEMA}")
        switch = Switch(
            active=document["active"],
            slots={name: Slot(**document["slots"][name]) for name in SLOT_NAMES},
            watch=Watch(**document["watch"]) if document["watch"] else None,
            history=tuple(Event(**event) for event in document["history"]),
        )
        if switch.active is not None and switch.slots[switch.active].state not in COMPLETE:
            raise ValueError(f"slot {switch.active} is active, but {switch.slots[switch.active].state}")
        if any(slot.state not in get_args(State) for slot in switch.slots.values()):
            raise ValueError("a slot is in no known state")
        if switch.watch is not None and switch.watch.slot not in SLOT_NAMES:
            raise ValueError("no such slot is watched")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SwitchError(
            f"The record of the slots, switch.json, is damaged: {error}.", remedy=RECORD_REMEDY
        ) from error
    return switch


def other(slot: SlotName) -> SlotName:
    """The slot that is not ``slot``."""
    return "b" if slot == "a" else "a"


def inactive(switch: Switch) -> SlotName:
    """The slot that may be built upon."""
    return "a" if switch.active is None else other(switch.active)


def vacate(switch: Switch) -> Switch:
    """What the inactive slot holds is given up: nothing goes back to it from now on.

    Raises:
        SwitchError: The active slot is in trial and may have to go back to the other one.
    """
    name = inactive(switch)
    if switch.active is not None and switch.serving.state == "trial" and switch.slots[name].state == "good":
        raise SwitchError(
            f"Release {switch.serving.release} in slot {switch.active} is still in trial, and slot {name} is what the "
            "device would go back to.",
            remedy="Wait until 'edgekit provision status' calls the new release good, then run the command again.",
        )
    return _replaced(settle(switch, "the next release is being installed"), name, Slot())


def begin(switch: Switch, release: str, sequence: int) -> Switch:
    """The inactive slot, vacated and cleared, is being built from now on.

    Raises:
        SwitchError: It is not empty.
    """
    name = inactive(switch)
    if switch.slots[name].state != "empty":
        raise SwitchError(f"Slot {name} is {switch.slots[name].state}, not empty.")
    return _with(switch, name, Slot("building", release, sequence), "building")


def complete(switch: Switch) -> Switch:
    """The inactive slot is built, sealed and verified.

    Raises:
        SwitchError: It was not being built.
    """
    name = inactive(switch)
    slot = switch.slots[name]
    if slot.state != "building":
        raise SwitchError(f"Slot {name} is {slot.state}, not being built.")
    return _with(switch, name, replace(slot, state="ready"), "ready")


def activate(switch: Switch, name: SlotName, *, crashes: int = DEFAULT_CRASHES) -> Switch:
    """``name`` serves from now on, in trial. A slot that is active already stays as it is.

    Args:
        switch: The record so far.
        name: A complete slot.
        crashes: Failed starts after which the other slot serves again, from the policy in ``name``.

    Raises:
        SwitchError: The slot is not complete.
    """
    slot = switch.slots[name]
    if slot.state not in COMPLETE:
        raise SwitchError(
            f"Slot {name} is {slot.state}, so there is nothing in it to activate.",
            remedy="Run 'edgekit provision install MEDIUM' or 'edgekit provision update' first.",
        )
    if switch.active == name:
        return switch
    trial = replace(slot, state="trial", attempts=0, crashes=crashes, why="")
    return _with(replace(switch, active=name, watch=None), name, trial, "activated")


def attempt(switch: Switch) -> Switch:
    """The active slot is about to be started. Counted in a trial only; written before the start."""
    slot = switch.serving
    if slot.state != "trial":
        return switch
    return _replaced(switch, cast(SlotName, switch.active), replace(slot, attempts=slot.attempts + 1))


def attempts_are_over(switch: Switch) -> bool:
    """Whether the active slot's trial has had as many starts as it may have."""
    return switch.serving.state == "trial" and switch.serving.attempts >= switch.serving.crashes


def mark_good(switch: Switch, why: str = "") -> Switch:
    """The active slot passed its trial. It is watched from now on where there is a release to go back to."""
    name, slot = cast(SlotName, switch.active), switch.serving
    if slot.state == "good":
        return switch
    back = switch.fallback
    watch = Watch(name, switch.slots[back].release) if back else None
    return _with(replace(switch, watch=watch), name, replace(slot, state="good", attempts=0, why=""), "good", why)


def count_crash(switch: Switch) -> Switch:
    """A watched release crashed."""
    return (
        switch
        if switch.watch is None
        else replace(switch, watch=replace(switch.watch, crashes=switch.watch.crashes + 1))
    )


def crashes_are_over(switch: Switch) -> bool:
    """Whether the watched release crashed as often as it may."""
    return switch.watch is not None and switch.watch.crashes >= switch.serving.crashes


def settle(switch: Switch, why: str) -> Switch:
    """The watch is over; the release stays."""
    if switch.watch is None:
        return switch
    name = switch.watch.slot
    return _with(replace(switch, watch=None), name, switch.slots[name], "settled", why)


def note_failure(switch: Switch, why: str) -> Switch:
    """The active slot failed and there is no other to go back to: it is tried again, and the reason kept."""
    return _replaced(switch, cast(SlotName, switch.active), replace(switch.serving, why=why))


def roll_back(switch: Switch, why: str) -> Switch:
    """The active slot is given up; the other one serves again.

    Raises:
        SwitchError: The other one is not good.
    """
    back = switch.fallback
    if back is None:
        name = inactive(switch)
        raise SwitchError(
            f"There is nothing to go back to: slot {name} is {switch.slots[name].state}.",
            remedy="Install a release into it with 'edgekit provision install MEDIUM'.",
        )
    failed = cast(SlotName, switch.active)
    bad = replace(switch.serving, state="bad", attempts=0, why=why)
    return _with(replace(switch, active=back, watch=None), failed, bad, "rolled back", why)


def give_up_damaged(switch: Switch, why: str) -> Switch:
    """The active slot is damaged: the other one is tried, though it may have been given up before.

    Raises:
        SwitchError: There is nothing in the other one.
    """
    damaged, back = cast(SlotName, switch.active), inactive(switch)
    bad = replace(switch.serving, state="bad", attempts=0, why=why)
    return activate(_with(replace(switch, watch=None), damaged, bad, "damaged", why), back)


def found_damaged(switch: Switch, name: SlotName, why: str) -> Switch:
    """The slot that does not serve was found damaged: nothing goes back to it, and so nothing is watched."""
    return _with(replace(switch, watch=None), name, replace(switch.slots[name], state="bad", why=why), "damaged", why)


def salvaged(whole: Mapping[SlotName, tuple[str, int]], why: str) -> Switch:
    """A new record for a device whose own is lost: the newest whole slot is tried, the other one is its fallback.

    Args:
        whole: Release and sequence of each slot that verifies.
        why: What happened to the record.

    Raises:
        SwitchError: No slot is whole.
    """
    if not whole:
        raise SwitchError(
            f"{why} No slot holds a whole release either.",
            state="Nothing is served.",
            remedy="Install the device again: 'edgekit provision install MEDIUM'.",
        )
    newest, *rest = sorted(whole, key=lambda name: whole[name][1], reverse=True)
    slots = {name: Slot("good", *whole[name]) if name in whole else Slot() for name in SLOT_NAMES}
    # with nothing to fall back on a trial would decide nothing
    if rest:
        slots[newest] = replace(slots[newest], state="trial")
    return _with(Switch(active=newest, slots=slots), newest, slots[newest], "salvaged", why)


def _with(switch: Switch, name: SlotName, slot: Slot, event: str, why: str = "") -> Switch:
    line = Event(time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()), event, name, slot.release, why)
    history = (*switch.history, line)[-HISTORY_LENGTH:]
    return replace(_replaced(switch, name, slot), history=history)


def _replaced(switch: Switch, name: SlotName, slot: Slot) -> Switch:
    slots: dict[SlotName, Slot] = {**switch.slots, name: slot}
    return replace(switch, slots=slots)


def as_document(switch: Switch) -> dict[str, Any]:
    """For ``provision status --json``."""
    document: dict[str, Any] = asdict(switch)
    return document
