"""A line of text on a page, and the order in which a person reads lines."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line as it was read.

    Attributes:
        text: What it says.
        confidence: 0 to 1; 1 where the text was not recognised but given, as in a PDF's text layer.
        box: Four corners (x, y) in pixels of the page, clockwise from the top left as the line is read: on an
            upside-down page the first corner is the lower right one of the picture.
    """

    text: str
    confidence: float
    box: Box


def box_of(points: NDArray[np.generic]) -> Box:
    """A (4, 2) array of corners as plain numbers."""
    a, b, c, d = ((float(x), float(y)) for x, y in points)
    return a, b, c, d


def reading_axes(boxes: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The direction along which a page's lines run, and the one in which they follow each other.

    Long lines count most: the direction is the weighted median of the lines' angles within the quarter turn that
    holds most of the text, so a stamp or a vertical caption does not tilt the page. For a page in columns from top to
    bottom the lines then follow each other from right to left, as they should.

    Args:
        boxes: (N, 4, 2), corners as in ``Line.box``; N at least 1.

    Returns:
        Two unit vectors (x, y) at right angles.
    """
    tops = (boxes[:, 1] + boxes[:, 2] - boxes[:, 0] - boxes[:, 3]) / 2  # (N, 2) along the reading direction
    lengths = np.hypot(tops[:, 0], tops[:, 1])
    angles = np.arctan2(tops[:, 1], tops[:, 0])
    quarters = np.round(angles / (math.pi / 2)).astype(np.intp) % 4
    quarter = int(np.bincount(quarters, weights=lengths, minlength=4).argmax())
    chosen = quarters == quarter
    tilts = (angles[chosen] - quarter * math.pi / 2 + math.pi) % (2 * math.pi) - math.pi
    order = np.argsort(tilts)
    weights = np.cumsum(lengths[chosen][order])
    angle = quarter * math.pi / 2 + float(tilts[order][np.searchsorted(weights, weights[-1] / 2)])
    along = np.array([math.cos(angle), math.sin(angle)], np.float32)
    return along, np.array([-along[1], along[0]], np.float32)


def in_reading_order(lines: list[Line]) -> tuple[Line, ...]:
    """Sort from top to bottom, and what stands side by side from left to right.

    A line stands beside a row's first one when their centres differ by less than half the lower of the two heights.
    """
    if len(lines) < 2:
        return tuple(lines)
    boxes = np.array([line.box for line in lines], np.float32)
    along, down = reading_axes(boxes)
    centres = boxes.mean(axis=1)
    lefts, middles = (boxes @ along).min(axis=1), centres @ down
    heights = np.ptp(boxes @ down, axis=1)
    # a tilted line spans more than its own height, which its short sides tell
    heights = np.minimum(heights, np.hypot(*(boxes[:, 3] - boxes[:, 0]).T))
    rows: list[list[int]] = []
    for index in map(int, np.argsort(middles, kind="stable")):
        if rows:
            first = rows[-1][0]
            if middles[index] - middles[first] < 0.5 * min(heights[index], heights[first]):
                rows[-1].append(index)
                continue
        rows.append([index])
    return tuple(lines[index] for row in rows for index in sorted(row, key=lambda each: float(lefts[each])))


def scaled(line: Line, x: float, y: float) -> Line:
    """The same line on the page enlarged by ``x`` and ``y``."""
    return replace(line, box=box_of(np.array(line.box) * (x, y)))
