"""The calibration: a line that never falls, parts that add up, and an error that is measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge.calibrate import expected_calibration_error, fitted
from edge.calibration import UNCALIBRATED, Calibration, shared_out

SCORES = st.integers(0, 100)
LINES = st.lists(SCORES, min_size=4, max_size=4).map(
    lambda scores: Calibration(points=(0, 13, 14, 60, 100), score=(0, *sorted(scores)))
)


@given(LINES, SCORES, SCORES)
def test_more_points_never_give_a_lower_score(line: Calibration, one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 0 <= line.of(low) <= line.of(high) <= 100
    assert line.of(0) == 0


@given(SCORES)
def test_without_a_calibration_the_points_are_the_score(points: int) -> None:
    assert UNCALIBRATED.of(points) == points


def test_the_line_is_straight_between_knots_and_rounds_half_up() -> None:
    line = Calibration(points=(0, 10, 100), score=(0, 5, 95))
    assert [line.of(points) for points in (0, 1, 2, 10, 55, 100)] == [0, 1, 1, 5, 50, 95]
    assert line.steepest == 1
    assert Calibration(points=(0, 10, 12, 100), score=(0, 5, 14, 95)).steepest == 5
    with pytest.raises(ValueError, match="101 points"):
        line.of(101)


@pytest.mark.parametrize(
    ("points", "score", "said"),
    [
        ((0, 100), (0, 50, 60), "2 points and 3 scores"),
        ((0, 90), (0, 50), "from 0 to 100"),
        ((0, 50, 50, 100), (0, 1, 2, 3), "points must rise"),
        ((0, 50, 100), (0, 60, 40), "never fall"),
        ((0, 100), (1, 40), "start at 0"),
    ],
)
def test_a_line_that_could_mislead_is_refused(points: tuple[int, ...], score: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Calibration(points=points, score=score)


@given(st.lists(SCORES, min_size=1, max_size=5), SCORES)
def test_parts_add_up_and_stay_within_one_of_their_share(points: list[int], score: int) -> None:
    total = sum(points)
    parts = shared_out(points, score if total else 0)
    assert sum(parts) == (score if total else 0)
    for part, each in zip(parts, points, strict=True):
        assert abs(part - (score * each / total if total else 0)) < 1


def test_a_score_without_points_is_no_score() -> None:
    with pytest.raises(ValueError, match="cannot be told"):
        shared_out([0, 0], 3)


def test_what_is_fitted_to_cases_is_calibrated_on_others() -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 101, 8000)
    trouble = (rng.random(8000) < 0.9 * (points / 100) ** 2).astype(np.int64)
    line = fitted(points[:4000], trouble[:4000], (0, 10, 20, 30, 45, 60, 80, 100))
    score = np.array([line.of(each) for each in points[4000:].tolist()])
    assert expected_calibration_error(score, trouble[4000:]) < 0.04
    assert expected_calibration_error(points[4000:], trouble[4000:]) > 0.15


def test_the_error_is_the_weighted_distance_of_scores_from_what_happened() -> None:
    assert expected_calibration_error(np.array([20, 20, 90, 90]), np.array([0, 0, 1, 0])) == pytest.approx(0.3)
    assert expected_calibration_error(np.array([0, 100]), np.array([0, 1])) == 0
