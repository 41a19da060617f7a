"""From det's probability map to boxes: the post-processing of Differentiable Binarization (DB, arXiv:1911.08947)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.artifact import OcrSettings

_MIN_SIDE = 3  # pixels of the map; smaller specks are noise
_MAX_BOXES = 1000
_Rect = tuple[tuple[float, float], tuple[float, float], float]  # centre, sides, angle, as cv2.minAreaRect has them


def boxes_from_map(probabilities: NDArray[np.float32], settings: OcrSettings) -> NDArray[np.float32]:
    """Outline every region of text by a rotated rectangle.

    Args:
        probabilities: (H, W), of each pixel being text.
        settings: Thresholds and how far boxes grow.

    Returns:
        (N, 4, 2) in pixels of the map, clockwise from the upper left corner; they may reach over its edges.
    """
    mask = (probabilities > settings.det_threshold).astype(np.uint8)
    # PP-OCR's use_dilation: joins what a hair parts, and one pixel more to the right and below makes contours, which
    # follow pixel centres, run along the pixels' edges
    mask = cv2.dilate(mask, np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    boxes = []
    for contour in contours[:_MAX_BOXES]:
        rect = cv2.minAreaRect(contour)
        if min(rect[1]) < _MIN_SIDE or _mean_in(probabilities, cv2.boxPoints(rect)) < settings.box_threshold:
            continue
        boxes.append(_clockwise(cv2.boxPoints(unclip(rect, settings.unclip_ratio))))
    return np.array(boxes, np.float32).reshape(-1, 4, 2)


def unclip(rect: _Rect, ratio: float) -> _Rect:
    """Grow a rectangle by ``area * ratio / perimeter`` on each side.

    DB trains on shrunken regions. The paper offsets the polygon with round joins; of a rectangle the smallest
    rectangle around that offset is the rectangle itself, grown by the distance on each side.
    """
    centre, (width, height), angle = rect
    distance = width * height * ratio / (2 * (width + height))
    return centre, (width + 2 * distance, height + 2 * distance), angle


def _mean_in(probabilities: NDArray[np.float32], box: NDArray[np.float32]) -> float:
    height, width = probabilities.shape
    left, top = np.floor(box.min(axis=0)).astype(int).clip(0, (width - 1, height - 1))
    right, bottom = np.ceil(box.max(axis=0)).astype(int).clip(0, (width - 1, height - 1))
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(mask, [(box - (left, top)).astype(np.int32)], 1)
    return float(cv2.mean(probabilities[top : bottom + 1, left : right + 1], mask)[0])


def _clockwise(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Order a rectangle's corners clockwise from the upper one of the two leftmost."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = by_x[:2], by_x[2:]
    top_left, bottom_left = left[np.argsort(left[:, 1], kind="stable")]
    top_right, bottom_right = right[np.argsort(right[:, 1], kind="stable")]
    return np.stack([top_left, top_right, bottom_right, bottom_left])
