"""Power that fails at any step of a change of the slots: a whole slot is always named, and a second try ends it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from devices.errors import ProvisionError, SwitchError
from devices.provision import switch as moves
from devices.provision.slots import (
    Layout,
    activate_slot,
    begin_slot,
    change,
    complete_slot,
    create_root,
    read_switch,
    salvage,
    seal_slot,
    verify_slot,
)
from devices.provision.switch import SLOT_NAMES, Switch
from tests.devices.provision.power_cut import Disk, cut_power_at


def build(root: Path, sequence: int) -> None:
    name = begin_slot(root, f"small-{sequence}", sequence)
    layout = Layout(root)
    layout.release(name).write_text(json.dumps({"name": "small", "sequence": sequence}))
    layout.bundle(name).mkdir(exist_ok=True)
    for number in range(3):
        (layout.bundle(name) / f"file-{number}").write_text(f"{sequence}.{number}")
    (layout.bundle(name) / "link").unlink(missing_ok=True)
    (layout.bundle(name) / "link").symlink_to("file-0")
    seal_slot(root, name)
    complete_slot(root, name)


def prepared(root: Path, releases: int) -> None:
    """A device whose release 1 is good; release 2 is ready beside it, or good in its place."""
    create_root(root)
    build(root, 1)
    activate_slot(root, "a")
    change(root, moves.mark_good)
    if releases > 1:
        build(root, 2)
    if releases > 2:
        activate_slot(root, "b")
        change(root, moves.mark_good)


OPERATIONS: dict[str, tuple[int, Callable[[Path], object]]] = {
    "build": (1, lambda root: build(root, 2)),
    "build upon an old release": (3, lambda root: build(root, 3)),
    "activate": (2, lambda root: activate_slot(root, "b", crashes=2)),
    "attempt": (2, lambda root: (activate_slot(root, "b"), change(root, moves.attempt))),
    "mark good": (2, lambda root: (activate_slot(root, "b"), change(root, moves.mark_good))),
    "roll back": (3, lambda root: change(root, lambda switch: _back(switch))),
    "salvage": (3, lambda root: (Layout(root).switch.write_bytes(b"{"), salvage(root, "It was damaged."))),
}


def _back(switch: Switch) -> Switch:
    return moves.roll_back(switch, "why") if switch.active == "b" else switch


def outcome(switch: Switch) -> object:
    """What serves, and what each slot is; an attempt that was cut off counts, as it must."""
    return switch.active, [(slot.state, slot.release) for slot in switch.slots.values()]


def assert_something_serves(root: Path) -> None:
    """What the launcher would do next ends in a slot that verifies; and what is called good is whole."""
    try:
        switch = read_switch(root)
    except SwitchError:
        switch = salvage(root, "It was damaged.")
    assert switch.active is not None
    verify_slot(root, switch.active)
    for name in SLOT_NAMES:
        if switch.slots[name].state in moves.COMPLETE:
            verify_slot(root, name)


@pytest.mark.parametrize("disk", ["kept", "torn"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_at_every_step_a_whole_slot_is_active_and_a_second_try_ends_where_the_first_would_have(
    name: str, disk: Disk, tmp_path: Path
) -> None:
    releases, operation = OPERATIONS[name]
    prepared(tmp_path / "whole", releases)
    shutil.copytree(tmp_path / "whole", tmp_path / "undisturbed", symlinks=True)
    operation(tmp_path / "undisturbed")
    wanted = read_switch(tmp_path / "undisturbed")
    steps = 0
    while True:
        root = tmp_path / f"cut-{steps}"
        shutil.copytree(tmp_path / "whole", root, symlinks=True)
        if not cut_power_at(steps, disk, lambda: operation(root)):  # noqa: B023  # called at once
            shutil.rmtree(root)
            shutil.copytree(tmp_path / "whole", root, symlinks=True)
            break
        assert_something_serves(root)
        operation(root)
        assert outcome(read_switch(root)) == outcome(wanted)
        assert_something_serves(root)
        shutil.rmtree(root)
        steps += 1
    assert steps >= 4
    assert cut_power_at(steps, disk, lambda: (operation(root), os.fsync(0)))
    assert outcome(read_switch(root)) == outcome(wanted)  # durable when the call returns
    assert_something_serves(root)


def test_the_test_itself_sees_a_rename_that_was_not_made_durable(tmp_path: Path) -> None:
    def careless() -> None:
        (tmp_path / "draft").write_text("new")
        (tmp_path / "draft").replace(tmp_path / "file")
        (tmp_path / "next").unlink()

    (tmp_path / "file").write_text("old")
    (tmp_path / "next").write_text("there")
    assert cut_power_at(1, "torn", careless)
    assert (tmp_path / "file").read_text() == "old"


def test_a_full_disk_leaves_the_record_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(tmp_path / "root", 2)
    before = Layout(tmp_path / "root").switch.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ProvisionError, match="cannot be written: No space left on device"):
        activate_slot(tmp_path / "root", "b")
    assert Layout(tmp_path / "root").switch.read_bytes() == before
