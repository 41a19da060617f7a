from __future__ import annotations

import numpy as np
import pytest

from compress.ernie.task import calibration_feeds, fit_temperature
from runtime.artifact import TextSettings


def test_overconfident_logits_get_a_temperature_above_one() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 3))
    truth = (random.random((4000, 3)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    settings = TextSettings(labels=("a", "b", "c"), multi_label=True)
    assert fit_temperature(logits, truth, settings) == pytest.approx(1, rel=0.07)
    assert fit_temperature(3 * logits, truth, settings) == pytest.approx(3, rel=0.07)


def test_calibration_sees_short_and_long_texts() -> None:
    rows = [[1, *[7] * length, 2] for length in range(1, 101)]
    feeds = calibration_feeds(rows, 0)
    widths = [feed["input_ids"].shape[1] for feed in feeds]
    assert widths == sorted(widths)
    assert widths[0] < 25
    assert widths[-1] == 102
    assert all(feed["input_ids"].dtype == np.int64 for feed in feeds)
    assert all(feed["input_ids"].size <= 128 for feed in feeds)
    assert len(calibration_feeds(rows[:1], 0)) == 1


def test_a_text_longer_than_a_batch_may_be_is_a_batch_of_its_own() -> None:
    feeds = calibration_feeds([[1, *[7] * 1000, 2]] * 40, 0)
    assert {feed["input_ids"].shape for feed in feeds} == {(1, 1002)}
