"""Which shapes a model of an artifact will be fed: TensorRT builds its engines for these, and ``/v2`` takes no larger.

The ranges follow from how texts are padded, pages and lines scaled and batches cut, and from the profile's limits. A
shape outside of them is rare (a page three times as long as wide) and runs on another backend, since an engine
would be built anew for it, for minutes, while a customer waits (PaddleOCR#7556).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from devices.errors import RequestError
from runtime.artifact import Artifact
from runtime.ocr.recognize import BATCH, WIDTHS
from runtime.predictor import ShapeRange

_TEXT_LEAST = 8  # tokens
_DET_STEP, _DET_LONGEST = 32, 1.5  # pixels; sides of det_limit_side, by area, so this holds pages up to 9 : 4
_REC_USUAL = 320  # pixels


def shape_ranges(
    artifact: Artifact, name: str, feeds: Mapping[str, NDArray[np.generic]], *, text_batch: int
) -> dict[str, ShapeRange]:
    """The range of each input of the model ``name``.

    Args:
        artifact: Where it comes from; its kind and settings say how inputs are made.
        name: One of the artifact's models.
        feeds: Its golden inputs, for their names and ranks.
        text_batch: Texts in one run, from the profile.

    Returns:
        Ranges by input. Of a model that is nothing the kit feeds by itself, the golden shapes alone.
    """
    if artifact.text is not None:
        longest = artifact.text.max_length
        texts = ShapeRange((1, _TEXT_LEAST), (1, min(128, longest)), (text_batch, longest))
        return dict.fromkeys(feeds, texts)
    if artifact.behaviour is not None:
        least, most = artifact.behaviour.min_transactions, artifact.behaviour.max_transactions
        return {
            key: ShapeRange((1, least, *rest), (1, most, *rest), (1, most, *rest))
            for key, rest in ((key, feed.shape[2:]) for key, feed in feeds.items())
        }
    if artifact.ocr is not None:
        side = math.ceil(artifact.ocr.det_limit_side / _DET_STEP) * _DET_STEP
        longest = math.ceil(side * _DET_LONGEST / _DET_STEP) * _DET_STEP
        height = artifact.ocr.rec_height
        lines = {
            "ocr-det": ShapeRange((1, 3, _DET_STEP, _DET_STEP), (1, 3, side, side), (1, 3, longest, longest)),
            "ocr-rec": ShapeRange(
                (1, 3, height, min(WIDTHS)), (BATCH, 3, height, _REC_USUAL), (BATCH, 3, height, max(WIDTHS))
            ),
        }
        if name in lines:
            return dict.fromkeys(feeds, lines[name])
        # cls sees one size of line
        return {
            key: ShapeRange((1, *feed.shape[1:]), (BATCH, *feed.shape[1:]), (BATCH, *feed.shape[1:]))
            for key, feed in feeds.items()
        }
    return {key: ShapeRange(feed.shape, feed.shape, feed.shape) for key, feed in feeds.items()}


def check_size(name: str, feeds: Mapping[str, NDArray[np.generic]], ranges: Mapping[str, ShapeRange]) -> None:
    """Refuse what is larger than anything that the model ``name`` is meant for: it would take the memory of the others.

    More and smaller rows than usual are taken, as long as they have no more values together.

    Raises:
        RequestError: An input is too large; the message says what is taken.
    """
    for key in feeds.keys() & ranges.keys():
        shape, most = feeds[key].shape, ranges[key].most
        too_long = any(side > limit for side, limit in zip(shape[1:], most[1:], strict=False))
        if too_long or math.prod(shape) > math.prod(most):
            have, limit = ("x".join(map(str, each)) for each in (shape, most))
            raise RequestError(
                f"Input {key!r} of {name} has shape {have}; at most {limit} is taken.",
                remedy="Send it in smaller parts.",
            )
