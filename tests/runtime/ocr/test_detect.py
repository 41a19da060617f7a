"""DB's post-processing on probability maps that are drawn, so that the right answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.artifact import OcrSettings
from runtime.ocr.detect import boxes_from_map, unclip

SETTINGS = OcrSettings()


def drawn(*rects, size: tuple[int, int] = (200, 300), probability: float = 0.9) -> np.ndarray:
    probabilities = np.zeros(size, np.float32)
    for rect in rects:
        cv2.fillPoly(probabilities, [cv2.boxPoints(rect).round().astype(np.int32)], probability)
    return probabilities


def test_an_empty_map_has_no_boxes():
    assert boxes_from_map(np.zeros((64, 64), np.float32), SETTINGS).shape == (0, 4, 2)


def test_a_bar_becomes_a_box_grown_by_the_paper_s_distance():
    probabilities = np.zeros((200, 300), np.float32)
    probabilities[90:110, 50:250] = 0.9  # 200 x 20 pixels
    (box,) = boxes_from_map(probabilities, SETTINGS)
    grown = 200 * 20 * SETTINGS.unclip_ratio / (2 * (200 + 20))
    edges = [50 - grown, 90 - grown, 250 + grown, 110 + grown]
    assert [*box[0], *box[2]] == pytest.approx(edges, abs=0.01)
    assert [*box[1], *box[3]] == pytest.approx([edges[2], edges[1], edges[0], edges[3]], abs=0.01)


def test_unclip_grows_every_side_by_area_times_ratio_over_perimeter():
    centre, sides, angle = unclip(((10.0, 20.0), (30.0, 10.0), 25.0), 1.6)
    assert (centre, angle) == ((10.0, 20.0), 25.0)
    assert sides == pytest.approx((30 + 2 * 6.0, 10 + 2 * 6.0))  # 300 * 1.6 / 80


@given(st.floats(-44, 44), st.floats(40, 120), st.floats(12, 30))
def test_a_tilted_bar_keeps_its_tilt_and_its_middle(angle, width, height):
    (box,) = boxes_from_map(drawn(((150, 100), (width, height), angle)), SETTINGS)
    assert box.mean(axis=0) == pytest.approx((150.5, 100.5), abs=1.5)
    if width > 2 * height:
        along = box[1] - box[0]
        assert np.degrees(np.arctan2(along[1], along[0])) == pytest.approx(angle, abs=4)


def test_corners_run_clockwise_from_the_upper_left():
    for angle in (-30, 0, 30):
        (box,) = boxes_from_map(drawn(((150, 100), (120, 20), angle)), SETTINGS)
        area = 0.5 * sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(box, np.roll(box, -1, axis=0), strict=True))
        assert area > 0  # clockwise, with y downwards
        assert box[0, 0] < box[1, 0]
        assert box[0, 1] < box[3, 1]


def test_faint_regions_and_specks_are_left_out():
    bar = ((100, 50), (80, 20), 0)
    assert len(boxes_from_map(drawn(bar, probability=0.45), SETTINGS)) == 0
    assert len(boxes_from_map(drawn(bar, probability=0.55), SETTINGS)) == 1
    assert len(boxes_from_map(drawn(((100, 50), (80, 1), 0)), SETTINGS)) == 0


def test_two_bars_are_two_boxes():
    assert len(boxes_from_map(drawn(((100, 50), (80, 20), 0), ((100, 120), (80, 20), 0)), SETTINGS)) == 2


def test_a_bar_that_a_hair_parts_is_one_box():
    probabilities = drawn(((100, 50), (80, 20), 0))
    probabilities[:, 100] = 0
    assert len(boxes_from_map(probabilities, SETTINGS)) == 1
    probabilities[:, 100:103] = 0
    assert len(boxes_from_map(probabilities, SETTINGS)) == 2
