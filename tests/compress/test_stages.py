from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from compress.stages import Stages, stages_beside
from devices.errors import CompressionError
from devices.profile import load_profile


def write(result: Path, scratch: Path) -> None:
    (result / "weights").write_text("made")
    (scratch / "answers").write_text("of no use later")


def refuse(result: Path, scratch: Path) -> None:
    raise AssertionError("a finished stage is not made again")


def test_a_finished_stage_is_kept_and_not_made_again(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "out.stages")
    first = stages.run("distil", {"seed": 1}, write)
    assert [path.name for path in first.iterdir()] == ["weights"]
    assert Stages(tmp_path / "out.stages").run("distil", {"seed": 1}, refuse) == first
    assert [path.name for path in stages.root.iterdir()] == [first.name]


def test_other_inputs_are_another_stage(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    inputs = [{"seed": 1}, {"seed": 2}, {"seed": 1, "student": "nano"}, {"profile": load_profile("cpu-avx2")}]
    assert len({stages.path("distil", each) for each in inputs}) == 4
    assert stages.path("distil", {"a": 1, "b": 2}) == stages.path("distil", {"b": 2, "a": 1})


def test_a_stage_is_not_told_apart_by_a_path(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="by content"):
        Stages(tmp_path).path("distil", {"train": tmp_path})


def test_after_an_error_the_result_is_gone_and_the_scratch_is_picked_up(tmp_path: Path) -> None:
    stages = Stages(tmp_path)

    def stop(result: Path, scratch: Path) -> None:
        (result / "half").write_text("half")
        (scratch / "step-40").write_text("saved")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.run("distil", {}, stop)
    assert not stages.path("distil", {}).exists()

    def go_on(result: Path, scratch: Path) -> None:
        assert not list(result.iterdir())
        assert (scratch / "step-40").read_text() == "saved"
        (result / "weights").write_text("whole")

    assert (stages.run("distil", {}, go_on) / "weights").read_text() == "whole"


def test_a_full_disk_is_said_and_leaves_no_stage(tmp_path: Path) -> None:
    stages = Stages(tmp_path)

    def fill(result: Path, scratch: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(CompressionError, match="disk is full") as caught:
        stages.run("distil", {}, fill)
    assert "Finished stages are kept" in caught.value.state
    assert not stages.path("distil", {}).exists()


@pytest.mark.parametrize("error", [RuntimeError("Cannot open file"), SafetensorError("os error 5")])
def test_a_full_disk_that_a_library_words_in_its_own_way_is_said_too(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(result: Path, scratch: Path) -> None:
        raise error

    with pytest.raises(type(error)):
        Stages(tmp_path).run("distil", {}, fill)  # there is room: it is something else
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(CompressionError, match="disk is full"):
        Stages(tmp_path).run("distil", {}, fill)


def test_safetensors_takes_back_what_did_not_fit_and_is_believed(tmp_path: Path) -> None:
    def fill(result: Path, scratch: Path) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(CompressionError, match="disk is full"):
        Stages(tmp_path).run("distil", {}, fill)


def test_a_root_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompressionError, match="could not be written"), Stages(tmp_path / "file" / "x").alone():
        pass


HOLD = """
import sys, time
from pathlib import Path
from compress.stages import Stages
with Stages(Path(sys.argv[1])).alone():
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_commands_never_work_in_one_place_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=root, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(CompressionError, match="Another command"), Stages(tmp_path).alone():
            pass
        other.send_signal(signal.SIGKILL)
    with Stages(tmp_path).alone():
        pass


def test_stages_lie_beside_the_artifact() -> None:
    assert stages_beside(Path("out/text")) == Path("out/text.stages")
