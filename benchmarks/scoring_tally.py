"""How often something was right, and how much better one side is, with the interval that so many tries allow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Figure

_RESAMPLES = 200


@dataclass
class Tally:
    """How often something was right, and examples of where it was not."""

    right: int = 0
    all: int = 0
    wrong: list[str] = field(default_factory=list)

    def count(self, right: int, of: int, example: str = "") -> None:
        """Count ``right`` ``of`` some."""
        self.right, self.all = self.right + right, self.all + of
        if right < of and example:
            self.wrong.append(example)

    def percent(self) -> Figure | None:
        """The share in percent with its 95 % interval (Wilson); None if nothing was counted."""
        if not self.all:
            return None
        share, z = self.right / self.all, 1.96
        wide = 1 + z**2 / self.all
        middle = (share + z**2 / (2 * self.all)) / wide
        reach = z * math.sqrt(share * (1 - share) / self.all + z**2 / (4 * self.all**2)) / wide
        return Figure(100 * share, 100 * max(0.0, middle - reach), 100 * min(1.0, middle + reach))


def ratio_by_group(
    metric: Callable[[NDArray[Any], NDArray[Any]], float],
    truth: NDArray[Any],
    ours: NDArray[Any],
    theirs: NDArray[Any],
    group: NDArray[Any],
) -> Figure:
    """``metric`` of ours over that of theirs; the 95 % interval by drawing whole groups with replacement."""
    rng = np.random.default_rng(0)
    places = [np.flatnonzero(group == each) for each in np.unique(group)]
    ratios = []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([places[number] for number in rng.integers(0, len(places), len(places))])
        ratios.append(metric(truth[drawn], ours[drawn]) / metric(truth[drawn], theirs[drawn]))
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Figure(metric(truth, ours) / metric(truth, theirs), float(low), float(high))
