"""``edgekit provision activate|mark-good|rollback|status`` on a device whose releases do as they are told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devices.provision.lock import installer_lock, launcher_facts
from devices.provision.slots import Layout, activate_slot, create_root, read_switch
from edge.cli import main
from tests.devices.provision.small_release import REPOSITORY, Launched, device, install

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return device(tmp_path / "root")


@pytest.fixture
def launched(root: Path, tmp_path: Path) -> Iterator[Launched]:
    made = Launched(root, tmp_path / "log")
    assert made.release() == 1
    yield made
    made.close()


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        status = main(["provision", *arguments, "--root", str(root), "--json"])
        return status, json.loads(capsys.readouterr().out)

    return call


def test_a_healthy_release_is_good_when_the_command_returns_and_a_person_can_go_back(
    root: Path, launched: Launched, run: Run
) -> None:
    install(root, 2)
    status, document = run("activate")
    assert status == 0
    assert (document["slot"], document["release"], document["verdict"]) == ("b", "small-2", "good")
    assert document["slots"]["b"]["crashes"] == 2  # of its own policy
    assert launched.release() == 2
    status, document = run("rollback", "--why", "Headquarters said so.")
    assert (status, document["slot"], document["verdict"]) == (0, "a", "good")
    assert document["slots"]["b"] == {
        "state": "bad", "release": "small-2", "sequence": 2, "attempts": 0, "crashes": 2,
        "why": "Headquarters said so.",
    }  # fmt: skip
    assert launched.release() == 1


def test_a_release_that_fails_its_trial_is_an_error_that_says_what_serves(
    root: Path, launched: Launched, run: Run
) -> None:
    install(root, 2, "broken")
    status, document = run("activate")
    assert status == 14
    assert document["error"]["code"] == "PROVISION-005"
    assert "small-2" in document["error"]["problem"]
    assert "The golden outputs are missed." in document["error"]["problem"]
    assert "small-1 serves" in document["error"]["state"]
    assert launched.release() == 1


def test_without_waiting_the_trial_begins_with_the_next_start(root: Path, run: Run) -> None:
    install(root, 2)
    status, document = run("activate", "--wait", "0")
    assert (status, document["verdict"]) == (0, "pending")
    assert document["slots"]["b"]["state"] == "trial"
    assert document["launcher"] is None
    status, document = run("mark-good")
    assert (status, document["slots"]["b"]["state"]) == (0, "good")
    status, document = run("rollback")
    assert (status, document["verdict"], document["active"]) == (0, "pending", "a")


def test_there_has_to_be_something_to_activate_and_something_to_go_back_to(run: Run) -> None:
    status, document = run("activate")
    assert (status, document["error"]["code"]) == (14, "PROVISION-002")
    assert "Slot b is empty" in document["error"]["problem"]
    status, document = run("rollback")
    assert "slot b is empty" in document["error"]["problem"]


def test_going_back_to_a_damaged_slot_is_refused_and_changes_nothing(root: Path, run: Run) -> None:
    activate_slot(root, install(root, 2))
    (Layout(root).bundle("a") / "behaviour").write_text("evil")
    status, document = run("rollback")
    assert (status, document["error"]["code"]) == (14, "PROVISION-003")
    assert "Slot a: bundle/behaviour was changed" in document["error"]["problem"]
    assert read_switch(root).active == "b"


def test_a_damaged_slot_is_not_declared_good(root: Path, run: Run) -> None:
    activate_slot(root, install(root, 2))
    (Layout(root).bundle("b") / "behaviour").write_text("evil")
    assert run("mark-good")[0] == 14
    assert read_switch(root).serving.state == "trial"


@pytest.mark.parametrize("command", ["activate", "mark-good", "rollback"])
def test_a_device_that_another_command_changes_is_left_alone(root: Path, run: Run, command: str) -> None:
    before = read_switch(root)
    with installer_lock(root):
        status, document = run(command)
    assert (status, document["error"]["code"]) == (14, "PROVISION-004")
    assert read_switch(root) == before


def test_status_shows_what_serves_and_why_the_other_does_not(
    root: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    install(root, 2)
    run("activate", "--wait", "0")
    run("mark-good")
    run("rollback", "--why", "It [bold]broke[/bold].")
    assert main(["provision", "status", "--root", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "small-1  good   active" in shown
    assert "It [bold]broke[/bold]." in shown
    assert "rolled back" in shown
    assert "The device is not running." in shown
    status, document = run("status")
    assert status == 0
    assert [event["event"] for event in document["history"]][-2:] == ["good", "rolled back"]


def test_status_of_a_directory_that_is_no_device_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["provision", "status", "--root", str(tmp_path), "--json"]) == 14
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "PROVISION-001"
    assert launcher_facts(tmp_path) is None


@pytest.mark.parametrize(("slots", "code"), [(False, "PROVISION-001"), (True, "PROVISION-002")])
def test_a_directory_without_a_release_is_not_served_and_not_written_to(tmp_path: Path, slots: bool, code: str) -> None:
    if slots:
        create_root(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "edge.cli", "serve", "--root", tmp_path, "--port", "0", "--json"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 14
    assert json.loads(result.stdout)["error"]["code"] == code
    assert sorted(tmp_path.rglob("*")) == before
