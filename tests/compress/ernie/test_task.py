from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from compress.ernie.checkpoint import Checkpoint, ErnieConfig
from compress.ernie.task import TextTask, calibration_feeds, fit_temperature
from compress.textdata import Example, TextData
from runtime.artifact import TextSettings
from runtime.tokenizer import ErnieTokenizer


def test_overconfident_logits_get_a_temperature_above_one() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 3))
    truth = (random.random((4000, 3)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    settings = TextSettings(labels=("a", "b", "c"), multi_label=True)
    assert fit_temperature(logits, truth, settings) == pytest.approx(1, rel=0.07)
    assert fit_temperature(3 * logits, truth, settings) == pytest.approx(3, rel=0.07)


def task(tmp_path: Path, problem: str) -> TextTask:
    """Texts of 1 to 100 characters, every second one of label b."""
    config = ErnieConfig(
        **{"vocab_size": 7, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
        **{"intermediate_size": 8, "max_position_embeddings": 96, "type_vocab_size": 2},
        **{"id2label": {0: "a", 1: "b"}, "problem_type": problem},
    )
    teacher = Checkpoint(config, {}, "[PAD]\n[CLS]\n[SEP]\n[MASK]\n[UNK]\n贷\n款\n".encode(), True)
    examples = tuple(Example("贷" * (each + 1), ("ab"[each % 2],), each + 1) for each in range(100))
    data = TextData(tmp_path / "texts.tsv", examples)
    return TextTask(teacher, data, data, [], {})


def test_windows_are_as_long_as_all_but_one_text_of_a_hundred(tmp_path: Path) -> None:
    tokenizer = ErnieTokenizer(["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "贷", "款"])
    many = task(tmp_path, "multi_label_classification")
    assert many.window(tokenizer) is None  # as long as the model reads at all
    many.corpus = many.corpus[:60] + ["款"] * 40
    assert many.window(tokenizer) == 61
    many.corpus = ["款"] * 40
    assert many.window(tokenizer) == 16
    assert task(tmp_path, "single_label_classification").window(tokenizer) is None


def test_the_report_says_what_the_temperature_does_to_texts_it_was_not_fitted_to(tmp_path: Path) -> None:
    settled = np.where(np.arange(100) % 2, -1.0, 1.0)
    wrong = np.arange(100) % 4 == 0
    lead = np.where(wrong, -settled, settled) * 3  # 0.95, and wrong a quarter of the time
    said = task(tmp_path, "multi_label_classification").calibration(list(np.stack([lead, -lead], axis=1)))
    assert said is not None
    before, after = (float(each) for each in re.findall(r"0\.\d{3}", said)[:2])
    assert before == pytest.approx(0.25 - 0.047, abs=0.002)
    assert after < 0.02
    assert task(tmp_path, "multi_label_classification").calibration([np.zeros(2)] * 4) is None


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
