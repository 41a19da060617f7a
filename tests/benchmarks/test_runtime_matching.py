"""What was read of each line that is known to be on a picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.runtime_matching import PlacedText, comparable, error_tally, infix_distance, line_edits
from compress.evaluate import edit_distance


def line(text: str, left: float, top: float, right: float, bottom: float) -> PlacedText:
    return PlacedText(np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32), text)


def test_a_line_read_right_costs_nothing_though_the_box_is_a_little_off() -> None:
    assert line_edits([line("顺丰包邮", 0, 0, 100, 20)], [line("顺丰包邮", -4, -3, 106, 24)]) == [0]


def test_a_line_that_nobody_read_is_lost_whole() -> None:
    assert line_edits([line("顺丰包邮", 0, 0, 100, 20)], []) == [4]
    assert line_edits([line("顺丰包邮", 0, 0, 100, 20)], [line("顺丰包邮", 0, 40, 100, 60)]) == [4]


def test_the_text_of_another_place_is_not_taken_for_it() -> None:
    truth = [line("冰袋", 0, 0, 40, 20), line("纸袋", 0, 30, 40, 50)]
    assert line_edits(truth, [line("纸袋", 0, 0, 40, 20), line("冰袋", 0, 30, 40, 50)]) == [1, 1]


def test_a_line_in_two_boxes_is_put_together_in_reading_order() -> None:
    halves = [line("包邮", 52, 0, 100, 20), line("顺丰", 0, 0, 48, 20)]
    assert line_edits([line("顺丰包邮", 0, 0, 100, 20)], halves) == [0]


def test_a_vertical_line_in_two_boxes_is_read_downwards() -> None:
    halves = [line("包邮", 0, 52, 20, 100), line("顺丰", 2, 0, 22, 48)]
    assert line_edits([line("顺丰包邮", 0, 0, 20, 100)], halves) == [0]


def test_two_lines_in_one_box_are_each_found_in_it() -> None:
    truth = [line("冰鲜配送", 0, 0, 100, 20), line("坏单包赔", 110, 0, 210, 20)]
    assert line_edits(truth, [line("冰鲜配送·坏单包赔", 0, 0, 210, 20)]) == [0, 0]
    assert line_edits(truth, [line("冰鲜配送·坏単包赔", 0, 0, 210, 20)]) == [0, 1]


def test_two_rows_in_one_box_are_each_found_in_it() -> None:
    truth = [line("冰鲜配送", 0, 0, 100, 20), line("坏单包赔", 0, 22, 100, 42)]
    assert line_edits(truth, [line("冰鲜配送坏单包赔", 0, 0, 100, 42)]) == [0, 0]


def test_a_box_that_reaches_far_beyond_what_is_labelled_may_hold_more() -> None:
    assert line_edits([line("新科", 60, 0, 100, 20)], [line("Shinco新科", 0, 0, 100, 20)]) == [0]


def test_characters_too_many_in_a_box_of_the_same_size_are_errors() -> None:
    assert line_edits([line("新科", 0, 0, 100, 20)], [line("新科新科", 0, 0, 102, 20)]) == [2]


def test_spaces_and_the_width_of_forms_do_not_matter() -> None:
    assert comparable("６０ Ｈz　（A）") == "60Hz(A)"
    assert line_edits([line("６０Ｈz", 0, 0, 100, 20)], [line("60 Hz", 0, 0, 100, 20)]) == [0]


def test_a_region_without_area_is_nowhere() -> None:
    assert line_edits([line("甲", 5, 5, 5, 5)], [line("甲", 0, 0, 10, 10)]) == [1]


@pytest.mark.parametrize(
    ("wanted", "text", "edits"),
    [("", "abc", 0), ("abc", "", 3), ("bc", "abcd", 0), ("bxd", "abcd", 1), ("abcd", "bc", 2), ("ad", "abcd", 1)],
)
def test_the_distance_to_the_best_part(wanted: str, text: str, edits: int) -> None:
    assert infix_distance(wanted, text) == edits


@given(st.text("ab", max_size=5), st.text("ab", max_size=7))
def test_the_best_part_is_the_best_of_all_parts(wanted: str, text: str) -> None:
    parts = [text[start:end] for start in range(len(text) + 1) for end in range(start, len(text) + 1)]
    assert infix_distance(wanted, text) == min(edit_distance(wanted, part) for part in parts)


def test_the_tally_counts_pages_and_leaves_uncounted_lines_to_say_where_lines_are() -> None:
    truth = [line("冰鲜配送", 0, 0, 100, 20), line("坏单包赔", 110, 0, 210, 20)]
    read = [line("冰鲜配送·坏単包赔", 0, 0, 210, 20)]
    every = error_tally([(truth, read), (truth, [])])
    assert every.above.tolist() == [[1], [8]]
    assert every.below.tolist() == [[8], [8]]
    assert every.value == pytest.approx(9 / 16)
    first = error_tally([(truth, read)], counted={"冰鲜配送"}.__contains__)
    assert (first.above.tolist(), first.below.tolist()) == ([[0]], [[4]])
