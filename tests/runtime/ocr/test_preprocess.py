"""Sizes, crops and tensors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.ocr.preprocess import (
    MAX_WIDTH,
    cut_line,
    det_room,
    det_size,
    det_tensor,
    line_tensor,
    line_width,
    reading_box,
    upright,
)

sides = st.integers(1, 20_000)


@given(sides, sides)
def test_det_sees_multiples_of_32_of_bounded_area(height, width):
    rows, columns = det_size(height, width, limit_side=960, min_side=736)
    assert rows % 32 == 0
    assert columns % 32 == 0
    # rounding adds at most half a stride a side, or lifts a hair to one stride
    assert (rows - 32) * (columns - 16) <= 960 * 960


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        ((736, 900), (736, 896)),  # as it is
        ((368, 400), (736, 800)),  # small print is enlarged until the shorter side has 736
        ((285, 500), (544, 960)),  # but the longer side stays within 960
        ((54, 1167), (64, 1152)),  # a strip keeps its size
        ((2105, 1488), (1152, 800)),  # a scan shrinks to the area of 960 x 960
        ((1, 1), (736, 736)),
    ],
)
def test_det_sizes(page, seen):
    assert det_size(*page, limit_side=960, min_side=736) == seen


@given(sides, sides)
def test_det_runs_at_few_sizes_that_hold_the_page_and_little_more(height, width):
    size = det_size(height, width, limit_side=960, min_side=736)
    room = det_room(size)
    assert all(most >= side and most % 32 == 0 for most, side in zip(room, size, strict=True))
    assert room[0] * room[1] <= 1.8 * size[0] * size[1]
    assert det_room(room) == room


def test_scans_cards_and_photos_of_all_crops_share_few_sizes():
    pages = [(height, width) for height in range(1900, 2300, 20) for width in range(1350, 1650, 20)]  # of an A4 scan
    rooms = {det_room(det_size(*page, limit_side=960, min_side=736)) for page in pages}
    assert len(rooms) <= 12
    assert len({det_size(*page, limit_side=960, min_side=736) for page in pages}) > 2 * len(rooms)


def test_a_page_in_a_larger_room_lies_in_its_upper_left_and_the_rest_is_zero():
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    roomy = det_tensor(image, (64, 96), (96, 160))
    np.testing.assert_array_equal(roomy[:, :, :64, :96], det_tensor(image, (64, 96)))
    assert roomy.shape == (1, 3, 96, 160)
    assert not roomy[:, :, 64:].any()
    assert not roomy[:, :, :, 96:].any()


def test_det_is_normalised_as_it_was_trained():
    image = np.full((32, 64, 3), (124, 116, 104), np.uint8)  # the means of the three channels, times 255
    tensor = det_tensor(image, (32, 64))
    assert tensor.shape == (1, 3, 32, 64)
    assert tensor.dtype == np.float32
    assert tensor[0, :, 5, 5] == pytest.approx((0.0056, -0.0049, 0.0082), abs=1e-3)
    assert det_tensor(image + 57, (32, 64))[0, 2, 0, 0] == pytest.approx(57 / 255 / 0.225 + 0.0082, abs=1e-3)


def test_lines_are_left_aligned_and_what_is_missing_is_zero():
    white = np.full((24, 50, 3), 255, np.uint8)
    black = np.zeros((96, 96, 3), np.uint8)
    tensor = line_tensor([white, black], 48, 128)
    assert tensor.shape == (2, 3, 48, 128)
    assert (tensor[0, :, :, :100] == 1).all()
    assert (tensor[0, :, :, 100:] == 0).all()
    assert (tensor[1, :, :, :48] == -1).all()
    assert (tensor[1, :, :, 48:] == 0).all()


def test_a_line_too_wide_for_its_batch_is_squeezed_not_cut():
    crop = np.zeros((48, 400, 3), np.uint8)
    crop[:, 300:] = 255
    tensor = line_tensor([crop], 48, 192)
    assert (tensor[0, 0, :, 150:] == 1).all()
    assert (tensor[0, 0, :, :140] == -1).all()


def test_line_width_is_rounded_up_and_bounded():
    assert line_width(np.zeros((48, 100, 3), np.uint8), 48) == 100
    assert line_width(np.zeros((50, 100, 3), np.uint8), 48) == 96
    assert line_width(np.zeros((51, 100, 3), np.uint8), 48) == 95
    assert line_width(np.zeros((3000, 1, 3), np.uint8), 48) == 1
    assert line_width(np.zeros((1, 3000, 3), np.uint8), 48) == MAX_WIDTH


def test_a_crop_much_higher_than_wide_is_turned_against_the_clock():
    crop = np.zeros((30, 20, 3), np.uint8)
    crop[0] = 255  # what is above ends up on the left
    assert (upright(crop)[:, 0] == 255).all()
    assert upright(crop).shape == (20, 30, 3)
    assert upright(crop[:29]).shape == (29, 20, 3)


def test_a_box_much_higher_than_wide_begins_at_its_right_upper_corner():
    high = np.array([(0, 0), (10, 0), (10, 15), (0, 15)], np.float32)
    assert reading_box(high).tolist() == [[10, 0], [10, 15], [0, 15], [0, 0]]
    assert reading_box(high[:, ::-1][[0, 3, 2, 1]]).tolist() == [[0, 0], [15, 0], [15, 10], [0, 10]]


def test_a_crop_shows_exactly_what_its_box_surrounds():
    page = np.zeros((200, 300, 3), np.uint8)
    page[50:98, 40:140] = np.random.default_rng(3).integers(0, 256, (48, 100, 3), np.uint8)
    box = np.array([(40, 50), (140, 50), (140, 98), (40, 98)], np.float32)
    assert (cut_line(page, box) == page[50:98, 40:140]).all()
    on_its_side = np.array([(140, 50), (140, 98), (40, 98), (40, 50)], np.float32)
    assert (cut_line(page, on_its_side) == np.rot90(page[50:98, 40:140])).all()


def test_a_tilted_line_comes_out_straight():
    page = np.zeros((300, 400, 3), np.uint8)
    rect = ((200, 150), (240, 40), 20)
    cv2.fillPoly(page, [cv2.boxPoints(rect).astype(np.int32)], (255, 255, 255))
    inner = cv2.boxPoints((rect[0], (230, 30), rect[2]))
    left_first = inner[[1, 2, 3, 0]]
    crop = cut_line(page, left_first.astype(np.float32))
    assert crop.shape == (30, 230, 3)
    assert crop.min() > 200


def test_beyond_the_edge_the_edge_is_repeated():
    page = np.full((40, 40, 3), 90, np.uint8)
    box = np.array([(-20, -5), (60, -5), (60, 35), (-20, 35)], np.float32)
    assert (cut_line(page, box) == 90).all()
