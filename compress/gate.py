"""The gate: whether a compressed model may take the place of its reference.

Pure functions of numbers; who measured them, and how, is in ``compress.evaluate``. A metric carries its direction,
because character error rate falls where accuracy rises.

What was measured decides, and the interval around it says how much to make of that (docs/adr/0007): on a small set
the interval is wide, and no model at all would pass if all of it had to lie within the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from compress.tally import Tally, mean_ratio
from devices.errors import TeacherError

# 0.02 - 0.01 is not 0.01 in binary: a drop that equals the limit on paper must pass
_ROUNDING = 1e-9
FASTER = 0.95  # of the reference's time; a smaller gain is within the noise of a measurement
LEVEL = 0.95  # of the intervals
_RESAMPLES = 1000
_BLOCK = 4_000_000  # items drawn at a time; more at once would only cost memory


@dataclass(frozen=True)
class Interval:
    """Where the true drop lies with 95 % confidence, in the metric's own unit; positive is worse."""

    low: float
    high: float

    def of_metric(self, reference: float, *, higher_is_better: bool) -> tuple[float, float]:
        """The same as an interval of the candidate's metric, the reference's taken as it was measured."""
        if higher_is_better:
            return reference - self.high, reference - self.low
        return reference + self.low, reference + self.high


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one candidate.

    Attributes:
        passed: Whether the candidate may be used.
        drop: How much worse the candidate is, in the metric's own unit; negative where it is better.
        sentence: The same for a reader, with the numbers.
        interval: Of the drop; None where it was not worked out.
    """

    passed: bool
    drop: float
    sentence: str
    interval: Interval | None = None


def judge(
    reference: float, candidate: float, *, max_drop: float, higher_is_better: bool, interval: Interval | None = None
) -> Verdict:
    """Compare one metric of the candidate with the reference's.

    The drop is absolute, not relative: a relative one has no meaning where the reference is zero.

    Args:
        reference: The metric of the model before compression.
        candidate: The same metric, on the same data and backend, after it.
        max_drop: How much worse still passes, as a fraction: 0.01 is one point.
        higher_is_better: The metric's direction.
        interval: Of the drop; it goes into the sentence and decides nothing.

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
    if interval is None:
        return Verdict(passed, drop, f"{numbers}: {change}, {limit}.")
    change += f" ({LEVEL * 100:g} % interval {interval.low:.4f} to {interval.high:.4f})"
    return Verdict(passed, drop, f"{numbers}: {change}, {limit}{_sureness(drop, max_drop, interval)}.", interval)


def judge_tallies(
    reference: Tally, candidate: Tally, *, max_drop: float, higher_is_better: bool, seed: int = 0
) -> Verdict:
    """``judge`` with the interval that the two tallies give; arguments as there and in ``drop_interval``."""
    interval = drop_interval(reference, candidate, higher_is_better=higher_is_better, seed=seed)
    return judge(
        reference.value, candidate.value, max_drop=max_drop, higher_is_better=higher_is_better, interval=interval
    )


def and_faster(verdict: Verdict, *, reference_ms: float, candidate_ms: float) -> Verdict:
    """Fail a candidate that is accurate enough but not at least 5 % faster: an INT8 model can be the slower one."""
    ratio = f"{candidate_ms:.1f} ms after {reference_ms:.1f} ms before"
    if verdict.passed and candidate_ms > FASTER * reference_ms:
        return replace(verdict, passed=False, sentence=f"{verdict.sentence} It is not clearly faster: {ratio}.")
    return replace(verdict, sentence=f"{verdict.sentence} {ratio}.")


def drop_interval(
    reference: Tally, candidate: Tally, *, higher_is_better: bool, seed: int = 0, resamples: int = _RESAMPLES
) -> Interval | None:
    """Paired percentile bootstrap of the drop (Efron and Tibshirani 1993, chapter 13).

    Items are drawn with replacement, the same for both models, and the metric of each is worked out again: what is
    hard for both does not widen the interval. Draws on which a metric is not defined (no label occurs) are left out.

    Args:
        reference: The metric's pieces by item, of the model before compression.
        candidate: Of the same items in the same order, after it.
        higher_is_better: The metric's direction.
        seed: The same seed gives the same interval.
        resamples: How often as many items are drawn as there are.

    Returns:
        The interval, wide enough to hold the drop itself; None if no draw defined both metrics.

    Raises:
        ValueError: The numbers of items differ.
    """
    items = len(reference.above)
    if len(candidate.above) != items:
        raise ValueError(f"the reference has {items} items, the candidate {len(candidate.above)}")
    pieces = [reference.above, reference.below, candidate.above, candidate.below]
    edges = np.cumsum([each.shape[1] for each in pieces])[:-1]
    columns = np.hstack(pieces)
    random = np.random.default_rng(seed)
    drops = []
    for start in range(0, resamples, max(1, _BLOCK // items)):
        draws = min(max(1, _BLOCK // items), resamples - start)
        drawn = random.integers(0, items, (draws, items)) + items * np.arange(draws)[:, None]
        times = np.bincount(drawn.ravel(), minlength=draws * items).reshape(draws, items)  # how often each is drawn
        before_above, before_below, after_above, after_below = np.split(times.astype(np.float64) @ columns, edges, 1)
        drops.append(mean_ratio(before_above, before_below) - mean_ratio(after_above, after_below))
    found = np.concatenate([*drops, [reference.value - candidate.value]]) * (1 if higher_is_better else -1)
    drop = found[-1]
    found = found[:-1][np.isfinite(found[:-1])]
    if not found.size:
        return None
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(np.fmin(low, drop)), float(np.fmax(high, drop)))


def check_teacher(value: float, chance: float, *, metric: str, dev: Path) -> None:
    """Refuse a teacher from which nothing can be learned.

    Args:
        value: The teacher's metric on dev; higher is better.
        chance: The best value that an answer can be expected to reach which never looks at the text, as
            ``compress.evaluate.chance_macro_f1`` or ``chance_entity_f1`` works it out of the true labels.
        metric: Its name, for the message.
        dev: The file, for the message.

    Raises:
        TeacherError: The teacher is worse than that.
    """
    if not value >= chance - _ROUNDING:  # written so that NaN fails
        raise TeacherError(
            f"The teacher reaches {metric} {value:.4f} on {dev}, less than the {chance:.4f} of an answer that never "
            "looks at the text.",
        )


def _sureness(drop: float, max_drop: float, interval: Interval) -> str:
    """What the interval adds to the sentence."""
    if interval.low > max_drop + _ROUNDING:
        return ", and all of the interval is"
    if interval.low > 0:
        return "; the loss is more than noise"
    if interval.high < 0:
        return "; the gain is more than noise"
    if drop:
        return f"; the set is too small to tell a {'loss' if drop > 0 else 'gain'} of this size from noise"
    return ""
