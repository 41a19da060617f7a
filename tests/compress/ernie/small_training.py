"""A small training that the tests interrupt, repeat, and spread over processes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from compress.ernie.training import Schedule, train
from compress.paddle_env import paddle
from compress.parallel import Worker, run_parallel

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
