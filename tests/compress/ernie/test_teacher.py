"""A teacher's answers on disk: the same as from the network itself, kept over an interruption, never half there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compress.ernie.teacher
from compress.ernie.checkpoint import Checkpoint
from compress.ernie.model import build_model
from compress.ernie.teacher import Answers, answer
from compress.ernie.views import ViewedErnie
from compress.paddle_env import paddle
from devices.errors import CompressionError
from tests.compress.ernie.small_ernie import narrow_config, random_checkpoint

CONFIG = narrow_config(architectures=("ErnieForTokenClassification",))
ROWS = [[1, *range(5, 5 + 1 + text % 9), 2] for text in range(100)]


def checkpoint() -> Checkpoint:
    return random_checkpoint(CONFIG, seed=5)


def ask(scratch: Path, progress: Callable[[float], None] = lambda share: None, **changed: Any) -> Answers:
    options = {"layers": [0, 1], "relations": True} | changed
    return answer(checkpoint(), ROWS, scratch=scratch, progress=progress, **options)


def test_each_texts_answers_are_its_own_without_padding(tmp_path: Path) -> None:
    said = ask(tmp_path)
    network = ViewedErnie(build_model(CONFIG, checkpoint().weights), [0, 1], relations=True)
    for text in (3, 0, 99):
        ids = paddle.to_tensor([ROWS[text]])
        wanted = dict(zip(network.outputs, network(ids, paddle.zeros_like(ids)), strict=True))
        for view, tensor in wanted.items():
            (got,) = said.read(view, [text])
            np.testing.assert_allclose(got, tensor.numpy()[0], atol=5e-3)
    assert said.path("relations").stat().st_size == sum(2 * 2 * len(row) ** 2 for row in ROWS)


def test_an_interrupted_teacher_goes_on_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress.ernie.teacher, "_SAVE_EVERY_S", 0.0)

    def interrupt(share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(tmp_path / "broken", interrupt)
    assert not list((tmp_path / "broken").glob("*.bin"))
    shares: list[float] = []
    ask(tmp_path / "broken", shares.append)
    assert shares[0] > 0.5
    ask(tmp_path / "whole")
    for path in (tmp_path / "whole").glob("*.bin"):
        assert path.read_bytes() == (tmp_path / "broken" / path.name).read_bytes()


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    ask(tmp_path, layers=[0], relations=False)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.bin")}
    assert sorted(before) == ["layer0.bin", "logits.bin"]
    ask(tmp_path)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before
    assert (tmp_path / "relations.bin").is_file()


def test_notes_of_another_question_are_not_gone_on_from(tmp_path: Path) -> None:
    for name in ("logits", "layer0"):
        (tmp_path / f"{name}.part").write_bytes(b"")
    (tmp_path / "progress.json").write_text(json.dumps({"views": ["logits"], "texts": 64}))
    said = ask(tmp_path, layers=[0], relations=False)
    assert np.abs(said.read("logits", [0])[0]).min() > 0


def test_a_full_disk_is_said_with_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, start: int, size: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CompressionError, match=r"where they take \d+ MB: No space left"):
        ask(tmp_path)
    assert not list(tmp_path.glob("*.bin"))


def test_a_teacher_that_says_no_numbers_is_refused(tmp_path: Path) -> None:
    broken = checkpoint()
    broken.weights["ernie.encoder.layers.1.norm2.weight"][:] = 1e38
    broken.weights["classifier.weight"][:] = 1e38
    with pytest.raises(CompressionError, match="are no numbers"):
        answer(broken, ROWS, [], tmp_path, relations=False, progress=lambda share: None)
