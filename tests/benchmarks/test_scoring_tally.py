"""How much better one side is, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.scoring_tally import ratio_by_group


def share_right(truth: NDArray[np.int64], said: NDArray[np.int64]) -> float:
    return float((truth == said).mean())


def test_the_same_answers_are_as_good_however_groups_are_drawn() -> None:
    truth, group = np.array([0, 1, 1, 0, 1, 0]), np.array([5, 5, 2, 2, 9, 9])
    figure = ratio_by_group(share_right, truth, truth, truth, group)
    assert (figure.low, figure.value, figure.high) == (1.0, 1.0, 1.0)


def test_groups_are_drawn_whole_so_that_few_of_them_leave_it_open() -> None:
    truth = np.ones(100, np.int64)
    theirs = (np.arange(100) % 20 < np.repeat([4, 8, 12, 16, 20], 20)).astype(np.int64)
    few = ratio_by_group(share_right, truth, truth, theirs, np.repeat(np.arange(5), 20))
    many = ratio_by_group(share_right, truth, truth, theirs, np.arange(100))
    assert few.value == many.value == pytest.approx(1 / 0.6)
    assert few.high - few.low > 2 * (many.high - many.low) > 0
