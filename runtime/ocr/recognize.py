"""How crops are grouped for rec, and how its output becomes text."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLANK = 0  # CTC's blank; character i of the dictionary is class i + 1
# Widths that rec is run at. A backend keeps compiled kernels for each shape it meets (OpenVINO 5 to 9 MB of PP-OCR, and
# 25 ms to compile), so shapes are few, and all of them are met while the server warms up.
WIDTHS = (96, 160, 224, 320, 448, 640, 960, 1600, 3200)
BATCH = 4
_WIDEST_BATCH = 320  # of wider lines a call of its own costs no more for each
# A call of its own costs about as much as this many columns (PP-OCRv6 small, OpenVINO, one core)
_CALL_COLUMNS = 128


class Batch(NamedTuple):
    """Lines that rec reads together: how many it has room for, their width in pixels, and which ones they are."""

    room: int
    width: int
    members: list[int]


def width_bucket(width: int) -> int:
    """The least of ``WIDTHS`` that holds ``width``."""
    return WIDTHS[bisect.bisect_left(WIDTHS, width)]


def batch_shapes() -> list[tuple[int, int]]:
    """Every (lines, width) that ``group_by_width`` makes."""
    return [(1, width) for width in WIDTHS] + [(BATCH, width) for width in WIDTHS if width <= _WIDEST_BATCH]


def group_by_width(widths: Sequence[int]) -> list[Batch]:
    """Group lines of similar width into batches of four, others alone, so that few shapes occur.

    Args:
        widths: Of each line at rec's height, in pixels.

    Returns:
        Batches, the widest first.
    """
    order = sorted(range(len(widths)), key=lambda each: (-widths[each], each))
    batches: list[Batch] = []
    start = 0
    while start < len(order):
        width = width_bucket(widths[order[start]])
        members = order[start : start + BATCH]
        padding = BATCH * width - sum(width_bucket(widths[member]) for member in members)
        if width > _WIDEST_BATCH or len(members) == 1 or padding > _CALL_COLUMNS:
            batches.append(Batch(1, width, members[:1]))
            start += 1
        else:
            batches.append(Batch(BATCH, width, members))
            start += BATCH
    return batches


def ctc_decode(probabilities: NDArray[np.float32], characters: Sequence[str]) -> list[tuple[str, float]]:
    """Take the likeliest class at each step, join repeats, drop blanks (greedy CTC, Graves et al. 2006).

    Args:
        probabilities: (N, T, C); class 0 is the blank.
        characters: What classes 1 to C - 1 stand for.

    Returns:
        For each line its text and the mean probability of its characters, 0 for an empty text.
    """
    best = probabilities.argmax(axis=2)  # (N, T)
    chances = np.take_along_axis(probabilities, best[:, :, None], axis=2)[:, :, 0]
    kept = best != BLANK
    kept[:, 1:] &= best[:, 1:] != best[:, :-1]
    return [
        ("".join(characters[each - 1] for each in row[keep]), float(chance[keep].mean()) if keep.any() else 0.0)
        for row, chance, keep in zip(best, chances, kept, strict=True)
    ]
