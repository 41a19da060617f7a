"""What counts as the same decision, of texts' labels, of det's map and of rec's lines."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.parity import decided_otherwise


def test_rows_count_only_where_the_winner_led_by_more_than_the_tolerance():
    want = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.0, 1.0]])
    got = np.array([[0.4, 0.6], [0.45, 0.55], [0.2, 0.8], [0.1, 0.9]])
    assert decided_otherwise(got, want, "rows", tolerance=0.2) == 0.25
    assert decided_otherwise(got, want, "rows", tolerance=0.05) == 0.5


def test_regions_are_compared_by_their_area_whatever_their_edges_value():
    want = np.zeros((1, 1, 8, 10), np.float32)
    want[..., :4, :], want[..., 4, :] = 1.0, 0.31
    assert decided_otherwise(np.where(want > 0, 0.4, 0.2), want, "regions", tolerance=0.1) == 0.0
    edge = want.copy()
    edge[..., 4, :] = 0.29
    assert decided_otherwise(edge, want, "regions", tolerance=0.1) == pytest.approx(1 / 5)
    assert decided_otherwise(edge, np.zeros_like(want), "regions", tolerance=0.1) == 1.0
    assert decided_otherwise(np.zeros_like(want), np.zeros_like(want), "regions", tolerance=0.1) == 0.0


def one_hot(*lines: str) -> np.ndarray:
    return np.stack([np.eye(4)[[int(step) for step in line]] for line in lines])


@pytest.mark.parametrize(
    ("got", "share"),
    [
        (("01102", "33000"), 0.0),
        (("00102", "00003"), 0.0),  # a step earlier or later is the same text
        (("01012", "33000"), 0.5),  # a character twice
        (("01103", "33000"), 0.5),  # another character
        (("00000", "00000"), 1.0),
    ],
)
def test_a_line_is_read_otherwise_if_its_text_is_another(got: tuple[str, ...], share: float):
    assert decided_otherwise(one_hot(*got), one_hot("01102", "33000"), "text", tolerance=0.1) == share
