"""Training that is killed and goes on, and one that is never disturbed, end in the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from devices.errors import CompressionError
from tests.compress.ernie.small_training import STEPS, result

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    return result({"state": tmp_path_factory.mktemp("undisturbed") / "state.npz", "save_every_s": 1000.0})


def started(state: Path, program: Path) -> subprocess.Popen[bytes]:
    """The small training in a process of its own, which has saved its state for the first time."""
    program.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\nfrom tests.compress.ernie.small_training import result\n"
        f"if __name__ == '__main__': result({{'state': Path({str(state)!r}), 'pause_s': 0.2}})\n"
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        process = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.DEVNULL)
    finally:
        signal.signal(signal.SIGINT, before)
    until = time.monotonic() + 300
    while not state.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    return process


def test_a_training_that_was_killed_ends_in_the_same_bits(undisturbed: list[np.ndarray], tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    process = started(state, tmp_path / "killed.py")
    children = children_of(process.pid)
    process.kill()
    process.wait()
    with np.load(state) as arrays:
        done = int(arrays["step"])
    assert 0 < done < STEPS
    assert len(children) >= 2
    assert_ended(children)
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
    process = started(state, tmp_path / "stopped.py")
    children = children_of(process.pid)
    assert len(children) >= 2
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == -signal.SIGINT  # how Python ends by a KeyboardInterrupt that nobody catches
    assert_ended(children)
    with np.load(state) as arrays:
        assert 0 < int(arrays["step"]) < STEPS


def assert_ended(children: list[int]) -> None:
    until = time.monotonic() + 10
    while any(alive(child) for child in children):
        assert time.monotonic() < until, "a trainer outlived its command"
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
