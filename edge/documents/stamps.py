"""What stands beneath a red stamp: employers put theirs over the date or their own name, and OCR then sees neither."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COVERED = {"income_proof": ("employer", "issue_date")}  # the fields that stamps are put over, by kind of document


def without_stamps(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The page in red light, where red ink is nearly as bright as paper and black stays black.

    Args:
        image: (H, W, 3) uint8, BGR.

    Returns:
        The same size and form, grey.
    """
    return np.ascontiguousarray(np.repeat(image[..., 2:], 3, axis=2))
