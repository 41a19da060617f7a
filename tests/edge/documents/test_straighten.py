"""A table photographed at a slant comes out level, its columns upright."""

from __future__ import annotations

import numpy as np
import pytest

from edge.documents.straighten import straightened

HEIGHT, ROWS, LEFTS = 22.0, 30, (60.0, 200.0, 330.0, 640.0, 860.0)


def table(rows: int = ROWS) -> np.ndarray:
    """(N, 4, 2) boxes of a table of 1000 x 1300 pixels: five columns of lines of several lengths."""
    rng = np.random.default_rng(1)
    boxes = []
    for row in range(rows):
        for left in LEFTS:
            right, top = left + float(rng.integers(40, 130)), 60 + 40.0 * row
            boxes.append([(left, top), (right, top), (right, top + HEIGHT), (left, top + HEIGHT)])
    return np.array(boxes, np.float32)


def seen(boxes: np.ndarray, tilt: float, across: float, down: float) -> np.ndarray:
    """The boxes as a phone sees them: turned by ``tilt``, and getting smaller across and down the page."""
    x, y = boxes[..., 0] - 500, boxes[..., 1] - 650
    x, y = x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)
    depth = 1 + across * x / 1000 + down * y / 1300
    noise = np.random.default_rng(2).normal(0, 0.7, boxes.shape)
    return np.asarray(np.stack([x / depth + 500, y / depth + 650], axis=-1) + noise, np.float32)


def spread(values: np.ndarray) -> float:
    return float(np.ptp(values))


@pytest.mark.parametrize(
    ("tilt", "across", "down"), [(0.0, 0.0, 0.0), (0.01, 0.1, 0.0), (-0.01, -0.08, 0.08), (0, 0, 0.1)]
)
def test_rows_are_level_and_columns_upright(tilt: float, across: float, down: float) -> None:
    boxes = seen(table(), tilt, across, down)
    left, _, top, bottom = straightened(boxes[..., 0], boxes[..., 1]).T.reshape(4, ROWS, len(LEFTS))
    assert max(map(spread, (top + bottom) / 2)) < 0.5 * HEIGHT
    assert max(map(spread, left.T)) < 0.7 * HEIGHT
    raw = boxes.mean(axis=1).reshape(ROWS, len(LEFTS), 2)
    if across or down:  # or the test would pass with nothing done
        assert max(*map(spread, raw[..., 1]), *map(spread, boxes[:, 0, 0].reshape(ROWS, -1).T)) > HEIGHT


def test_a_few_lines_say_nothing_of_columns() -> None:
    boxes = table(2)
    left, right, top, bottom = straightened(boxes[..., 0], boxes[..., 1]).T
    assert left == pytest.approx(boxes[:, 0, 0], abs=0.01)
    assert right == pytest.approx(boxes[:, 1, 0], abs=0.01)
    assert (top, bottom) == (pytest.approx(boxes[:, 0, 1], abs=0.01), pytest.approx(boxes[:, 2, 1], abs=0.01))


def test_a_line_on_its_head_ends_before_it_begins() -> None:
    boxes = table(2)
    boxes[3] = boxes[3][[2, 3, 0, 1]]
    sides = straightened(boxes[..., 0], boxes[..., 1])
    assert [index for index, (left, right, *_) in enumerate(sides) if right < left] == [3]
