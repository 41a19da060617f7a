"""The gate decides by numbers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from compress.gate import and_faster, bootstrap_interval, judge


@dataclass(frozen=True)
class Case:
    name: str
    reference: float
    candidate: float
    max_drop: float
    higher_is_better: bool
    passed: bool
    drop: float


CASES = [
    Case("accuracy falls within the limit", 0.90, 0.895, 0.01, True, True, 0.005),
    Case("accuracy falls by exactly the limit", 0.90, 0.89, 0.01, True, True, 0.01),
    Case("accuracy falls by more than the limit", 0.90, 0.88, 0.01, True, False, 0.02),
    Case("accuracy rises", 0.90, 0.95, 0.0, True, True, -0.05),
    Case("error rate falls", 0.05, 0.01, 0.0, False, True, -0.04),
    Case("error rate rises within the limit", 0.002, 0.010, 0.01, False, True, 0.008),
    Case("error rate rises by more than the limit", 0.002, 0.02, 0.01, False, False, 0.018),
    Case("no change with no drop allowed", 0.0, 0.0, 0.0, True, True, 0.0),
    Case("candidate is not a number", 0.9, math.nan, 1.0, True, False, math.inf),
    Case("reference is not a number", math.nan, 0.9, 1.0, True, False, math.inf),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_gate_knows_the_metrics_direction(case: Case):
    verdict = judge(case.reference, case.candidate, max_drop=case.max_drop, higher_is_better=case.higher_is_better)
    assert verdict.passed is case.passed
    assert verdict.drop == pytest.approx(case.drop)


def test_the_sentence_tells_both_numbers_and_the_limit():
    sentence = judge(0.9, 0.8, max_drop=0.05, higher_is_better=True).sentence
    assert "0.9000 before" in sentence
    assert "0.8000 after" in sentence
    assert "0.1000 worse" in sentence
    assert "more than the limit of 0.05" in sentence


@pytest.mark.parametrize("limit", [-0.01, math.nan])
def test_a_limit_that_is_no_limit_is_refused(limit: float):
    with pytest.raises(ValueError, match="max_drop"):
        judge(0.9, 0.9, max_drop=limit, higher_is_better=True)


@dataclass(frozen=True)
class SpeedCase:
    name: str
    accurate: bool
    candidate_ms: float
    passed: bool


@pytest.mark.parametrize(
    "case",
    [
        SpeedCase("accurate and faster", True, 9.0, True),
        SpeedCase("accurate but slower", True, 11.0, False),
        SpeedCase("accurate but no faster", True, 10.0, False),
        SpeedCase("accurate and faster by just enough", True, 9.5, True),
        SpeedCase("accurate and faster by less than the noise", True, 9.6, False),
        SpeedCase("faster but not accurate", False, 1.0, False),
    ],
    ids=lambda case: case.name,
)
def test_a_candidate_must_be_accurate_and_faster(case: SpeedCase):
    verdict = judge(0.9, 0.9 if case.accurate else 0.1, max_drop=0.01, higher_is_better=True)
    assert and_faster(verdict, reference_ms=10.0, candidate_ms=case.candidate_ms).passed is case.passed


def test_a_bootstrap_interval_holds_the_mean_and_narrows_with_more_items():
    few, many = [0.0, 1.0] * 10, [0.0, 1.0] * 1000
    low, high = bootstrap_interval(few, seed=1)
    assert low < 0.5 < high
    # the mean of n halves has a spread of 0.5 / sqrt(n); 1.96 of them on each side make 95 %
    low, high = bootstrap_interval(many, seed=1)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(2000), rel=0.15)


def test_the_same_seed_gives_the_same_interval():
    scores = [0.1, 0.5, 0.7, 0.9]
    assert bootstrap_interval(scores, seed=3) == bootstrap_interval(scores, seed=3)
    assert bootstrap_interval([0.25] * 4, seed=3) == (0.25, 0.25)


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([], seed=0)
