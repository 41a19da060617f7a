"""Where lines would stand if the page had been photographed from straight above.

Seen at a slant, rows lean more the lower or the further right they stand, and columns likewise. How a row leans, the
box of every long line tells; how columns lean, the edges of lines that stand below each other. A plane through all of
them tells it for every place: the first two terms of a perspective, which is what a hand-held phone gives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_LONG = 3.0  # a line this many times as long as high tells how its row leans
_FEWEST_ROWS, _FEWEST_PAIRS = 8, 80  # what fewer tell is chance; only tables have so many pairs
_STEEPEST = 0.12  # columns lean by no more, in pixels to the pixel
_REACH = (1.2, 12.0)  # in heights: how far apart lines below each other are compared
_NEXT = 40  # lines that are compared with each one


def straightened(across: NDArray[np.float32], depths: NDArray[np.float32]) -> Numbers:
    """Straighten the boxes of a page.

    Args:
        across: (N, 4) corners along the reading direction in pixels, clockwise from the upper left.
        depths: (N, 4) the same corners at right angles to it.

    Returns:
        (N, 4) left, right, top and bottom of each; of a line that was read on its head left is more than right.
    """
    u0, v0 = float(across.mean()), float(depths.mean())
    u, v = across.astype(np.float64) - u0, depths.astype(np.float64) - v0
    v = _without_lean(v, u, _lean_of_rows(u, v))
    # means of two corners each: a box that is still turned a little does not grow into its neighbours
    edges = np.stack([u[:, [0, 3]].mean(1), u[:, [1, 2]].mean(1)], axis=1)  # (N, 2)
    top, bottom = v[:, [0, 1]].mean(1), v[:, [2, 3]].mean(1)
    middles = np.stack([(top + bottom) / 2] * 2, axis=1)
    edges = _without_lean(edges, middles, _lean_of_columns(edges, top, bottom))
    return np.column_stack([edges + u0, top + v0, bottom + v0])


def _lean_of_rows(u: Numbers, v: Numbers) -> Numbers | None:
    spans = u[:, [1, 2]].mean(1) - u[:, [0, 3]].mean(1)
    rises = v[:, [1, 2]].mean(1) - v[:, [0, 3]].mean(1)
    long = spans > _LONG * np.abs(v[:, [2, 3]].mean(1) - v[:, [0, 1]].mean(1))
    if long.sum() < _FEWEST_ROWS:
        return None
    return _plane(rises[long] / spans[long], v.mean(1)[long], u.mean(1)[long], spans[long])


def _lean_of_columns(edges: Numbers, top: Numbers, bottom: Numbers) -> Numbers | None:
    order = np.argsort(top + bottom, kind="stable")
    middles, heights, edges = ((top + bottom) / 2)[order], np.abs(bottom - top)[order], edges[order]
    samples: list[Numbers] = []  # (M, 4): lean, place across, depth, distance
    for step in range(1, min(_NEXT, len(edges) - 1) + 1):
        fall, height = middles[step:] - middles[:-step], np.maximum(heights[step:], heights[:-step])
        for edge in (0, 1):
            shift = edges[step:, edge] - edges[:-step, edge]
            below = (fall > _REACH[0] * height) & (fall < _REACH[1] * height) & (np.abs(shift) < _STEEPEST * fall)
            place, depth = (edges[step:, edge] + edges[:-step, edge]) / 2, (middles[step:] + middles[:-step]) / 2
            samples.append(np.stack([shift / np.maximum(fall, 1.0), place, depth, fall], axis=1)[below])
    if sum(map(len, samples)) < _FEWEST_PAIRS:
        return None
    lean, place, depth, fall = np.concatenate(samples).T
    return _plane(lean, place, depth, fall)


def _plane(leans: Numbers, places: Numbers, others: Numbers, weights: Numbers) -> Numbers:
    """Coefficients of lean = a + b place + c other, by least squares without what lies far off."""
    terms = np.stack([np.ones(len(leans)), places, others], axis=1)
    kept = np.ones(len(leans), bool)
    found = np.zeros(3)
    for _ in range(4):
        scale = np.sqrt(weights[kept])
        found = np.linalg.lstsq(terms[kept] * scale[:, None], leans[kept] * scale, rcond=None)[0]
        apart = np.abs(leans - terms @ found)
        kept = apart <= max(2.5 * float(np.median(apart)), 1e-4)
    return found


def _without_lean(places: Numbers, others: Numbers, plane: Numbers | None) -> Numbers:
    """Follow each row or column to the middle of the page: place = r + (a + b r) other + c other² / 2, solved for r."""
    if plane is None:
        return places
    a, b, c = plane
    return np.asarray((places - a * others - c * others**2 / 2) / np.maximum(0.5, 1 + b * others), np.float64)
