"""Metrics and latency. Everything but ``interleaved_medians_ms`` is a pure function of arrays or texts.

``X_tally`` keeps what each item adds to the metric X, from which ``compress.gate`` works out how sure a drop is.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from compress.calibration import Feeds
from compress.tally import Tally
from runtime.entities import Span
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
    matched, found, wanted = map(int, _page_counts(pages, threshold).sum(axis=0))
    if not found and not wanted:
        return DetectionScore(1.0, 1.0, 1.0)
    precision = matched / found if found else 0.0
    recall = matched / wanted if wanted else 0.0
    return DetectionScore(precision, recall, 2 * matched / (found + wanted))


def detection_tally(pages: Sequence[DetectionPage], *, threshold: float = 0.5) -> Tally:
    """H-mean by page."""
    counts = _page_counts(pages, threshold)
    return Tally(2 * counts[:, :1], counts[:, 1:].sum(axis=1, keepdims=True))


def _page_counts(pages: Sequence[DetectionPage], threshold: float) -> NDArray[np.float64]:
    """(pages, 3): boxes matched, found and wanted."""
    counts = np.zeros((len(pages), 3))
    for row, page in zip(counts, pages, strict=True):
        counted = [box for box in page.found if not any(_covered(box, region) for region in page.ignored)]
        row[:] = _matches(counted, page.truth, threshold), len(counted), len(page.truth)
    return counts


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
    tally = character_tally(read, truth)
    if not tally.below.any():
        raise ValueError("a character error rate needs at least one true character")
    return tally.value


def character_tally(read: Sequence[str], truth: Sequence[str]) -> Tally:
    """Character error rate by line."""
    edits = [float(edit_distance(a, b)) for a, b in zip(read, truth, strict=True)]
    return Tally(np.array(edits)[:, None], np.array([float(len(text)) for text in truth])[:, None])


def accuracy(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Share of rows that are equal throughout; also the agreement of two models.

    Raises:
        ValueError: The shapes differ or there are no rows.
    """
    return accuracy_tally(predicted, truth).value


def accuracy_tally(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> Tally:
    """Accuracy by row; ValueError as in ``accuracy``."""
    if predicted.shape != truth.shape or len(truth) == 0:
        raise ValueError(f"expected two equal shapes with rows, got {predicted.shape} and {truth.shape}")
    right = (predicted == truth).reshape(len(truth), -1).all(axis=1)
    return Tally(right[:, None].astype(np.float64), np.ones((len(truth), 1)))


def macro_f1(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """F1 of each label, averaged over the labels that occur in either array.

    Args:
        predicted: (N,) class indices, or (N, labels) of 0 and 1 where a text may carry several.
        truth: The same form.

    Raises:
        ValueError: The shapes differ or there is no label.
    """
    tally = label_tally(predicted, truth)
    if not tally.below.any():
        raise ValueError("no label occurs")
    return tally.value


def label_tally(predicted: NDArray[np.generic], truth: NDArray[np.generic]) -> Tally:
    """Macro-F1 by text; arguments and ValueError as in ``macro_f1``."""
    if predicted.shape != truth.shape or truth.size == 0:
        raise ValueError(f"expected two equal shapes with rows, got {predicted.shape} and {truth.shape}")
    if truth.ndim == 1:
        classes = np.union1d(predicted, truth)
        predicted, truth = predicted[:, None] == classes, truth[:, None] == classes
    chosen, true = predicted.astype(bool), truth.astype(bool)
    return Tally(2.0 * (chosen & true), chosen.astype(np.float64) + true)


def chance_macro_f1(truth: NDArray[np.generic], *, multi_label: bool) -> float:
    """The macro-F1 that the best answer can expect which never looks at the text.

    A label on a share p of the texts, answered at random for a share q, has an expected F1 of 2pq / (p + q) on many
    texts. Where labels are free that is highest at q = 1, every label for every text; where each text has one, the
    sum over labels is highest at q = p (its derivative 2p^2 / (p + q)^2 is then the same for all).

    Args:
        truth: (N, labels), 1 where a text has the label; labels that never occur do not count.
        multi_label: Whether a text may carry several.

    Raises:
        ValueError: No label occurs.
    """
    share = truth.astype(bool).mean(axis=0)
    share = share[share > 0]
    if not share.size:
        raise ValueError("no label occurs")
    answered = np.ones_like(share) if multi_label else share
    return float((2 * share * answered / (share + answered)).mean())


def calibration_error(probabilities: NDArray[np.float64], truth: NDArray[np.generic], bins: int = 10) -> float:
    """How far probabilities are from how often they come true: the expected calibration error, lower is better.

    Source: Naeini et al. 2015; Guo et al., arXiv:1706.04599; bins of equal width.

    Args:
        probabilities: Of any shape, each between 0 and 1.
        truth: The same shape, 1 where it came true.
        bins: How many groups of like probabilities are looked at.
    """
    said, true = probabilities.ravel(), truth.astype(bool).ravel()
    place = np.minimum((said * bins).astype(np.int64), bins - 1)
    shares = ((place == each) for each in np.unique(place))
    return float(sum(chosen.mean() * abs(said[chosen].mean() - true[chosen].mean()) for chosen in shares))


@dataclass(frozen=True)
class EntityScore:
    """Precision, recall and F1 over all entities together (micro), and F1 of each type that occurs."""

    precision: float
    recall: float
    f1: float
    types: Mapping[str, float]


def entity_f1(found: Sequence[Sequence[Span]], truth: Sequence[Sequence[Span]]) -> EntityScore:
    """Entities that are exactly right, in type, first and last character (CoNLL-2003, as seqeval counts them).

    Args:
        found: Per text.
        truth: The same texts.

    Raises:
        ValueError: The numbers of texts differ or are 0, or there is no entity in either.
    """
    tally = entity_tally(found, truth)
    if not tally.below.any():
        raise ValueError("no entity occurs")
    chosen, true = sum(len(set(each)) for each in found), sum(len(set(each)) for each in truth)
    hits = tally.above.sum() / 2
    types = {}
    for kind in sorted({span.label for texts in (found, truth) for spans in texts for span in spans}):
        alone = [[[span for span in spans if span.label == kind] for spans in texts] for texts in (found, truth)]
        types[kind] = entity_tally(alone[0], alone[1]).value
    return EntityScore(hits / chosen if chosen else 0.0, hits / true if true else 0.0, tally.value, types)


def entity_tally(found: Sequence[Sequence[Span]], truth: Sequence[Sequence[Span]]) -> Tally:
    """Micro F1 of entities by text."""
    pairs = [(set(a), set(b)) for a, b in zip(found, truth, strict=True)]
    hits = np.array([2.0 * len(a & b) for a, b in pairs])
    return Tally(hits[:, None], np.array([float(len(a) + len(b)) for a, b in pairs])[:, None])


def chance_entity_f1(truth: Sequence[Sequence[Span]], texts: Sequence[str]) -> float:
    """The best F1 of answers that never look at the text: each character, or each whole text, an entity of one type.

    Args:
        truth: As in ``entity_f1``.
        texts: The texts, whose lengths are needed.
    """
    best = 0.0
    for kind in sorted({span.label for spans in truth for span in spans}):
        characters = [[Span(kind, at, at + 1) for at in range(len(text))] for text in texts]
        whole = [[Span(kind, 0, len(text))] for text in texts]
        best = max(best, entity_tally(characters, truth).value, entity_tally(whole, truth).value)
    return best


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
