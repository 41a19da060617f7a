"""What a student is pulled towards: every loss against numpy's own arithmetic, and padding that counts nowhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compress.ernie.batches import pad
from compress.ernie.checkpoint import Checkpoint, ErnieConfig
from compress.ernie.distill import DistillSettings, Job, Pupil, student_config
from compress.ernie.model import build_model, model_weights
from compress.ernie.teacher import answer
from compress.ernie.views import Said, ViewedErnie, distiller
from compress.paddle_env import paddle
from tests.compress.ernie.small_ernie import narrow_config, random_checkpoint

CONFIG = narrow_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
MULTI = CONFIG.model_copy(update={"problem_type": "multi_label_classification"})
TOKENS = CONFIG.model_copy(update={"architectures": ("ErnieForTokenClassification",)})
ROWS = [[1, 7, 2], [1, 9, 8, 30, 2], [1, 5, 5, 6, 7, 8, 2], [1, 11, 2]]
NOTHING = DistillSettings(hidden_weight=0.0, label_weight=0.0)


def checkpoint(config: ErnieConfig) -> Checkpoint:
    return random_checkpoint(config, seed=5)


def pupil(config: ErnieConfig, scratch: Path, settings: DistillSettings, targets: list[np.ndarray]) -> Pupil:
    teacher, student = checkpoint(config), student_config(config, "1x16x2")
    answer(teacher, ROWS, [1], scratch, relations=True, progress=lambda share: None)
    paddle.seed(6)
    model = build_model(student)
    job = Job(student, model_weights(model), config, tuple(ROWS), tuple(targets), scratch, settings, 0, scratch / "s")
    return Pupil(job, model)


def logits(model: paddle.nn.Layer, row: list[int]) -> np.ndarray:
    ids = paddle.to_tensor([row])
    found: np.ndarray = model(ids, paddle.zeros_like(ids)).numpy()[0]
    return found.reshape(-1, 3)


def probabilities(values: np.ndarray, config: ErnieConfig) -> np.ndarray:
    """(R, labels) to choices whose last axis sums to one."""
    if config.multi_label:
        one = 1 / (1 + np.exp(-values))
        return np.stack([one, 1 - one], axis=-1).reshape(-1, 2)
    powers = np.exp(values)
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("config", [CONFIG, MULTI, TOKENS], ids=["single", "multi", "tokens"])
def test_logits_are_compared_by_soft_cross_entropy_at_a_temperature(config: ErnieConfig, tmp_path: Path) -> None:
    settings = DistillSettings(hidden_weight=0.0, label_weight=0.0, temperature=3.0)
    learner = pupil(config, tmp_path, settings, [])
    got = float(learner.loss(np.array([0, 2])))
    teacher = build_model(config, checkpoint(config).weights)
    student = learner.network.model
    said, wanted = (
        probabilities(np.concatenate([logits(model, ROWS[text]) for text in (0, 2)]) / 3.0, config)
        for model in (student, teacher)
    )
    assert got == pytest.approx(9 * -(wanted * np.log(said)).sum(axis=-1).mean(), rel=1e-3)


def test_true_labels_count_where_there_are_any(tmp_path: Path) -> None:
    truth = np.array([[0, 1, 0], [1, 0, 0]], np.float32)
    with_labels = DistillSettings(hidden_weight=0.0, label_weight=2.0)
    learner = pupil(CONFIG, tmp_path, with_labels, list(truth))
    texts = np.array([1, 3])  # of these, the first is labelled
    extra = float(learner.loss(texts)) - float(pupil(CONFIG, tmp_path, NOTHING, []).loss(texts))
    wanted = -np.log(probabilities(logits(learner.network.model, ROWS[1]), CONFIG)[0, 0])
    assert extra == pytest.approx(2 * wanted, rel=1e-3)


def test_a_token_without_a_label_teaches_nothing(tmp_path: Path) -> None:
    truth = np.full((3, 3), np.nan, np.float32)
    truth[1] = [0, 0, 1]
    with_labels = DistillSettings(hidden_weight=0.0, label_weight=2.0)
    learner = pupil(TOKENS, tmp_path, with_labels, [truth])
    texts = np.array([0, 2])
    extra = float(learner.loss(texts)) - float(pupil(TOKENS, tmp_path, NOTHING, []).loss(texts))
    wanted = -np.log(probabilities(logits(learner.network.model, ROWS[0])[1:2], TOKENS)[0, 2])
    assert extra == pytest.approx(2 * wanted, rel=1e-3)


def test_relations_are_the_heads_mean_and_padding_counts_nowhere(tmp_path: Path) -> None:
    settings = DistillSettings(hidden_weight=0.0, label_weight=0.0, relation_weight=0.7)
    learner = pupil(CONFIG, tmp_path, settings, [])
    texts = np.array([0, 2])
    extra = float(learner.loss(texts)) - float(pupil(CONFIG, tmp_path, NOTHING, []).loss(texts))
    teacher = build_model(CONFIG, checkpoint(CONFIG).weights)
    rows = []
    for text in texts:
        maps = (relations(model, ROWS[text]) for model in (teacher, learner.network.model))
        wanted, said = (each.reshape(-1, len(ROWS[text])) for each in maps)
        rows.append((wanted * np.log(wanted / said)).sum(axis=-1))
    assert extra == pytest.approx(0.7 * np.concatenate(rows).mean(), rel=1e-2)


def test_views_of_the_whole_text_are_the_first_vector_and_the_mean() -> None:
    model = build_model(CONFIG)
    ids = paddle.to_tensor(pad(ROWS, 0))
    _, view = ViewedErnie(model, [1], relations=False)(ids, paddle.zeros_like(ids))
    alone = paddle.to_tensor(ROWS[:1])
    states = model.ernie.states(alone, paddle.zeros_like(alone))[1].numpy()[0]
    np.testing.assert_allclose(view.numpy()[0], np.concatenate([states[0], states.mean(axis=0)]), atol=1e-4)


def test_a_view_that_paddleslim_would_miss_is_named_with_what_is_near() -> None:
    with pytest.raises(ValueError, match=r"Said has no layer 'sentences'; near it are \['sentence'"):
        distiller(Said(["sentence"]), Said(["sentences"]), {"sentences": 1.0}, temperature=1.0, align=None)


def relations(model: paddle.nn.Layer, row: list[int]) -> np.ndarray:
    """(2, T, T), by numpy from what goes into the last layer."""
    ids = paddle.to_tensor([row])
    ernie = model.ernie
    states = [ernie.embeddings(ids, paddle.zeros_like(ids)), *ernie.states(ids, paddle.zeros_like(ids))]
    attention, hidden = ernie.encoder.layers[-1].self_attn, states[-2].numpy()[0]
    query, key, value = (
        (hidden @ line.weight.numpy() + line.bias.numpy()).reshape(len(row), 2, 8).transpose(1, 0, 2)
        for line in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    found = []
    for left, right in ((query, key), (value, value)):
        powers = np.exp(left @ right.transpose(0, 2, 1) / np.sqrt(8))
        found.append((powers / powers.sum(axis=-1, keepdims=True)).mean(axis=0))
    return np.stack(found)
