from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest

import devices.probe
from devices.clock import CLOCK_NAME, Clock
from devices.errors import DeviceError
from devices.gpu import Gpu
from devices.probe import probe


def test_a_driver_that_does_not_answer_is_a_problem_told_not_a_failed_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> tuple[Gpu, ...]:
        raise DeviceError("The NVIDIA driver did not answer.")

    monkeypatch.setattr(devices.probe, "gpus", silent)
    facts = probe()
    assert facts.gpus == ()
    assert facts.problems == ("The NVIDIA driver did not answer.",)


def test_this_machine_can_be_probed_and_told_as_json(tmp_path: Path) -> None:
    facts = probe(tmp_path / "not" / "there" / "yet")
    assert facts.cores >= 1
    assert facts.memory_mb > 256
    assert facts.disk_free_mb > 0
    assert facts.backends["openvino"] == metadata.version("openvino")
    assert abs(datetime.fromisoformat(facts.time) - datetime.now(UTC)) < timedelta(minutes=1)
    assert facts.clock == "ok"
    assert not (tmp_path / "not").exists()
    told = json.loads(json.dumps(facts.as_dict()))
    assert told["cores"] == facts.cores
    assert told["isa"] == list(facts.isa)
    assert told["limits"]["version"] in ("v1", "v2", "hybrid", "none")
    assert told["file_system"]["kind"] == facts.file_system.kind
    assert told["time_zone"]["name"] == facts.time_zone.name


def test_a_clock_that_was_set_back_is_told(tmp_path: Path) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=30)
    Clock(tmp_path / CLOCK_NAME, wall=lambda: tomorrow).read()
    assert probe(tmp_path).clock == "behind"


def test_probing_and_matching_import_no_backend() -> None:
    code = (
        "import sys; from devices.probe import probe; from devices.match import best; best(probe()); "
        "print([name for name in ('openvino', 'onnxruntime', 'paddle', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
