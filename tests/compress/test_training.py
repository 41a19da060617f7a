"""Training that is killed and goes on, and one that is never disturbed, end in the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from compress.parallel import run_parallel
from devices.errors import CompressionError
from tests.compress.small_training import STEPS, learning, result

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    return result({"state": tmp_path_factory.mktemp("undisturbed") / "state.npz", "save_every_s": 1000.0})


def test_a_training_that_was_killed_ends_in_the_same_bits(undisturbed: list[np.ndarray], tmp_path: Path) -> None:
    state, program = tmp_path / "state.npz", tmp_path / "killed.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom tests.compress.small_training import result\n"
        f"if __name__ == '__main__': result({{'state': Path({str(state)!r}), 'pause_s': 0.2}})\n"
    )
    process = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 300
    while not state.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    children = children_of(process.pid)
    process.kill()
    process.wait()
    with np.load(state) as arrays:
        done = int(arrays["step"])
    assert 0 < done < STEPS
    assert len(children) >= 2
    until = time.monotonic() + 10
    while any(alive(child) for child in children):
        assert time.monotonic() < until, "a trainer outlived its command"
        time.sleep(0.05)
    for got, wanted in zip(result({"state": state}), undisturbed, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_only_the_rows_of_a_table_that_were_used_need_be_exchanged(
    undisturbed: list[np.ndarray], tmp_path: Path
) -> None:
    for got, wanted in zip(result({"state": tmp_path / "state.npz", "rows": False}), undisturbed, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_another_seed_ends_elsewhere(undisturbed: list[np.ndarray], tmp_path: Path) -> None:
    other = result({"state": tmp_path / "state.npz", "seed": 4})
    assert np.abs(other[0] - undisturbed[0]).max() > 1e-3


def test_a_loss_that_is_no_number_is_said_in_the_kits_words(tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match="step 1 of 24: the loss is nan"):
        result({"state": tmp_path / "state.npz", "broken": True})
    assert not (tmp_path / "state.npz").exists()


def test_ctrl_c_ends_the_trainers_and_keeps_what_was_saved(tmp_path: Path) -> None:
    state = tmp_path / "state.npz"

    def interrupt(share: float) -> None:
        if share > 0.2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            run_parallel(learning, {"state": state, "pause_s": 0.05}, shared_floats=500, progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert state.exists()
    assert not [child for child in children_of(os.getpid()) if b"multiprocessing.spawn" in command(child)]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
