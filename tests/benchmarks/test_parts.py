"""What the parts of ``bench compress`` rest on, without running one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from rich.console import Console

from benchmarks import compress_ocr, compress_text, compress_whole, networks
from benchmarks.compress_plot import draw
from benchmarks.compress_whole import covering
from benchmarks.harness import Report
from benchmarks.recipes import edgekit, memory_bytes, own_profile
from benchmarks.teacher import SETTINGS, network
from benchmarks.textsplit import TASKS
from compress.ernie.checkpoint import ErnieConfig
from compress.ernie.model import build_model
from compress.evaluate import label_tally
from compress.paddle_env import paddle
from devices.errors import EdgeKitError
from devices.profile import load_profile
from runtime.tokenizer import SPECIAL_TOKENS, ErnieTokenizer


def test_the_covering_part_keeps_what_the_whole_corpus_would_keep() -> None:
    tokenizer = ErnieTokenizer([*SPECIAL_TOKENS, *"借还款利率高低多少"])
    texts = ["借款", "还款", "借款", "借款", "利率", "借款利率", "高", "借还"]
    part = covering(texts, tokenizer, enough=2)

    def counts(chosen: list[str]) -> Counter[int]:
        return Counter(token for text in chosen for token in tokenizer.ids(text, 16))

    whole, kept = counts(texts), counts(part)
    assert all(kept[token] >= min(count, 2) for token, count in whole.items())
    assert len(part) < len(texts)


def test_the_own_profile_loads_and_lets_accuracy_go(tmp_path: Path) -> None:
    profile = load_profile(own_profile(tmp_path, "any-loss", max_drop=0.99))
    assert profile.name == "any-loss"
    assert profile.compress.max_drop == 0.99
    assert profile.compress.text_latency_ms is None
    assert profile.serve == load_profile("cpu-avx512-vnni").serve


def test_the_teachers_are_six_layers_of_384_with_the_labels_of_their_task() -> None:
    assert set(SETTINGS) == set(TASKS)
    config = network(("a", "b", "c"), 128)
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (6, 384, 40000)
    assert config.labels == ("a", "b", "c")
    assert config.max_position_embeddings == 128


def test_memory_is_summed_over_processes_and_the_dead_count_nothing() -> None:
    own = psutil.Process(os.getpid())
    waiting = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it has started
        other = psutil.Process(child.pid)
        assert memory_bytes([other]) > 1_000_000
        child.communicate(b"\n")
    assert memory_bytes([other]) == 0
    assert memory_bytes([own]) > 10_000_000
    assert memory_bytes([own, own, other]) == pytest.approx(2 * memory_bytes([own]), rel=0.2)


def test_a_command_that_fails_is_reported_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(EdgeKitError, match="no such file|No such file|does not exist|missing"):
        edgekit("predict", "text", "--model", tmp_path / "nowhere")


def test_without_the_public_data_the_vocabulary_is_the_kit_s_own_and_as_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "SHARED", tmp_path)
    vocab = networks.vocabulary()
    assert vocab.count(b"\n") == networks.VOCAB_ROWS
    assert len(ErnieTokenizer(vocab).ids("借款", 8)) == 4


def test_without_the_public_data_the_corpus_is_invented_statements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress_whole, "SHARED", tmp_path)
    monkeypatch.setattr(compress_whole, "STATEMENTS", 20)
    texts, origin = compress_whole.corpus(tmp_path)
    assert len(texts) == len(set(texts)) <= 20
    assert "invented" in origin


def test_without_the_public_data_det_is_measured_on_the_kit_s_own_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress_ocr, "SHARED", tmp_path)
    found = compress_ocr.truth(tmp_path)
    assert found.file.name == "Label.txt"
    assert sum(len(page.polygons) for page in found.pages) > 100
    assert "invented" in found.origin


def test_without_the_public_data_the_rows_about_it_are_skipped_and_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress_text, "SHARED", tmp_path)
    report = Report("try", Console(file=io.StringIO()), tmp_path)
    compress_text.measure_text(report, tmp_path, lambda stage, share: None)
    assert [row.verdict for row in report.rows] == ["skipped"] * len(TASKS)
    assert all("not beside this checkout" in row.note for row in report.rows)


def test_a_drop_is_shown_in_points_with_an_interval_that_holds_it() -> None:
    truth = np.array([0, 1] * 100)
    worse = truth.copy()
    worse[:10] = 0
    figure = compress_text._points(label_tally(truth, truth), label_tally(worse, truth))
    assert figure.value == pytest.approx(2.5, abs=0.1)
    assert figure.low < figure.value < figure.high


def test_the_picture_has_a_panel_for_every_network_that_was_timed(tmp_path: Path) -> None:
    report = Report("try", Console(file=io.StringIO()), tmp_path)
    draw(report, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    report.details["A ms"] = {"FP32": [4.0, 5.0], "INT8": [1.0, 2.0]}
    draw(report, tmp_path / "one.png")
    report.details["B ms"] = report.details["A ms"]
    draw(report, tmp_path / "two.png")
    one, two = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("one", "two"))
    assert two.shape[1] == 2 * one.shape[1]


def test_a_network_that_answers_its_own_labels_divides_the_texts_in_half() -> None:
    vocab = "".join(f"{token}\n" for token in [*SPECIAL_TOKENS, *"借还款利率高低多少"]).encode()
    config = ErnieConfig(
        vocab_size=14, num_hidden_layers=1, hidden_size=24, intermediate_size=24, max_position_embeddings=128
    )
    texts = ["借款", "还款多少", "利率", "利率高", "低", "还", "款", "多少"]
    checkpoint, answers = networks.divided_checkpoint(config, vocab, texts)
    assert Counter(answers) == {"LABEL_0": 4, "LABEL_1": 4}
    model = build_model(config, checkpoint.weights)
    for text, answer in zip(texts, answers, strict=True):
        ids = paddle.to_tensor(checkpoint.tokenizer().encode([text], 128).input_ids)
        assert config.labels[int(model(ids, paddle.zeros_like(ids)).numpy().argmax())] == answer
