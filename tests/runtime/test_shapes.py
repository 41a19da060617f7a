"""Ranges for TensorRT's engines: what the kit feeds by itself lies within them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import RequestError
from runtime.artifact import Artifact, BehaviourSettings, ModelEntry, OcrSettings, TextSettings
from runtime.ocr.preprocess import det_room, det_size
from runtime.ocr.recognize import BATCH, batch_shapes
from runtime.predictor import ShapeRange
from runtime.shapes import check_size, shape_ranges

OCR = Artifact(kind="ocr", profile="p", models=(ModelEntry(name="ocr-det"),), ocr=OcrSettings())


def test_texts_reach_from_one_short_one_to_a_full_batch_of_the_longest() -> None:
    text = TextSettings(labels=("a", "b"), multi_label=True, max_length=250)
    artifact = Artifact(kind="text", profile="p", models=(ModelEntry(name="text-risk"),), text=text)
    feeds = {name: np.zeros((2, 9), np.int64) for name in ("input_ids", "token_type_ids")}
    ranges = shape_ranges(artifact, "text-risk", feeds, text_batch=12)
    assert ranges == dict.fromkeys(feeds, ShapeRange((1, 8), (1, 128), (12, 250)))


def test_histories_reach_from_the_shortest_that_is_asked_about_to_the_longest() -> None:
    settings = BehaviourSettings(max_transactions=200, min_transactions=5, mean=(0.0,), std=(1.0,))
    artifact = Artifact(kind="behaviour", profile="p", models=(ModelEntry(name="b"),), behaviour=settings)
    feeds = {"features": np.zeros((1, 30, 23), np.float32), "mask": np.zeros((1, 30), np.float32)}
    ranges = shape_ranges(artifact, "b", feeds, text_batch=1)
    assert ranges["features"] == ShapeRange((1, 5, 23), (1, 200, 23), (1, 200, 23))
    assert ranges["mask"] == ShapeRange((1, 5), (1, 200), (1, 200))


@given(st.integers(1, 4000), st.floats(0.45, 2.2))
def test_pages_of_the_usual_proportions_are_within_det_s_range(width: int, proportion: float) -> None:
    height = max(1, round(width * proportion))
    feeds = {"x": np.zeros((1, 3, 96, 160), np.float32)}
    (within,) = shape_ranges(OCR, "ocr-det", feeds, text_batch=1).values()
    size = det_size(height, width, limit_side=OCR.ocr.det_limit_side, min_side=OCR.ocr.det_min_side)
    assert within.holds((1, 3, *det_room(size)))


def test_every_batch_of_lines_is_within_the_ranges_of_rec_and_cls() -> None:
    feeds = {"x": np.zeros((1, 3, 48, 192), np.float32)}
    (rec,) = shape_ranges(OCR, "ocr-rec", feeds, text_batch=1).values()
    assert all(rec.holds((lines, 3, 48, width)) for lines, width in batch_shapes())
    (cls,) = shape_ranges(OCR, "ocr-cls", feeds, text_batch=1).values()
    assert cls.holds((1, 3, 48, 192))
    assert cls.holds((BATCH, 3, 48, 192))
    assert not cls.holds((BATCH + 1, 3, 48, 192))
    assert not cls.holds((BATCH, 3, 48, 200))
    assert not cls.holds((3, 48, 192))


def test_of_a_model_that_the_kit_does_not_feed_the_golden_shapes_are_all_that_is_known() -> None:
    artifact = Artifact(kind="model", profile="p", models=(ModelEntry(name="m"),))
    feeds = {"x": np.zeros((2, 7), np.float32)}
    assert shape_ranges(artifact, "m", feeds, text_batch=1) == {"x": ShapeRange((2, 7), (2, 7), (2, 7))}


@pytest.mark.parametrize(
    ("shape", "taken"),
    [
        ((4, 3, 48, 320), True),
        ((40, 3, 48, 320), True),  # more rows, but no more values
        ((41, 3, 48, 320), False),
        ((1, 3, 48, 3200), True),
        ((1, 3, 48, 3201), False),
        ((1, 3, 49, 320), False),
    ],
)
def test_an_input_may_have_more_rows_but_no_longer_ones_and_no_more_values(shape: tuple[int, ...], taken: bool) -> None:
    ranges = {"x": ShapeRange((1, 3, 48, 96), (4, 3, 48, 320), (4, 3, 48, 3200))}
    feeds = {"x": np.zeros(shape, np.float32), "another": np.zeros((9, 9), np.float32)}
    if taken:
        check_size("ocr-rec", feeds, ranges)
        return
    with pytest.raises(RequestError, match="at most 4x3x48x3200"):
        check_size("ocr-rec", feeds, ranges)
