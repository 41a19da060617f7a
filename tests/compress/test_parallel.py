"""Processes that average arrays, and what happens when one dies."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from compress.parallel import PROCESSES, Worker, run_parallel
from devices.errors import CompressionError


def averaging(worker: Worker, job: dict[str, Any]) -> list[list[float]]:
    results: list[list[float]] = []
    for step in range(3):
        arrays = [np.full((2, 2), worker.rank + step, np.float32), np.array([10.0 * worker.rank], np.float32)]
        square, single = worker.average(arrays)
        assert square.shape == (2, 2)
        results.append([float(square[1, 1]), float(single[0]), job["extra"]])
        worker.report(step)
    assert os.environ["OMP_NUM_THREADS"] == "1"
    return results


def dying(worker: Worker, job: None) -> None:
    if worker.rank == 1:
        os._exit(3)
    worker.average([np.zeros(1, np.float32)])


def test_every_process_gets_the_mean_and_the_first_reports() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    seen: list[int] = []
    got = run_parallel(averaging, {"extra": 7}, shared_floats=5, progress=seen.append)
    mean = (PROCESSES - 1) / 2
    assert got == [[mean + step, 10 * mean, 7] for step in range(3)]
    assert seen == [0, 1, 2]
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_a_process_that_dies_ends_the_work_instead_of_hanging() -> None:
    with pytest.raises(CompressionError, match="exit code 3"):
        run_parallel(dying, None, shared_floats=1)
