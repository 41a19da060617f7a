"""kill -9 on the way from one release to the next: a sample of what './build.sh bench devices' does 200 times."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.devices_kill import Phase, kill_everywhere
from devices.provision.lock import launcher_facts
from devices.provision.slots import read_switch
from edge.cli import main
from tests.devices.provision.small_bank import Bank


def test_an_update_killed_at_any_step_leaves_a_slot_that_serves_and_is_simply_started_again(tmp_path: Path) -> None:
    bank, first = Bank(tmp_path / "bank"), tmp_path / "first"
    bank.publish()
    assert main(["provision", "install", str(bank.pack()), "--root", str(first)]) == 0
    bank.publish()
    phase = Phase("update", first, ("update", "--root", "ROOT", str(bank.repo)), 1, 2, points=3)
    assert [killed for killed in kill_everywhere(phase, tmp_path) if killed.problem] == []
    root = tmp_path / "root"
    assert read_switch(root).serving.state == "good"
    deployments = json.loads((root / "state" / "deployments.json").read_text())
    assert [(each["release"], each["result"]) for each in deployments] == [("small-1", "good"), ("small-2", "good")]


def test_a_launcher_that_was_started_for_the_trial_dies_with_its_installer(tmp_path: Path) -> None:
    bank, root = Bank(tmp_path / "bank"), tmp_path / "root"
    bank.publish("slow")
    command = [sys.executable, "-m", "edge.cli", "provision", "install", bank.pack(), "--root", root]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as installer:
        _until(lambda: launcher_facts(root) is not None)
        installer.kill()
    _until(lambda: launcher_facts(root) is None)
    assert read_switch(root).serving.state == "trial"
    assert main(["provision", "install", str(bank.place / "medium"), "--root", str(root)]) == 0


def _until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
