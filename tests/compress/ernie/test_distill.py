"""Distillation on random networks: where a student starts, and that it comes closer to its teacher."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compress.ernie.distill
from compress.ernie.batches import learning_rate, length_batches, pad
from compress.ernie.checkpoint import Checkpoint, ErnieConfig, Weights
from compress.ernie.distill import (
    DistillSettings,
    chosen_layers,
    closest_start,
    default_settings,
    distil,
    initial_weights,
    student_config,
)
from compress.ernie.model import build_model
from compress.ernie.training import train
from compress.paddle_env import paddle
from devices.errors import CompressionError
from tests.compress.ernie.small_ernie import random_checkpoint, small_config

TEACHER = small_config(
    vocab_size=60,
    num_hidden_layers=4,
    intermediate_size=40,
    initializer_range=0.3,
    problem_type="multi_label_classification",
)
BIG = TEACHER.model_copy(update={"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12})


@pytest.mark.parametrize(
    ("teacher", "size", "expected"),
    [
        (BIG, "nano", (4, 312, 12, 1248)),
        (BIG, "mini", (6, 384, 12, 1536)),
        (BIG, "3x768x12", (3, 768, 12, 40)),
        (TEACHER, "nano", (2, 24, 4, 40)),
        (TEACHER, "4x24x4", (2, 24, 4, 40)),
        (TEACHER, "1x8x2", (1, 8, 2, 32)),
    ],
)
def test_a_student_has_its_size_but_is_always_smaller(
    teacher: ErnieConfig, size: str, expected: tuple[int, ...]
) -> None:
    got = student_config(teacher, size)
    assert (got.num_hidden_layers, got.hidden_size, got.num_attention_heads, got.intermediate_size) == expected
    assert got.labels == teacher.labels


@pytest.mark.parametrize("size", ["pico", "2x24", "0x24x4", "2x24x-4", "2x24x5"])
def test_a_size_that_cannot_be_is_refused(size: str) -> None:
    with pytest.raises(CompressionError, match=size):
        student_config(BIG, size)


def test_a_narrowed_teacher_passes_its_head_size_on_to_its_like_alone() -> None:
    narrowed = BIG.model_copy(update={"num_attention_heads": 9, "attention_head_size": 64})
    half = student_config(narrowed, "12x768x12")
    assert (half.num_attention_heads, half.attention_head_size) == (9, 64)
    assert student_config(narrowed, "nano").attention_head_size is None


def test_a_student_that_starts_from_the_teachers_layers_is_trained_gently() -> None:
    same, other = (default_settings(BIG, student_config(BIG, size)) for size in ("4x768x12", "nano"))
    assert (same.epochs, other.epochs) == (1, 3)
    assert same.peak < other.peak


def test_layers_are_spread_and_the_last_is_always_taken() -> None:
    assert chosen_layers(BIG, student_config(BIG, "nano")) == [2, 5, 8, 11]
    assert chosen_layers(BIG, student_config(BIG, "mini")) == [1, 3, 5, 7, 9, 11]
    assert chosen_layers(TEACHER, student_config(TEACHER, "1x24x4")) == [3]


def test_a_student_of_the_teachers_width_starts_from_its_layers() -> None:
    teacher = checkpoint().weights
    start = initial_weights(teacher, TEACHER, student_config(TEACHER, "2x24x4"), [1, 3], seed=0)
    for name, origin in (("encoder.layers.0.linear1", "encoder.layers.1.linear1"), ("pooler.dense",) * 2):
        np.testing.assert_array_equal(start[f"ernie.{name}.weight"], teacher[f"ernie.{origin}.weight"])
    np.testing.assert_array_equal(start["classifier.weight"], teacher["classifier.weight"])


def test_a_narrower_student_keeps_which_words_are_alike() -> None:
    teacher = checkpoint().weights
    name = "ernie.embeddings.word_embeddings.weight"
    teacher[name][7] = teacher[name][8]
    start = initial_weights(teacher, TEACHER, student_config(TEACHER, "2x12x4"), [1, 3], seed=0)
    np.testing.assert_allclose(start[name][7], start[name][8], atol=1e-6)
    assert np.linalg.norm(start[name]) > 0.75 * np.linalg.norm(teacher[name])
    assert start["classifier.weight"].shape == (12, 3)


@pytest.mark.parametrize(("idle", "kept"), [((2, 3), "encoder.layers.1"), ((0, 2), "encoder.layers.3")])
def test_a_student_starts_from_the_layers_that_do_the_work(idle: tuple[int, int], kept: str) -> None:
    teacher = checkpoint().weights
    for layer in idle:  # a layer that adds nothing to what it is given
        for part in ("self_attn.out_proj", "linear2"):
            teacher[f"ernie.encoder.layers.{layer}.{part}.weight"] *= 0
    rows = [[1, *range(5, 5 + length), 2] for length in range(3, 20)]
    start = closest_start(teacher, TEACHER, student_config(TEACHER, "2x24x4"), rows, seed=0)
    name = "linear1.weight"
    np.testing.assert_array_equal(start[f"ernie.encoder.layers.1.{name}"], teacher[f"ernie.{kept}.{name}"])


@pytest.mark.parametrize(
    ("size", "head", "problem", "changed"),
    [
        ("2x24x4", "Sequence", "multi_label_classification", {}),
        ("1x12x2", "Token", None, {"relation_weight": 1.0}),
    ],
)
def test_a_student_comes_closer_to_its_teacher(
    size: str, head: str, problem: str | None, changed: dict[str, float], tmp_path: Path
) -> None:
    config = TEACHER.model_copy(update={"architectures": (f"ErnieFor{head}Classification",), "problem_type": problem})
    teacher, student = checkpoint(config), student_config(config, size)
    rows, targets = texts(160), labels(20)
    seen: list[tuple[str, float]] = []
    settings = DistillSettings(epochs=4, peak=3e-3, label_weight=0.01, **changed)
    got = distil(
        teacher,
        student,
        rows,
        targets
        if head == "Sequence"
        else [np.tile(row, (len(ids), 1)) for row, ids in zip(targets, rows, strict=False)],
        seed=0,
        scratch=tmp_path,
        settings=settings,
        progress=lambda *each: seen.append(each),
    )
    wanted = answers(config, teacher.weights, rows)
    start = closest_start(teacher.weights, config, student, rows, seed=0)
    before, after = (np.abs(answers(student, each, rows) - wanted).mean() for each in (start, got.weights))
    assert after < 0.7 * before
    assert (got.config, got.vocab) == (student, teacher.vocab)
    assert seen[-1] == ("student", 1.0)
    assert ("teacher", 1.0) in seen


class Alone:
    """The only process there is."""

    rank, size = 0, 1

    def __init__(self, progress: Callable[[float], None]) -> None:
        self.report = progress

    def average(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        return list(arrays)

    def read(self, path: Path) -> bytes | None:
        return path.read_bytes() if path.is_file() else None

    def bring(self, path: Path) -> None:
        assert path.is_file()


def test_an_interrupted_distillation_ends_in_the_same_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(work: Any, job: Any, *, shared_floats: int, progress: Any) -> Any:
        return work(Alone(progress), job)

    def interrupt(stage: str, share: float) -> None:
        if stage == "student" and share > 0.5:
            raise KeyboardInterrupt

    monkeypatch.setattr(compress.ernie.distill, "run_parallel", here)
    monkeypatch.setattr(compress.ernie.distill, "train", partial(train, save_every_s=0.0))
    network, rows = checkpoint(TEACHER), texts(48)
    settings = DistillSettings(epochs=3, peak=3e-3, batch=16, relation_weight=1.0)
    options = {"seed": 4, "settings": settings, "answers": tmp_path / "answers"}
    arguments = (network, student_config(TEACHER, "1x12x2"), rows, labels(10))
    whole = distil(*arguments, scratch=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        distil(*arguments, scratch=tmp_path / "broken", progress=interrupt, **options)
    shares: list[float] = []
    again = distil(*arguments, scratch=tmp_path / "broken", progress=lambda *each: shares.append(each[1]), **options)
    assert min(shares) > 0.5
    for name, array in whole.weights.items():
        np.testing.assert_array_equal(again.weights[name], array)


def test_batches_hold_every_text_once_and_like_lengths_together() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 100, 500).tolist()
    batches = list(length_batches(lengths, 8, random))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    spread = np.mean([np.ptp([lengths[index] for index in batch]) for batch in batches])
    assert spread < 15
    assert pad([[1, 2], [1, 5, 2]], 9).tolist() == [[1, 2, 9], [1, 5, 2]]


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = [learning_rate(step, 100, 1.0) for step in range(101)]
    assert max(rates) == pytest.approx(1.0)
    assert rates[0] == pytest.approx(0.1)
    assert rates[100] == 0
    assert rates[55] == pytest.approx(0.5)


def checkpoint(config: ErnieConfig = TEACHER) -> Checkpoint:
    return random_checkpoint(config, seed=3)


def texts(count: int) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [[1, *random.integers(5, 60, random.integers(3, 20)).tolist(), 2] for _ in range(count)]


def labels(count: int) -> np.ndarray:
    choices: np.ndarray = np.eye(3, dtype=np.float32)[np.random.default_rng(1).integers(0, 3, count)]
    return choices


def answers(config: ErnieConfig, weights: Weights, rows: list[list[int]]) -> np.ndarray:
    model = build_model(config, weights)
    ids = paddle.to_tensor(pad(rows, 0))
    return model(ids, paddle.zeros_like(ids)).numpy()
