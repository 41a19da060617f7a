"""From the points of a scorecard to a score that says how often such a case is trouble.

Points add up whatever part they come from; how many of a hundred such cases were trouble is another question, and only
cases whose end is known can answer it. A calibration holds the answer as a line through knots that never falls. Scores
of 20 then mean that about 20 of 100 such cases were trouble. Pure functions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST = 100  # points, and score

Knot = Annotated[int, Field(ge=0, le=MOST)]


class Calibration(BaseModel):
    """A line through knots; it starts at 0 for 0 points, since a score without reasons cannot be told.

    Attributes:
        points: Rising, from 0 to 100.
        score: At each of them; never falling, 0 at first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: tuple[Knot, ...]
    score: tuple[Knot, ...]

    @model_validator(mode="after")
    def _is_a_line_that_never_falls(self) -> Self:
        if len(self.points) != len(self.score):
            raise ValueError(f"there are {len(self.points)} points and {len(self.score)} scores")
        if len(self.points) < 2 or (self.points[0], self.points[-1]) != (0, MOST):
            raise ValueError(f"points must run from 0 to {MOST}")
        if any(b <= a for a, b in itertools.pairwise(self.points)):
            raise ValueError("points must rise")
        if self.score[0] != 0 or any(b < a for a, b in itertools.pairwise(self.score)):
            raise ValueError("score must start at 0 and never fall")
        return self

    def of(self, points: int) -> int:
        """The score for so many points: straight between the knots, rounded half up.

        Raises:
            ValueError: There cannot be so many.
        """
        if not 0 <= points <= MOST:
            raise ValueError(f"{points} points are not between 0 and {MOST}")
        place = next(index for index, knot in enumerate(self.points) if knot >= points)
        if self.points[place] == points:
            return self.score[place]
        low, high = self.points[place - 1], self.points[place]
        rise = (self.score[place] - self.score[place - 1]) * (points - low)
        # in whole numbers, so that no rounding of the machine's decides
        return self.score[place - 1] + (2 * rise + (high - low)) // (2 * (high - low))


UNCALIBRATED = Calibration(points=(0, MOST), score=(0, MOST))


def shared_out(points: Sequence[int], score: int) -> list[int]:
    """The score in whole parts that are in proportion to ``points`` and add up to it exactly.

    The largest remainders are rounded up (Hare and Niemeyer); of equal ones the earlier.

    Raises:
        ValueError: There is a score and there are no points to explain it.
    """
    total = sum(points)
    if total == 0:
        if score:
            raise ValueError(f"a score of {score} cannot be told by no points")
        return [0] * len(points)
    parts = [each * score // total for each in points]
    by_remainder = sorted(range(len(points)), key=lambda index: (-(points[index] * score % total), index))
    for index in by_remainder[: score - sum(parts)]:
        parts[index] += 1
    return parts


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
