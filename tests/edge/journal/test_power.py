"""kill -9 and power cuts at any moment: what was acknowledged is there once, and the chain verifies."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from benchmarks.offline_kill import judge, kill_writers
from benchmarks.offline_power import Step, acknowledged, build_recorder, disk_after, record
from tests.edge.journal.conftest import Device


def test_writers_that_are_killed_lose_and_double_nothing(tmp_path: Path) -> None:
    found, told = kill_writers(tmp_path / "state", kills=30, seed=1)
    assert not found
    assert told > 10


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Step]]:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler: requirements/system.txt")
    folder = tmp_path_factory.mktemp("power")
    library, state = build_recorder(folder), folder / "state"
    state.mkdir()
    return state, record(library, state, folder / "log", ["-m", "benchmarks.offline_writer", str(state), "12"])


def test_a_power_cut_at_any_write_loses_nothing_acknowledged(
    recording: tuple[Path, list[Step]], tmp_path: Path
) -> None:
    state, steps = recording
    draw = random.Random(5)
    begun = next(n for n, step in enumerate(steps) if step.kind == "R" and step.path.endswith("journal-head.json.new"))
    told_at = {len(acknowledged(steps, cut)) for cut in range(len(steps))}
    assert told_at == set(range(13))
    for number in range(60):
        disk = tmp_path / str(number)
        cut = draw.randrange(begun, len(steps) + 1)
        disk_after(steps, cut, draw, state, disk)
        (disk / "keys").mkdir(parents=True, exist_ok=True)
        found = judge(disk, acknowledged(steps, cut))
        assert not found, f"after step {cut}: {found}"


def test_a_request_that_led_to_two_decisions_is_a_fault(device: Device) -> None:
    journal = device.open()
    for number in range(2):
        body = {"decision_id": f"D-{number}", "request": "the same", "decision": "pass", "level": "low"}
        journal.append("decision", body)
    journal.close()
    assert judge(device.state, ["D-0"]).doubled == ["the same"]
    assert judge(device.state, ["D-2"]).lost == ["D-2"]
