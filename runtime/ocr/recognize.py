"""How crops are grouped for rec, and how its output becomes text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

BLANK = 0  # CTC's blank; character i of the dictionary is class i + 1
_MAX_BATCH = 8
# One call costs about as much as 128 columns of one line (PP-OCRv4 mobile, OpenVINO, two cores): more padding than
# that costs more than the call it saves
_CALL_COLUMNS = 128


def width_bucket(width: int) -> int:
    """Round a width up, in steps of at most an eighth of it but 32 at least, so that few shapes occur.

    Backends keep memory and prepared kernels for each shape they meet.
    """
    step = max(32, 1 << width.bit_length() >> 4)
    return -(-width // step) * step


def group_by_width(widths: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Group lines of similar width into batches of one, two, four or eight, so that few shapes occur.

    Args:
        widths: Of each line at rec's height, in pixels.

    Returns:
        Batches, the widest first: their width, and the places in ``widths`` of their lines.
    """
    groups: list[tuple[int, list[int]]] = []
    padding = 0
    for index in sorted(range(len(widths)), key=lambda each: (-widths[each], each)):
        bucket = width_bucket(widths[index])
        if groups and len(groups[-1][1]) < _MAX_BATCH:
            padding += groups[-1][0] - bucket
            if padding <= _CALL_COLUMNS:
                groups[-1][1].append(index)
                continue
        groups.append((bucket, [index]))
        padding = 0
    return [(width_bucket(widths[part[0]]), part) for _, group in groups for part in _in_powers_of_two(group)]


def _in_powers_of_two(group: list[int]) -> Iterator[list[int]]:
    while group:
        size = 1 << (len(group).bit_length() - 1)
        yield group[:size]
        group = group[size:]


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
