"""Metrics against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.evaluate import (
    DetectionPage,
    accuracy,
    character_error_rate,
    detection_score,
    edit_distance,
    interleaved_medians_ms,
    macro_f1,
    polygon_iou,
)


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)


def test_overlap_of_rectangles_is_their_shared_area_by_the_union():
    assert polygon_iou(rectangle(0, 0, 10, 10), rectangle(5, 0, 15, 10)) == pytest.approx(50 / 150)
    assert polygon_iou(rectangle(0, 0, 10, 10), rectangle(0, 0, 10, 10)) == pytest.approx(1)
    assert polygon_iou(rectangle(0, 0, 10, 10), rectangle(20, 0, 30, 10)) == 0


def test_overlap_does_not_depend_on_where_a_polygon_begins_or_which_way_it_runs():
    box = rectangle(0, 0, 10, 4)
    assert polygon_iou(np.roll(box, 2, axis=0)[::-1], box) == pytest.approx(1)


def test_a_diamond_fills_half_of_the_square_around_it():
    diamond = np.array([(5, 0), (10, 5), (5, 10), (0, 5)], np.float32)
    assert polygon_iou(diamond, rectangle(0, 0, 10, 10)) == pytest.approx(0.5)


def test_a_polygon_without_area_overlaps_nothing():
    line = np.zeros((4, 2), np.float32)
    assert polygon_iou(line, line) == 0


def test_hmean_counts_over_all_pages_together():
    right, wrong = rectangle(0, 0, 10, 10), rectangle(50, 50, 60, 60)
    score = detection_score(
        [DetectionPage([right, wrong], [right]), DetectionPage([right], [right, rectangle(80, 0, 90, 10)])]
    )
    assert score.precision == pytest.approx(2 / 3)
    assert score.recall == pytest.approx(2 / 3)
    assert score.hmean == pytest.approx(2 / 3)


def test_a_true_box_is_matched_once():
    box = rectangle(0, 0, 10, 10)
    score = detection_score([DetectionPage([box, box, box], [box])])
    assert (score.precision, score.recall) == (pytest.approx(1 / 3), 1)


def test_overlap_below_a_half_is_no_match():
    score = detection_score([DetectionPage([rectangle(0, 0, 10, 10)], [rectangle(4, 0, 14, 10)])])
    assert score.hmean == 0


def test_what_is_found_in_an_ignored_region_does_not_count():
    box, region = rectangle(0, 0, 10, 10), rectangle(40, 40, 80, 80)
    score = detection_score([DetectionPage([box, rectangle(50, 50, 60, 60)], [box], [region])])
    assert score.hmean == 1


def test_an_empty_page_that_stays_empty_is_right():
    assert detection_score([DetectionPage([], [])]).hmean == 1
    assert detection_score([DetectionPage([rectangle(0, 0, 9, 9)], [])]).hmean == 0


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("贷款", "货款", 1), ("ab", "ba", 2)],
)
def test_edit_distance(first: str, second: str, distance: int):
    assert edit_distance(first, second) == distance


@given(st.text(max_size=12), st.text(max_size=12))
def test_edit_distance_is_symmetric_and_bounded(first: str, second: str):
    distance = edit_distance(first, second)
    assert distance == edit_distance(second, first)
    assert abs(len(first) - len(second)) <= distance <= max(len(first), len(second))
    assert (distance == 0) == (first == second)


def test_character_error_rate_is_by_all_characters_not_by_line():
    assert character_error_rate(["abcd", "x"], ["abcd", "y"]) == pytest.approx(1 / 5)


def test_character_error_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        character_error_rate([""], [""])


def test_macro_f1_of_single_labels():
    # class 0: 2 hits of 2 chosen and 3 true: 0.8; class 1: 1 hit of 2 chosen and 1 true: 2/3; class 2 is in neither
    predicted, truth = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    assert macro_f1(predicted, truth) == pytest.approx((0.8 + 2 / 3) / 2)


def test_macro_f1_of_several_labels_leaves_out_those_that_never_occur():
    predicted = np.array([[1, 0, 0], [1, 1, 0]])
    truth = np.array([[1, 0, 0], [0, 1, 0]])
    assert macro_f1(predicted, truth) == pytest.approx((2 / 3 + 1) / 2)


def test_accuracy_counts_rows_that_are_equal_throughout():
    assert accuracy(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]])) == 0.5
    with pytest.raises(ValueError, match="equal shapes"):
        accuracy(np.zeros(3), np.zeros(4))


class Counting:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def run(self, feeds: object) -> dict[str, object]:
        self.log.append(self.name)
        return {}


def test_latency_is_measured_in_turns_after_one_untimed_run_each():
    log: list[str] = []
    medians = interleaved_medians_ms({"a": Counting(log, "a"), "b": Counting(log, "b")}, [{}], repeats=2)
    assert log == ["a", "b", "a", "b", "a", "b"]
    assert all(value >= 0 for value in medians.values())
