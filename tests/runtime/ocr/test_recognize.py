"""Batches of lines, and CTC."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.ocr.preprocess import MAX_WIDTH
from runtime.ocr.recognize import WIDTHS, batch_shapes, ctc_decode, group_by_width, width_bucket

CHARACTERS = ("a", "b", "c", " ")


def spoken(*rows: str, certainty: float = 0.8) -> np.ndarray:
    """Probabilities whose likeliest class spells a row: '-' is the blank."""
    classes = "-" + "".join(CHARACTERS)
    probabilities = np.full((len(rows), len(rows[0]), len(classes)), (1 - certainty) / 4, np.float32)
    for row, text in enumerate(rows):
        for step, character in enumerate(text):
            probabilities[row, step, classes.index(character)] = certainty
    return probabilities


@pytest.mark.parametrize(
    ("steps", "text"),
    [("-----", ""), ("aaaaa", "a"), ("a-a--", "aa"), ("-ab c", "ab c"), ("abbbc", "abc"), ("a--bb", "ab"), ("c", "c")],
)
def test_repeats_are_joined_and_blanks_dropped(steps, text):
    ((found, confidence),) = ctc_decode(spoken(steps), CHARACTERS)
    assert found == text
    assert confidence == pytest.approx(0.8 if text else 0.0)


def test_confidence_is_the_mean_of_the_characters_and_of_nothing_else():
    probabilities = spoken("a-b")
    probabilities[0, 2] = (0.1, 0.1, 0.6, 0.1, 0.1)
    assert ctc_decode(probabilities, CHARACTERS)[0] == ("ab", pytest.approx(0.7))


def test_lines_of_a_batch_do_not_mix():
    assert [text for text, _ in ctc_decode(spoken("aab", "-c-", "---"), CHARACTERS)] == ["ab", "c", ""]


@given(st.integers(1, MAX_WIDTH))
def test_buckets_hold_their_lines_with_little_to_spare(width):
    bucket = width_bucket(width)
    assert width <= bucket < width + max(96, width)
    assert width_bucket(bucket) == bucket


def test_shapes_are_few_since_each_costs_memory():
    assert len(batch_shapes()) <= 13
    assert WIDTHS[-1] == MAX_WIDTH  # no line is wider


@given(st.lists(st.integers(1, MAX_WIDTH), max_size=60))
def test_every_line_is_in_one_batch_that_is_wide_enough(widths):
    batches = group_by_width(widths)
    assert sorted(index for _, _, members in batches for index in members) == list(range(len(widths)))
    for room, width, members in batches:
        assert (room, width) in batch_shapes()
        assert width == max(width_bucket(widths[member]) for member in members)
        assert len(members) <= room
        assert room * width - sum(width_bucket(widths[member]) for member in members) <= 128


def test_equal_lines_share_batches_and_the_last_one_has_room_to_spare_only_where_that_is_cheap():
    assert [(room, len(members)) for room, _, members in group_by_width([200] * 9)] == [(4, 4), (4, 4), (1, 1)]
    assert [(room, len(members)) for room, _, members in group_by_width([90] * 7)] == [(4, 4), (4, 3)]
    assert [(room, len(members)) for room, _, members in group_by_width([200] * 3)] == [(1, 1)] * 3
