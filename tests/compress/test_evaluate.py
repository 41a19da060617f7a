"""Metrics against cases worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.evaluate import (
    DetectionPage,
    accuracy,
    accuracy_tally,
    calibration_error,
    chance_entity_f1,
    chance_macro_f1,
    character_error_rate,
    character_tally,
    detection_score,
    detection_tally,
    edit_distance,
    entity_f1,
    entity_tally,
    interleaved_medians_ms,
    label_tally,
    macro_f1,
    polygon_iou,
)
from compress.tally import Tally
from runtime.entities import Span


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


@dataclass(frozen=True)
class Entities:
    name: str
    found: Sequence[str]  # one text each: entities as type, first and last character
    truth: Sequence[str]
    precision: float
    recall: float
    f1: float
    types: dict[str, float]


@pytest.mark.parametrize(
    "case",
    [
        Entities("all right", ["x01 y33"], ["x01 y33"], 1, 1, 1, {"x": 1, "y": 1}),
        Entities("one of two found", ["x01"], ["x01 x34"], 1, 1 / 2, 2 / 3, {"x": 2 / 3}),
        Entities("one too many", ["x01 x34"], ["x01"], 1 / 2, 1, 2 / 3, {"x": 2 / 3}),
        Entities("a character short", ["x02 y55"], ["x01 y55"], 1 / 2, 1 / 2, 1 / 2, {"x": 0, "y": 1}),
        Entities("of the wrong type", ["y01"], ["x01"], 0, 0, 0, {"x": 0, "y": 0}),
        Entities("in the wrong text", ["x01", ""], ["", "x01"], 0, 0, 0, {"x": 0}),
        Entities("nothing found", [""], ["x01"], 0, 0, 0, {"x": 0}),
        Entities("nothing to find", ["x01"], [""], 0, 0, 0, {"x": 0}),
        # 3 right, 5 found, 4 true: P 0.6, R 0.75, F1 6/9; x: 2 right of 3 and 2: 4/5; y: 1 of 2 and 2: 2/4
        Entities(
            "micro, not the mean of texts or types",
            ["x01 x22 y34", "x00 y12"],
            ["x01 x22", "y12 y44"],
            0.6,
            0.75,
            6 / 9,
            {"x": 4 / 5, "y": 2 / 4},
        ),
    ],
    ids=lambda case: case.name,
)
def test_entities_count_when_type_and_both_ends_are_right(case: Entities):
    score = entity_f1(spans(case.found), spans(case.truth))
    assert (score.precision, score.recall, score.f1) == pytest.approx((case.precision, case.recall, case.f1))
    assert score.types == pytest.approx(case.types)
    assert entity_tally(spans(case.found), spans(case.truth)).value == pytest.approx(case.f1)


def spans(texts: Sequence[str]) -> list[list[Span]]:
    return [[Span(each[0], int(each[1]), int(each[2]) + 1) for each in text.split()] for text in texts]


def test_entities_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no entity"):
        entity_f1([[]], [[]])
    with pytest.raises(ValueError, match="argument 2"):
        entity_f1([[]], [[], []])


SPANS = st.lists(st.lists(st.builds(Span, st.sampled_from("xy"), st.integers(0, 3), st.integers(4, 6)), max_size=4))


@given(SPANS, SPANS, st.randoms())
def test_entity_f1_is_bounded_symmetric_and_blind_to_order(first: list, second: list, random: object):
    size = min(len(first), len(second))
    first, second = first[:size], second[:size]
    if not any(map(len, first + second)):
        return
    score, turned = entity_f1(first, second), entity_f1(second, first)
    assert 0 <= score.f1 <= 1
    assert min(score.precision, score.recall) <= score.f1 <= max(score.precision, score.recall)
    assert (score.f1, score.precision, score.types) == (turned.f1, turned.recall, turned.types)
    pairs = list(zip(first, second, strict=True))
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert entity_f1([a[::-1] for a, _ in pairs], [b for _, b in pairs]) == score


@given(
    st.lists(st.tuples(*[st.tuples(st.booleans(), st.booleans(), st.booleans())] * 2), min_size=1, max_size=15),
    st.permutations([0, 1, 2]),
)
def test_macro_f1_is_the_textbooks_and_blind_to_the_order_of_labels(rows: list, order: list[int]):
    predicted, truth = (np.array(column) for column in zip(*rows, strict=True))
    expected = []
    for label in range(3):
        right = sum(a[label] and b[label] for a, b in rows)
        chosen, true = sum(a[label] for a, _ in rows), sum(b[label] for _, b in rows)
        if chosen or true:
            precision, recall = right / chosen if chosen else 0.0, right / true if true else 0.0
            expected.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    if not expected:
        with pytest.raises(ValueError, match="no label"):
            macro_f1(predicted, truth)
        return
    value = macro_f1(predicted, truth)
    assert value == pytest.approx(sum(expected) / len(expected))
    assert value == pytest.approx(macro_f1(truth, predicted))
    assert value == pytest.approx(macro_f1(predicted[::-1, order], truth[::-1, order]))
    assert 0 <= value <= 1


def test_what_items_add_makes_up_the_metric():
    first, second = rectangle(0, 0, 10, 10), rectangle(50, 50, 60, 60)
    pages = [DetectionPage([first, second], [first]), DetectionPage([first], [first, second]), DetectionPage([], [])]
    tally = detection_tally(pages)
    assert tally.above.tolist() == [[2], [2], [0]]
    assert tally.below.tolist() == [[3], [3], [0]]
    assert tally.value == detection_score(pages).hmean == pytest.approx(2 / 3)
    lines = character_tally(["abcd", "x", "z"], ["abcd", "y", ""])
    assert lines.above.tolist() == [[0], [1], [1]]
    assert lines.value == pytest.approx(2 / 5)
    assert accuracy_tally(np.array([1, 2, 3]), np.array([1, 2, 4])).value == pytest.approx(2 / 3)
    labels = label_tally(np.array([[1, 0, 0], [1, 0, 0]]), np.array([[1, 0, 0], [0, 1, 0]]))
    np.testing.assert_allclose(labels.columns, [2 / 3, 0, np.nan])
    assert labels.value == pytest.approx(1 / 3)
    assert np.isnan(Tally(np.zeros((2, 1)), np.zeros((2, 1))).value)
    with pytest.raises(ValueError, match="two equal shapes"):
        Tally(np.zeros((2, 1)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="two equal shapes"):
        Tally(np.zeros((0, 1)), np.zeros((0, 1)))


@pytest.mark.parametrize("counts", [(500, 500), (900, 90, 10), (600, 200, 100, 100)])
def test_no_blind_answer_with_one_label_a_text_beats_chance(counts: tuple[int, ...]):
    labels = np.repeat(np.arange(len(counts)), counts)
    truth = np.eye(len(counts))[labels]
    chance = chance_macro_f1(truth, multi_label=False)
    assert chance == pytest.approx(1 / len(counts))
    random = np.random.default_rng(0)
    shares = np.array(counts) / 1000
    blind = [random.permutation(labels), random.integers(0, len(counts), 1000), np.zeros_like(labels)]
    blind += [random.choice(len(counts), 1000, p=shares**power / (shares**power).sum()) for power in (0.5, 2)]
    values = [macro_f1(answer, labels) for answer in blind]
    assert max(values) < chance + 0.03
    assert values[0] == pytest.approx(chance, abs=0.03), "drawn by the labels' shares, chance is reached"


def test_where_labels_are_free_chance_is_to_give_them_all():
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]])
    assert chance_macro_f1(truth, multi_label=True) == pytest.approx((2 * 0.75 / 1.75 + 2 * 0.25 / 1.25) / 2)
    assert chance_macro_f1(truth, multi_label=True) == pytest.approx(macro_f1(truth * 0 + [1, 1, 0], truth))
    with pytest.raises(ValueError, match="no label"):
        chance_macro_f1(truth * 0, multi_label=True)


def test_chance_for_entities_is_to_call_everything_one():
    # x at every character: 2 right, 6 found, 3 true: 4/9; each text whole: 1 right, 2 found, 3 true: 2/5
    assert chance_entity_f1(spans(["x00 x11", "x01"]), ["abcd", "ab"]) == pytest.approx(4 / 9)
    assert chance_entity_f1(spans(["x03", "y00"]), ["abcd", "ab"]) == pytest.approx(2 / 4)


class Counting:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def run(self, feeds: object) -> dict[str, object]:
        self.log.append(self.name)
        return {}


def test_calibration_error_is_how_far_groups_of_like_probabilities_are_off():
    said = np.array([[0.9, 0.9], [0.9, 0.9], [0.12, 0.18]])
    truth = np.array([[1, 1], [1, 0], [0, 0]])
    assert calibration_error(said, truth) == pytest.approx(4 / 6 * (0.9 - 0.75) + 2 / 6 * 0.15)
    assert calibration_error(np.array([0.0, 1.0]), np.array([0, 1])) == 0
    assert calibration_error(np.array([0.0, 1.0]), np.array([1, 0])) == 1


def test_latency_is_measured_in_turns_after_one_untimed_run_each():
    log: list[str] = []
    medians = interleaved_medians_ms({"a": Counting(log, "a"), "b": Counting(log, "b")}, [{}], repeats=2)
    assert log == ["a", "b", "a", "b", "a", "b"]
    assert all(value >= 0 for value in medians.values())
