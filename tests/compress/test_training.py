"""Training that is killed and goes on, and one that is never disturbed, end in the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.paddle_env import paddle
from compress.parallel import Worker, run_parallel
from compress.training import Schedule, train
from devices.errors import CompressionError

ROOT = Path(__file__).parent.parent.parent
SCHEDULE = Schedule(epochs=6, batch=8, peak=1e-2)
TEXTS, STEPS = 32, 24


def learning(worker: Worker, job: dict[str, Any]) -> list[np.ndarray]:
    """A small network with dropout on random texts; slow enough to be killed in between."""
    random = np.random.default_rng(1)
    texts = random.integers(0, 50, (TEXTS, 4))
    truth = random.normal(size=(TEXTS, 2)).astype(np.float32)
    paddle.seed(1)
    table, drop, line = paddle.nn.Embedding(50, 8), paddle.nn.Dropout(0.3), paddle.nn.Linear(8, 2)
    seen = paddle.zeros([1])  # a running value, as of quantization-aware training

    def loss(mine: np.ndarray) -> Any:
        time.sleep(job.get("pause_s", 0.0))
        hidden = drop(table(paddle.to_tensor(texts[mine]))).mean(axis=1)
        seen.set_value(0.9 * seen + 0.1 * hidden.abs().max().reshape([1]))
        value = (line(hidden) - paddle.to_tensor(truth[mine])).square().mean()
        return value * float("nan") if job.get("broken") else value

    parameters = [*table.parameters(), *line.parameters()]
    options = {"table": table.weight, "rows": lambda batch: np.unique(texts[batch])} if job.get("rows", True) else {}
    train(
        worker,
        parameters,
        loss,
        [4] * TEXTS,
        SCHEDULE,
        seed=job.get("seed", 3),
        state=job["state"],
        observed=[seen],
        save_every_s=job.get("save_every_s", 0.0),
        **options,
    )
    learned = [tensor.numpy() for tensor in (*parameters, seen)]
    for mean, own in zip(worker.average(learned), learned, strict=True):
        np.testing.assert_array_equal(mean, own)  # all processes ended with the same
    return learned


def result(job: dict[str, Any]) -> list[np.ndarray]:
    found: list[np.ndarray] = run_parallel(learning, job, shared_floats=500)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    return result({"state": tmp_path_factory.mktemp("undisturbed") / "state.npz", "save_every_s": 1000.0})


def test_a_training_that_was_killed_ends_in_the_same_bits(undisturbed: list[np.ndarray], tmp_path: Path) -> None:
    state, program = tmp_path / "state.npz", tmp_path / "killed.py"
    program.write_text(
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
        "from pathlib import Path\nimport test_training\n"
        f"if __name__ == '__main__': test_training.result({{'state': Path({str(state)!r}), 'pause_s': 0.2}})\n"
    )
    process = subprocess.Popen([sys.executable, str(program)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
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

    with pytest.raises(KeyboardInterrupt):
        run_parallel(learning, {"state": state, "pause_s": 0.05}, shared_floats=500, progress=interrupt)
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
