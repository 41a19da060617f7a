"""kill -9 on the way from one release to the next: a sample of what './build.sh bench devices' does 200 times."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.devices_kill import Phase, kill_everywhere
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
