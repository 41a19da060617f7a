"""The order in which lines are read, for pages that lie, stand or hang askew."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.ocr.line import Line, box_of, in_reading_order, reading_axes

# left, top, width, height in pixels; two columns, a wide title, rows that do not quite align
PAGE = {
    "title": (100, 20, 600, 60),
    "name": (50, 120, 200, 30),
    "value": (400, 126, 250, 28),
    "second": (50, 165, 200, 30),
    "second value": (400, 160, 250, 30),
    "last": (50, 210, 100, 30),
}


def line(text: str, left: float, top: float, width: float, height: float, turn: float = 0.0) -> Line:
    corners = np.array([(left, top), (left + width, top), (left + width, top + height), (left, top + height)], float)
    rotation = np.array([(math.cos(turn), -math.sin(turn)), (math.sin(turn), math.cos(turn))])
    return Line(text, 1.0, box_of((corners - 400) @ rotation.T + 400))


def test_no_lines_and_one_line_are_in_order():
    only = line("only", 0, 0, 10, 5)
    assert in_reading_order([]) == ()
    assert in_reading_order([only]) == (only,)


@given(st.permutations(list(PAGE)), st.sampled_from([0, 90, 180, 270]), st.floats(-12, 12))
def test_a_page_is_read_in_order_however_it_lies(order, quarter, tilt):
    turn = math.radians(quarter + tilt)
    lines = [line(text, *PAGE[text], turn) for text in order]
    assert [each.text for each in in_reading_order(lines)] == list(PAGE)


def test_columns_that_run_downwards_are_read_from_the_right():
    columns = [
        Line(str(number), 1.0, ((x + 40, 0.0), (x + 40, 300.0), (x, 300.0), (x, 0.0)))
        for number, x in enumerate((500.0, 300.0, 100.0))
    ]
    assert [each.text for each in in_reading_order(columns[::-1])] == ["0", "1", "2"]


def test_a_stamp_does_not_tilt_the_page():
    boxes = [line("", 50, 40 * row, 500, 30).box for row in range(5)] + [line("", 300, 300, 120, 40, 0.6).box]
    along, down = reading_axes(np.array(boxes, np.float32))
    assert along == pytest.approx((1, 0), abs=1e-6)
    assert down == pytest.approx((0, 1), abs=1e-6)


def test_a_few_long_lines_outweigh_many_short_ones_that_lie_across():
    boxes = [line("", 50, 40 * row, 600, 30).box for row in range(2)]
    boxes += [line("", 300, 300 + 50 * row, 60, 30, math.pi / 2).box for row in range(4)]
    along, _ = reading_axes(np.array(boxes, np.float32))
    assert along == pytest.approx((1, 0), abs=1e-6)
