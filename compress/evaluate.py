"""Metrics and latency. Everything but ``interleaved_medians_ms`` is a pure function of arrays or texts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from compress.calibration import Feeds
from runtime.predictor import Predictor

Polygon = NDArray[np.float32]  # (corners, 2) in pixels; its convex hull counts


@dataclass(frozen=True)
class DetectionScore:
    """Precision and recall over all pages together, and their harmonic mean."""

    precision: float
    recall: float
    hmean: float


@dataclass(frozen=True)
class DetectionPage:
    """One page: boxes found, true ones, and regions that count neither way (PaddleOCR's transcription ``###``)."""

    found: Sequence[Polygon]
    truth: Sequence[Polygon]
    ignored: Sequence[Polygon] = ()


def polygon_iou(first: Polygon, second: Polygon) -> float:
    """Area of the intersection of two polygons' convex hulls by that of their union; 0 where either has no area."""
    a, b = _hull(first), _hull(second)
    union = cv2.contourArea(a) + cv2.contourArea(b)
    if union <= 0:
        return 0.0
    shared, _ = cv2.intersectConvexConvex(a, b)
    return float(shared / (union - shared)) if union > shared else 0.0


def detection_score(pages: Sequence[DetectionPage], *, threshold: float = 0.5) -> DetectionScore:
    """H-mean as in ICDAR 2015: a box is right if it overlaps a true one by ``threshold`` IoU, each used once.

    A page with no true boxes counts by what was wrongly found on it. With nothing true and nothing found anywhere
    the score is 1.
    """
    matched = found = wanted = 0
    for page in pages:
        counted = [box for box in page.found if not any(_covered(box, region) for region in page.ignored)]
        matched += _matches(counted, page.truth, threshold)
        found += len(counted)
        wanted += len(page.truth)
    if not found and not wanted:
        return DetectionScore(1.0, 1.0, 1.0)
    precision = matched / found if found else 0.0
    recall = matched / wanted if wanted else 0.0
    return DetectionScore(precision, recall, 2 * matched / (found + wanted))


def edit_distance(first: str, second: str) -> int:
    """Least number of characters to insert, delete or replace (Levenshtein 1966)."""
    previous = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        current = [i]
        for j, b in enumerate(second, start=1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (a != b)))
        previous = current
    return previous[-1]


def character_error_rate(read: Sequence[str], truth: Sequence[str]) -> float:
    """Edit distance over all lines by the characters in ``truth``; lower is better, and it may exceed 1.

    Raises:
        ValueError: The lengths differ, or the truth holds no character.
    """
    characters = sum(map(len, truth))
    if characters == 0:
        raise ValueError("a character error rate needs at least one true character")
    return sum(edit_distance(a, b) for a, b in zip(read, truth, strict=True)) / characters


def accuracy(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Share of rows that are equal throughout; also the agreement of two models.

    Raises:
        ValueError: The shapes differ or there are no rows.
    """
    if predicted.shape != truth.shape or len(truth) == 0:
        raise ValueError(f"expected two equal shapes with rows, got {predicted.shape} and {truth.shape}")
    same = predicted == truth
    return float(same.reshape(len(same), -1).all(axis=1).mean())


def macro_f1(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """F1 of each label, averaged over the labels that occur in either array.

    Args:
        predicted: (N,) class indices, or (N, labels) of 0 and 1 where a text may carry several.
        truth: The same form.

    Raises:
        ValueError: The shapes differ or there is no label.
    """
    if predicted.shape != truth.shape or truth.size == 0:
        raise ValueError(f"expected two equal shapes with rows, got {predicted.shape} and {truth.shape}")
    if truth.ndim == 1:
        classes = np.union1d(predicted, truth)
        predicted, truth = predicted[:, None] == classes, truth[:, None] == classes
    chosen, true = predicted.astype(bool), truth.astype(bool)
    hits = (chosen & true).sum(axis=0)
    both = chosen.sum(axis=0) + true.sum(axis=0)
    present = both > 0
    if not present.any():
        raise ValueError("no label occurs")
    return float((2 * hits[present] / both[present]).mean())


def interleaved_medians_ms(
    predictors: Mapping[str, Predictor], feeds: Sequence[Feeds], *, repeats: int = 10
) -> dict[str, float]:
    """Median milliseconds of one run of each predictor.

    They take turns on every feed, so that a busy moment of the machine hits all alike: only then their ratio
    means something. Each first runs every feed once untimed, since a new shape costs preparation.

    Args:
        predictors: By a name of the caller's choice.
        feeds: Inputs that all of them take.
        repeats: Timed rounds over all feeds.
    """
    for predictor in predictors.values():
        for feed in feeds:
            predictor.run(feed)
    times: dict[str, list[float]] = {name: [] for name in predictors}
    for _ in range(repeats):
        for feed in feeds:
            for name, predictor in predictors.items():
                start = time.perf_counter()
                predictor.run(feed)
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(each) for name, each in times.items()}


def _matches(found: Sequence[Polygon], truth: Sequence[Polygon], threshold: float) -> int:
    overlaps = [(polygon_iou(a, b), i, j) for i, a in enumerate(found) for j, b in enumerate(truth)]
    used_found: set[int] = set()
    used_truth: set[int] = set()
    for overlap, i, j in sorted(overlaps, reverse=True):
        if overlap < threshold:
            break
        if i not in used_found and j not in used_truth:
            used_found.add(i)
            used_truth.add(j)
    return len(used_found)


def _covered(box: Polygon, region: Polygon) -> bool:
    shared, _ = cv2.intersectConvexConvex(_hull(box), _hull(region))
    return bool(shared > 0.5 * cv2.contourArea(_hull(box)))


def _hull(polygon: Polygon) -> Polygon:
    """Corners that a person clicked may be in any order, or not quite convex."""
    return np.asarray(cv2.convexHull(np.asarray(polygon, np.float32)), np.float32)
