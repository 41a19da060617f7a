"""Slots on disk: sealed, verified, cleared; and the locks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from devices.errors import LockedError, ProvisionError, SlotError, SwitchError
from devices.provision import switch as moves
from devices.provision.lock import installer_lock, launcher_facts, launcher_lock
from devices.provision.slots import (
    SLOT_FILE,
    Layout,
    activate_slot,
    begin_slot,
    change,
    clear_slot,
    complete_slot,
    create_root,
    read_switch,
    salvage,
    seal_slot,
    verify_slot,
)
from tests.devices.provision.test_power_cuts import build, prepared

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    prepared(tmp_path / "root", 2)
    return tmp_path / "root"


def test_a_directory_without_slots_is_no_device(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="is not a provisioned device") as caught:
        read_switch(tmp_path)
    assert "provision install" in caught.value.remedy


def test_making_a_root_again_changes_nothing(root: Path) -> None:
    before = Layout(root).switch.read_bytes()
    create_root(root)
    assert Layout(root).switch.read_bytes() == before
    assert Layout(root).state.stat().st_mode & 0o777 == 0o700
    Layout(root).switch.unlink()
    create_root(root)  # slots are there, so an empty record would be a lie
    with pytest.raises(SwitchError, match="missing"):
        read_switch(root)


@pytest.mark.parametrize("path", ["release.json", "bundle/file-0", "bundle/file-2"])
@pytest.mark.parametrize("harm", ["flipped", "longer", "gone", "link"])
def test_every_changed_file_of_a_slot_is_named(root: Path, path: str, harm: str) -> None:
    file = Layout(root).slot("b") / path
    data = file.read_bytes()
    file.unlink()
    if harm == "flipped":
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "longer":
        file.write_bytes(data + b"\n")
    elif harm == "link":
        file.symlink_to("/etc/hostname")
    with pytest.raises(SlotError, match=f"^Slot b: {path}"):
        verify_slot(root, "b")
    with pytest.raises(SlotError, match=path):
        activate_slot(root, "b")
    assert read_switch(root).active == "a"


def test_links_and_files_beyond_the_list_are_named_and_bytecode_is_not(root: Path) -> None:
    bundle = Layout(root).bundle("b")
    (bundle / "__pycache__").mkdir()
    (bundle / "__pycache__" / "module.cpython-311.pyc").touch()
    verify_slot(root, "b")
    (bundle / "__pycache__" / "module.so").touch()
    with pytest.raises(SlotError, match="__pycache__/module.so is not one of its files"):
        verify_slot(root, "b")
    (bundle / "__pycache__" / "module.so").unlink()
    (bundle / "more").touch()
    with pytest.raises(SlotError, match="bundle/more is not one of its files"):
        verify_slot(root, "b")
    (bundle / "more").unlink()
    (bundle / "link").unlink()
    with pytest.raises(SlotError, match="bundle/link is missing"):
        verify_slot(root, "b")
    (bundle / "link").symlink_to("file-1")
    with pytest.raises(SlotError, match="bundle/link is a link that does not belong there"):
        verify_slot(root, "b")


@pytest.mark.parametrize("contents", [b"", b"[]", b'{"files": {"f": {}}, "links": {}, "schema_version": 1}'])
def test_a_damaged_list_is_damage_of_the_slot(root: Path, contents: bytes) -> None:
    (Layout(root).slot("b") / SLOT_FILE).write_bytes(contents)
    with pytest.raises(SlotError, match=r"slot\.json is damaged"):
        verify_slot(root, "b")


def test_a_slot_that_was_never_completed_says_so(root: Path) -> None:
    clear_slot(root, "b")
    with pytest.raises(SlotError, match=r"Slot b was never completed: it has no slot\.json"):
        verify_slot(root, "b")


def test_a_special_file_is_not_sealed(root: Path) -> None:
    name = begin_slot(root, "small-3", 3)
    os.mkfifo(Layout(root).slot(name) / "pipe")
    with pytest.raises(SlotError, match="pipe is neither"):
        seal_slot(root, name)


def test_building_goes_on_for_the_same_release_and_starts_anew_for_another(root: Path) -> None:
    assert begin_slot(root, "small-3", 3) == "b"
    kept = Layout(root).slot("b") / "kept"
    kept.touch()
    assert begin_slot(root, "small-3", 3) == "b"
    assert kept.exists()
    assert begin_slot(root, "small-4", 4) == "b"
    assert not kept.exists()
    with pytest.raises(SlotError, match="never completed"):
        complete_slot(root, "b")


def test_salvage_takes_what_verifies(root: Path) -> None:
    activate_slot(root, "b")
    change(root, moves.mark_good)
    Layout(root).switch.unlink()
    (Layout(root).bundle("b") / "file-0").unlink()
    switch = salvage(root, "It was lost.")
    assert (switch.active, switch.serving.state, switch.serving.release) == ("a", "good", "small-1")
    assert switch.slots["b"].state == "empty"
    clear_slot(root, "a")
    with pytest.raises(SwitchError, match="It was lost. No slot holds a whole release either"):
        salvage(root, "It was lost.")


def test_two_installers_at_once_are_one_too_many(root: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from devices.provision.lock import installer_lock\n"
        "with installer_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, root], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LockedError, match=f"process {other.pid}, is changing the device"), installer_lock(root):
            pass
        other.kill()
        other.wait()
    with installer_lock(root):  # a lock dies with its holder
        build(root, 3)


def test_what_the_launcher_tells_is_known_while_it_lives(root: Path) -> None:
    assert launcher_facts(root) is None
    with launcher_lock(root) as tell:
        assert launcher_facts(root) == {"pid": os.getpid()}
        tell({"pid": 1, "slot": "a"})
        assert launcher_facts(root) == {"pid": 1, "slot": "a"}
        with pytest.raises(LockedError, match="served already, by process 1"), launcher_lock(root):
            pass
    assert launcher_facts(root) is None


def test_the_record_is_json_that_people_can_read(root: Path) -> None:
    document = json.loads(Layout(root).switch.read_bytes())
    assert document["active"] == "a"
    assert document["slots"]["b"]["state"] == "ready"
    assert [event["event"] for event in document["history"]] == [
        "building", "ready", "activated", "good", "building", "ready"
    ]  # fmt: skip
