"""Line-matched character error rate: what was read of each line that is known to be on the picture.

Engines cut a picture into lines differently: what one reads as two boxes is one to the other. So every true line is
compared with all boxes that lie on it, put together in reading order; and where these also lie on another true line,
or reach far beyond this one, with the best part of their text, since the rest belongs elsewhere. A true line that no
box lies on counts as wholly lost. Boxes on nothing that is known count neither way: not everything is labelled.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from compress.evaluate import edit_distance
from compress.tally import Tally

Corners = NDArray[np.float32]  # (N, 2) pixels
_ON = 0.5  # of the smaller one's area: then two boxes lie on each other
_BEYOND = 1.25  # of a true line's length: boxes that together are longer hold more than it


@dataclass(frozen=True, eq=False)
class PlacedText:
    """A line and where it is."""

    corners: Corners
    text: str


def comparable(text: str) -> str:
    """Without spaces, full-width forms as half-width: models differ in what they were taught of these."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def line_edits(truth: Sequence[PlacedText], read: Sequence[PlacedText]) -> list[int]:
    """Characters to change in what was read of each true line until it is right."""
    on = np.array([[_overlap(line, box) >= _ON for box in read] for line in truth], bool).reshape(len(truth), len(read))
    edits = []
    for index, line in enumerate(truth):
        boxes = np.flatnonzero(on[index])
        axis = _reading_axis(line)
        found = sorted((read[box] for box in boxes), key=lambda box: float(box.corners[:, axis].mean()))
        elsewhere = bool((on[:, boxes].sum(axis=0) > 1).any()) or _length(found, axis) > _BEYOND * _length([line], axis)
        text = "".join(comparable(box.text) for box in found)
        edits.append((infix_distance if elsewhere else edit_distance)(comparable(line.text), text))
    return edits


def infix_distance(wanted: str, text: str) -> int:
    """Least number of characters to change between ``wanted`` and any part of ``text`` (Sellers 1980)."""
    previous = [0] * (len(text) + 1)  # a part may begin anywhere
    for row, a in enumerate(wanted, start=1):
        current = [row]
        for column, b in enumerate(text, start=1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (a != b)))
        previous = current
    return min(previous)  # and end anywhere


def error_tally(
    pages: Sequence[tuple[Sequence[PlacedText], Sequence[PlacedText]]],
    counted: Callable[[str], bool] = lambda text: True,
) -> Tally:
    """Edits by true characters, an item a page, so that pages can be drawn for an interval.

    Args:
        pages: Of each page the true lines and the lines read.
        counted: Which true lines count, by their text; the others still say where lines are.
    """
    above, below = [], []
    for truth, read in pages:
        edits = zip(truth, line_edits(truth, read), strict=True)
        above.append(sum(each for line, each in edits if counted(line.text)))
        below.append(sum(len(comparable(line.text)) for line in truth if counted(line.text)))
    return Tally(np.array(above, np.float64)[:, None], np.array(below, np.float64)[:, None])


def _overlap(first: PlacedText, second: PlacedText) -> float:
    a, b = cv2.convexHull(first.corners), cv2.convexHull(second.corners)
    smaller = min(cv2.contourArea(a), cv2.contourArea(b))
    return float(cv2.intersectConvexConvex(a, b)[0] / smaller) if smaller > 0 else 0.0


def _reading_axis(line: PlacedText) -> int:
    """0 for a line from left to right, 1 for one from top to bottom."""
    across, down = np.ptp(line.corners, axis=0)
    return 1 if down > across else 0


def _length(boxes: Sequence[PlacedText], axis: int) -> float:
    """From the first edge of all to the last."""
    return float(np.ptp(np.concatenate([box.corners[:, axis] for box in boxes]))) if boxes else 0.0
