from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from devices.doctor.slots import active_slot, check_interpreter, check_slots
from devices.provision.slots import (
    Layout,
    activate_slot,
    begin_slot,
    change,
    complete_slot,
    create_root,
    seal_slot,
)
from devices.provision.switch import mark_good


def install(root: Path, sequence: int) -> str:
    name = begin_slot(root, f"loans-{sequence}", sequence)
    folder = Layout(root).slot(name)
    folder.mkdir(parents=True, exist_ok=True)
    Layout(root).release(name).write_text(json.dumps({"name": "loans", "sequence": sequence}))
    Layout(root).bundle(name).mkdir()
    (Layout(root).bundle(name) / "model.onnx").write_bytes(b"model")
    seal_slot(root, name)
    complete_slot(root, name)
    activate_slot(root, name)
    change(root, mark_good)
    return name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "kit"
    create_root(root)
    return root


def test_where_nothing_is_installed_nothing_is_wrong_yet(tmp_path: Path, root: Path) -> None:
    assert check_slots(tmp_path / "new").state == "ok"
    assert active_slot(tmp_path / "new") is None
    check = check_slots(root)
    assert check.state == "stop"
    assert "No release serves" in check.finding
    assert "edgekit provision install" in check.remedy


def test_a_whole_slot_is_told_with_its_release_and_what_is_behind_it(root: Path) -> None:
    install(root, 1)
    assert check_slots(root).finding == (
        "Slot a serves release loans-1 (good), and every file of it is whole; behind it is nothing yet."
    )
    install(root, 2)
    check = check_slots(root)
    assert check.state == "ok"
    assert "behind it is loans-1 (good)" in check.finding


def test_a_changed_byte_of_the_active_slot_stops_and_is_named(root: Path) -> None:
    name = install(root, 1)
    (Layout(root).slot(name) / "bundle" / "model.onnx").write_bytes(b"m0del")
    check = check_slots(root)
    assert check.state == "stop"
    assert "bundle/model.onnx was changed" in check.finding


def test_an_installation_that_was_cut_off_needs_attention(root: Path) -> None:
    install(root, 1)
    begin_slot(root, "loans-2", 2)
    check = check_slots(root)
    assert check.state == "attention"
    assert "loans-2 is under way or was cut off" in check.finding


def test_a_damaged_record_stops(root: Path) -> None:
    install(root, 1)
    Layout(root).switch.write_bytes(b"{")
    assert check_slots(root).state == "stop"
    assert active_slot(root) is None


def test_a_doctor_of_another_environment_says_how_to_run_the_slot_s_own(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = check_interpreter(root, "a")
    assert check is not None
    assert check.remedy == f"Run: {root}/slots/a/environment/bin/python -I -m edge.cli device doctor --root {root}"
    monkeypatch.setattr(sys, "prefix", str(Layout(root).environment("a")))
    assert check_interpreter(root, "a") is None
