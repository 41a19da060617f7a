"""What of a model's output a user sees, and how much of it two outputs have in common.

INT8 kernels round in different places. At the edge of a det region, where the map climbs from 0 to 1 within a pixel or
two, two honest ones differ by up to 0.9; yet they find the same lines. So beside the values it is compared what is
decided by them.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import Decides
from runtime.ocr.recognize import BLANK

_TEXT = 0.3  # det's threshold, as PP-OCR has it


def decided_otherwise(
    got: NDArray[np.generic], want: NDArray[np.generic], decides: Decides, *, tolerance: float
) -> float:
    """The share of decisions that two outputs of one shape do not have in common, 0 to 1.

    Args:
        got: What a backend answers.
        want: What it should answer.
        decides: ``rows``: the largest value along the last axis, where it leads by more than ``tolerance`` in
            ``want``. ``regions``: one less the intersection over union of what exceeds det's threshold. ``text``:
            lines, axes (line, step, class), whose classes spell another text by CTC's greedy rule (Graves et al. 2006).
        tolerance: How much values may differ.
    """
    answers, expected = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if decides == "regions":
        one, other = answers > _TEXT, expected > _TEXT
        return int((one ^ other).sum()) / max(1, int((one | other).sum()))
    first = expected.argmax(-1)
    if decides == "text":
        pairs = zip(answers.argmax(-1).tolist(), first.tolist(), strict=True)
        return sum(_spelled(steps) != _spelled(right) for steps, right in pairs) / max(1, len(first))
    ordered = np.sort(expected, axis=-1)
    clear = ordered[..., -1] - ordered[..., -2] > tolerance
    return float(((answers.argmax(-1) != first) & clear).mean())


def _spelled(classes: list[int]) -> list[int]:
    return [each for each, _ in groupby(classes) if each != BLANK]
