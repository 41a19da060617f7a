"""From the points of a scorecard to a score that says how often such a case is trouble.

Points add up whatever part they come from; how many of a hundred such cases were trouble is another question, and only
cases whose end is known can answer it. A calibration holds the answer as a line through knots that never falls. Scores
of 20 then mean that about 20 of 100 such cases were trouble. Pure functions, without NumPy: an installer reads policies
before there is any. ``edge.calibrate`` makes a calibration.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Self

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

    @property
    def steepest(self) -> int:
        """By how much one point more changes the score at most.

        The same application on the same bundle scores the same within this on every back end: their probabilities
        differ in the fourth decimal, which can tip the rounding of a part by one point.
        """
        return max(self.of(points + 1) - self.of(points) for points in range(MOST))


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
