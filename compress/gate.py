"""The gate: whether a compressed model may take the place of its reference.

Pure functions of numbers; who measured them, and how, is in ``compress.evaluate``. A metric carries its direction,
because character error rate falls where accuracy rises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# 0.02 - 0.01 is not 0.01 in binary: a drop that equals the limit on paper must pass
_ROUNDING = 1e-9
_FASTER = 0.95  # of the reference's time; a smaller gain is within the noise of a measurement


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one candidate.

    Attributes:
        passed: Whether the candidate may be used.
        drop: How much worse the candidate is, in the metric's own unit; negative where it is better.
        sentence: The same for a reader, with the numbers.
    """

    passed: bool
    drop: float
    sentence: str


def judge(reference: float, candidate: float, *, max_drop: float, higher_is_better: bool) -> Verdict:
    """Compare one metric of the candidate with the reference's.

    The drop is absolute, not relative: a relative one has no meaning where the reference is zero.

    Args:
        reference: The metric of the model before compression.
        candidate: The same metric, on the same data and backend, after it.
        max_drop: How much worse still passes, as a fraction: 0.01 is one point.
        higher_is_better: The metric's direction.

    Raises:
        ValueError: ``max_drop`` is negative or not a number.
    """
    if not max_drop >= 0:
        raise ValueError(f"max_drop is {max_drop}; it must be 0 or more")
    drop = reference - candidate if higher_is_better else candidate - reference
    numbers = f"{reference:.4f} before, {candidate:.4f} after"
    if not math.isfinite(drop):
        return Verdict(False, math.inf, f"The metric is not a number ({numbers}).")
    passed = drop <= max_drop + _ROUNDING
    change = f"{abs(drop):.4f} {'worse' if drop > 0 else 'better'}" if drop else "no change"
    limit = f"within the limit of {max_drop:g}" if passed else f"more than the limit of {max_drop:g}"
    return Verdict(passed, drop, f"{numbers}: {change}, {limit}.")


def and_faster(verdict: Verdict, *, reference_ms: float, candidate_ms: float) -> Verdict:
    """Fail a candidate that is accurate enough but not at least 5 % faster: an INT8 model can be the slower one."""
    ratio = f"{candidate_ms:.1f} ms after {reference_ms:.1f} ms before"
    if verdict.passed and candidate_ms > _FASTER * reference_ms:
        return Verdict(False, verdict.drop, f"{verdict.sentence} It is not clearly faster: {ratio}.")
    return Verdict(verdict.passed, verdict.drop, f"{verdict.sentence} {ratio}.")


def bootstrap_interval(
    per_item_scores: Sequence[float], seed: int, *, level: float = 0.95, resamples: int = 1000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean score (Efron and Tibshirani 1993, chapter 13).

    Args:
        per_item_scores: One score per item; for the interval of a drop, one difference per item.
        seed: The same seed gives the same interval.
        level: Share of resampled means inside the interval.
        resamples: How often the items are drawn with replacement.

    Raises:
        ValueError: There are no scores.
    """
    scores = np.asarray(per_item_scores, dtype=np.float64)
    if scores.size == 0:
        raise ValueError("an interval needs at least one score")
    drawn = np.random.default_rng(seed).integers(0, scores.size, size=(resamples, scores.size))
    tail = (1 - level) / 2
    low, high = np.quantile(scores[drawn].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
