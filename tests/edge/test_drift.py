"""The scores of a new release against those of the one before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drift import DriftWatch, Verdict, compare
from edge.policy import UpdatePolicy

POLICY = UpdatePolicy(drift_applications=4, drift_points=10)


def watch(
    path: Path, release: str, against: str | None = None, *, fresh: bool = False
) -> tuple[DriftWatch, list[Verdict]]:
    said: list[Verdict] = []
    return DriftWatch(path, release, POLICY, against=against, fresh=fresh, on_verdict=said.append), said


@pytest.mark.parametrize(
    ("now", "drifted"),
    [([40, 40, 40, 40], False), ([30, 30, 30, 30], False), ([19, 20, 20, 20], True), ([41, 40, 40, 40], True)],
)
def test_means_further_apart_than_the_bound_are_drift_in_both_directions(now: list[float], drifted: bool) -> None:
    verdict = compare([0, 30, 30, 30, 30], now, POLICY)
    assert verdict is not None
    assert verdict.drifted is drifted


def test_nothing_is_said_before_enough_applications_are_scored() -> None:
    assert compare([30] * 4, [90] * 3, POLICY) is None


def test_too_few_scores_of_the_release_before_are_said_and_change_nothing() -> None:
    verdict = compare([30] * 3, [90] * 4, POLICY)
    assert verdict == Verdict(False, "4 applications were scored; the release before had 3, too few to compare.")


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), min_size=4, max_size=30))
def test_a_release_never_drifts_from_itself(scores: list[float]) -> None:
    verdict = compare(scores, scores[-4:], POLICY)
    assert verdict is not None
    assert not verdict.drifted


def test_the_verdict_comes_once_with_the_last_score_that_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    old, said = watch(path, "small-1")
    for score in (90, 20, 20, 20, 20):
        old.add(score)
    assert said == []
    new, said = watch(path, "small-2", "small-1", fresh=True)
    for score in (70, 70, 70):
        new.add(score)
    assert said == []
    for score in (70, 70):
        new.add(score)
    assert [verdict.drifted for verdict in said] == [True]
    assert said[0].why == (
        "Scores drifted: the mean of its first 4 scores is 70.0, of the last 4 before 20.0, more than 10 points apart."
    )


def test_a_restart_goes_on_counting_and_a_new_trial_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"releases": {"small-1": [20, 20, 20, 20], "small-2": [70, 70, 70]}}))
    restarted, said = watch(path, "small-2", "small-1")
    restarted.add(70)
    assert [verdict.drifted for verdict in said] == [True]
    tried_again, said = watch(path, "small-2", "small-1", fresh=True)
    tried_again.add(70)
    assert said == []
    assert json.loads(path.read_text()) == {"releases": {"small-1": [20, 20, 20, 20], "small-2": [70]}}


@pytest.mark.parametrize("contents", ["", "{", "[]", '{"releases": {"small-1": ["a"]}}', '{"releases": 3}'])
def test_a_damaged_file_costs_the_comparison_and_nothing_else(tmp_path: Path, contents: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(contents)
    new, said = watch(path, "small-2", "small-1")
    for _ in range(4):
        new.add(70)
    assert [verdict.drifted for verdict in said] == [False]
    assert json.loads(path.read_text())["releases"]["small-2"] == [70] * 4


def test_scores_that_cannot_be_kept_are_still_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"releases": {"small-1": [20, 20, 20, 20]}}))
    new, said = watch(path, "small-2", "small-1")
    path.unlink()
    path.mkdir()
    for _ in range(4):
        new.add(70)
    assert [verdict.drifted for verdict in said] == [True]
    assert "cannot be kept" in caplog.text
