"""A calibration made from cases whose end is known, and how far scores are from what became of such cases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.calibration import MOST, Calibration


def fitted(points: NDArray[np.int64], trouble: NDArray[np.int64], knots: Sequence[int]) -> Calibration:
    """The calibration that cases with a known end ask for: isotonic regression (Barlow et al. 1972), read at the knots.

    Args:
        points: Of each case, (n,).
        trouble: 1 where it ended in trouble, (n,).
        knots: Rising, from 0 to 100.
    """
    levels, place = np.unique(points, return_inverse=True)
    blocks: list[tuple[float, float, float]] = []  # cases, their points, their trouble; pooled until shares rise
    for level, count, bad in zip(levels, np.bincount(place), np.bincount(place, weights=trouble), strict=True):
        block = (float(count), float(count * level), float(bad))
        while blocks and blocks[-1][2] * block[0] >= block[2] * blocks[-1][0]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    centres = [block[1] / block[0] for block in blocks]
    shares = [block[2] / block[0] for block in blocks]
    read = np.interp(np.asarray(knots, np.float64), centres, shares)
    return Calibration(points=tuple(knots), score=(0, *(math.floor(MOST * share + 0.5) for share in read[1:].tolist())))


def expected_calibration_error(score: NDArray[np.int64], trouble: NDArray[np.int64], bins: int = 10) -> float:
    """How far scores are from the share of trouble among their like, as a fraction; bins of equal width.

    Source: Naeini et al. 2015; Guo et al., arXiv:1706.04599.
    """
    place = np.minimum(score * bins // MOST, bins - 1)
    return float(
        sum(
            (place == each).mean() * abs(score[place == each].mean() / MOST - trouble[place == each].mean())
            for each in np.unique(place)
        )
    )
