"""Metrics kept in pieces, so that they can be worked out again for any choice of the items they rest on.

Every metric of the gate is a ratio of sums over items (texts, pages, lines, rows), or the mean of several such ratios:

    accuracy      right rows             by rows
    F1, H-mean    2 * hits               by found + wanted; macro-F1 is the mean over labels
    CER           edits                  by true characters
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """What each item adds to a metric.

    Attributes:
        above: (N, columns) what it adds above each column's fraction bar.
        below: (N, columns) and below it. A column whose sum is 0 does not count.
    """

    above: Floats
    below: Floats

    def __post_init__(self) -> None:
        if self.above.ndim != 2 or self.above.shape != self.below.shape or not len(self.above):
            raise ValueError(f"expected two equal shapes (N, columns), got {self.above.shape} and {self.below.shape}")

    @cached_property
    def columns(self) -> Floats:
        """(columns,) each ratio by itself, NaN where nothing counts."""
        below = self.below.sum(axis=0)
        return np.divide(self.above.sum(axis=0), below, out=np.full(below.shape, np.nan), where=below > 0)

    @cached_property
    def value(self) -> float:
        """The metric over all items; NaN where nothing counts."""
        return float(mean_ratio(self.above.sum(axis=0), self.below.sum(axis=0)))


def mean_ratio(above: Floats, below: Floats) -> Floats:
    """(..., columns) sums to (...) metrics: the mean of the ratios with something below, NaN where there is none."""
    counted = below > 0
    ratios = np.divide(above, below, out=np.zeros(above.shape), where=counted)
    number = counted.sum(axis=-1)
    mean: Floats = np.divide(ratios.sum(axis=-1), number, out=np.full(number.shape, np.nan), where=number > 0)
    return mean
