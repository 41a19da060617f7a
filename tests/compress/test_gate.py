"""The gate decides by numbers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress import gate
from compress.evaluate import accuracy_tally, character_tally, label_tally
from compress.gate import Interval, and_faster, check_teacher, drop_interval, judge, judge_tallies
from compress.tally import Tally
from devices.errors import TeacherError


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


def test_the_speed_is_added_to_the_sentence_and_the_interval_stays():
    interval = Interval(0.0, 0.02)
    verdict = judge(0.9, 0.89, max_drop=0.05, higher_is_better=True, interval=interval)
    faster = and_faster(verdict, reference_ms=10.0, candidate_ms=5.0)
    assert faster.sentence == f"{verdict.sentence} 5.0 ms after 10.0 ms before."
    assert faster.interval == interval


@dataclass(frozen=True)
class Sure:
    name: str
    candidate: float
    interval: Interval
    says: str


@pytest.mark.parametrize(
    "case",
    [
        Sure(
            "noise within the limit", 0.8973, Interval(-0.012, 0.018), "limit of 0.01; the set is too small to tell a l"
        ),
        Sure(
            "noise beyond the limit", 0.8850, Interval(-0.002, 0.031), "limit of 0.01; the set is too small to tell a l"
        ),
        Sure(
            "noise that looks like a gain", 0.91, Interval(-0.03, 0.01), "too small to tell a gain of this size from no"
        ),
        Sure(
            "a sure loss within the limit", 0.8950, Interval(0.002, 0.008), "within the limit of 0.01; the loss is more"
        ),
        Sure(
            "a sure loss that may be within",
            0.88,
            Interval(0.005, 0.03),
            "more than the limit of 0.01; the loss is more",
        ),
        Sure(
            "a loss surely beyond the limit", 0.85, Interval(0.03, 0.07), "limit of 0.01, and all of the interval is."
        ),
        Sure("a loss that only just may be none", 0.895, Interval(0.0, 0.012), "too small to tell a loss of this size"),
        Sure("a sure gain", 0.95, Interval(-0.07, -0.03), "within the limit of 0.01; the gain is more than noise."),
        Sure(
            "nothing changed",
            0.9,
            Interval(0.0, 0.0),
            "no change (95 % interval 0.0000 to 0.0000), within the limit of",
        ),
    ],
    ids=lambda case: case.name,
)
def test_the_sentence_says_how_far_to_trust_the_number(case: Sure):
    plain = judge(0.9, case.candidate, max_drop=0.01, higher_is_better=True)
    verdict = judge(0.9, case.candidate, max_drop=0.01, higher_is_better=True, interval=case.interval)
    assert case.says in verdict.sentence
    assert f"interval {case.interval.low:.4f} to {case.interval.high:.4f}" in verdict.sentence
    assert (verdict.passed, verdict.drop) == (plain.passed, plain.drop)  # the interval decides nothing
    assert verdict.interval == case.interval


def rows(right: np.ndarray) -> Tally:
    return accuracy_tally(right, np.ones_like(right))


def test_an_interval_is_as_wide_as_the_normal_distribution_says_for_many_items():
    random = np.random.default_rng(0)
    before = random.random(4000) < 0.9
    after = before ^ (random.random(4000) < 0.05)
    differences = before.astype(float) - after
    interval = drop_interval(rows(before), rows(after), higher_is_better=True)
    spread = 1.96 * differences.std() / math.sqrt(4000)
    assert interval.low == pytest.approx(differences.mean() - spread, abs=0.1 * spread)
    assert interval.high == pytest.approx(differences.mean() + spread, abs=0.1 * spread)


def test_about_95_of_100_intervals_hold_the_true_drop():
    random = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        before = random.random(150) < 0.9
        after = before & (random.random(150) < 0.95)  # a true drop of 0.045
        interval = drop_interval(rows(before), rows(after), higher_is_better=True, seed=trial)
        held += interval.low <= 0.045 <= interval.high
    assert 180 <= held <= 198


def test_both_models_are_drawn_on_the_same_items():
    random = np.random.default_rng(2)
    right = random.random(50) < 0.5
    assert drop_interval(rows(right), rows(right.copy()), higher_is_better=True) == Interval(0.0, 0.0)
    unpaired = drop_interval(rows(right), rows(random.permutation(right)), higher_is_better=True)
    assert unpaired.high - unpaired.low > 0.2


def test_the_interval_of_macro_f1_is_of_macro_f1_and_not_of_a_mean_by_text():
    truth = np.array([[1, 0]] * 18 + [[0, 1]] * 2)
    after = truth.copy()
    after[-1] = 0, 0  # half of a rare label is lost: its F1 falls from 1 to 2/3
    before, lost = label_tally(truth, truth), label_tally(after, truth)
    assert before.value - lost.value == pytest.approx(1 / 6)
    interval = drop_interval(before, lost, higher_is_better=True)
    assert interval.low == 0  # draws without the lost text
    assert interval.high == pytest.approx(0.5)  # draws in which it is the only one of its label


def test_an_interval_of_very_rare_labels_still_holds_the_drop():
    truth = np.eye(30)  # each label once: most draws lack its text, and call its use elsewhere wholly wrong
    after = truth + np.roll(truth, 1, axis=0)
    before, worse = label_tally(truth, truth), label_tally(after, truth)
    interval = drop_interval(before, worse, higher_is_better=True)
    assert interval.low == before.value - worse.value == pytest.approx(1 / 3)
    turned = drop_interval(before, worse, higher_is_better=False)
    assert turned.high == -interval.low


def test_error_rates_are_worse_when_they_rise():
    truth = ["一二三四五"] * 40
    read = [text if index % 4 else "一二三四" for index, text in enumerate(truth)]
    interval = drop_interval(character_tally(truth, truth), character_tally(read, truth), higher_is_better=False)
    assert 0 < interval.low < 0.05 < interval.high < 0.1
    better = drop_interval(character_tally(read, truth), character_tally(truth, truth), higher_is_better=False)
    assert (better.low, better.high) == (-interval.high, -interval.low)


def test_an_interval_of_the_drop_becomes_one_of_the_metric():
    assert Interval(-0.01, 0.03).of_metric(0.9, higher_is_better=True) == pytest.approx((0.87, 0.91))
    assert Interval(-0.01, 0.03).of_metric(0.1, higher_is_better=False) == pytest.approx((0.09, 0.13))


def test_one_call_judges_two_tallies():
    before, after = rows(np.array([True] * 90 + [False] * 10)), rows(np.array([True] * 88 + [False] * 12))
    verdict = judge_tallies(before, after, max_drop=0.01, higher_is_better=True, seed=4)
    interval = drop_interval(before, after, higher_is_better=True, seed=4)
    assert verdict == judge(0.9, 0.88, max_drop=0.01, higher_is_better=True, interval=interval)
    assert not verdict.passed


def test_the_same_seed_gives_the_same_interval_however_the_draws_are_split(monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(5)
    before, after = rows(random.random(640) < 0.9), rows(random.random(640) < 0.8)
    interval = drop_interval(before, after, higher_is_better=True, seed=3)
    assert interval == drop_interval(before, after, higher_is_better=True, seed=3)
    assert interval != drop_interval(before, after, higher_is_better=True, seed=4)
    monkeypatch.setattr(gate, "_BLOCK", 7 * 640)
    assert interval == drop_interval(before, after, higher_is_better=True, seed=3)


def test_nothing_to_count_gives_no_interval_and_other_items_are_refused():
    nothing = Tally(np.zeros((3, 1)), np.zeros((3, 1)))
    assert drop_interval(nothing, nothing, higher_is_better=True) is None
    with pytest.raises(ValueError, match="3 items, the candidate 2"):
        drop_interval(nothing, Tally(np.zeros((2, 1)), np.zeros((2, 1))), higher_is_better=True)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=12),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_an_interval_holds_the_drop_itself_and_turns_with_the_direction(
    items: list[tuple[bool, bool, bool]], seed: int, higher: bool
):
    truth, first, second = (np.array(column)[:, None] for column in zip(*items, strict=True))
    before, after = label_tally(first, truth), label_tally(second, truth)
    interval = drop_interval(before, after, higher_is_better=higher, seed=seed, resamples=50)
    if interval is not None and math.isfinite(before.value - after.value):
        drop = (before.value - after.value) * (1 if higher else -1)
        assert -1 <= interval.low <= drop <= interval.high <= 1
    turned = drop_interval(before, after, higher_is_better=not higher, seed=seed, resamples=50)
    assert (interval is None) == (turned is None)
    if interval is not None and turned is not None:
        assert (turned.low, turned.high) == pytest.approx((-interval.high, -interval.low))


@pytest.mark.parametrize("value", [0.2, math.nan])
def test_a_teacher_worse_than_chance_is_refused_with_both_numbers(value: float):
    with pytest.raises(TeacherError, match=r"macro-F1 .* on dev.tsv, less than the 0.2500"):
        check_teacher(value, 0.25, metric="macro-F1", dev=Path("dev.tsv"))
    check_teacher(0.25, 0.25, metric="macro-F1", dev=Path("dev.tsv"))
