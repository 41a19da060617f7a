"""Importance against removal, reordering against the whole network, OFA's sub-network against the narrow one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from compress.ernie.checkpoint import Checkpoint, ErnieConfig, read_checkpoint, weight_shapes, write_checkpoint
from compress.ernie.model import build_model
from compress.ernie.width import (
    Importance,
    WidthSettings,
    elastic,
    leading,
    measure_importance,
    narrow_config,
    prune_width,
    reordered,
)
from compress.paddle_env import paddle

CONFIG = ErnieConfig(
    vocab_size=30,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=20,
    max_position_embeddings=16,
    type_vocab_size=2,
    id2label={0: "a", 1: "b", 2: "c"},
)
VOCAB = "".join(f"{token}\n" for token in ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *map(str, range(25)))).encode()
RANDOM = np.random.default_rng(0)
ROWS = [[1, *map(int, RANDOM.integers(5, 30, length)), 2] for length in RANDOM.integers(2, 12, 24)]
TEXTS, TOKENS = "ErnieForSequenceClassification", "ErnieForTokenClassification"
IDS = np.array([[1, 5, 6, 7, 2, 0], [1, 9, 8, 12, 6, 2]])


def checkpoint(head: str = TEXTS, problem_type: str | None = None) -> Checkpoint:
    config = CONFIG.model_copy(update={"architectures": (head,), "problem_type": problem_type})
    random = np.random.default_rng(1)
    weights = {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in weight_shapes(config).items()}
    return Checkpoint(config, weights, VOCAB, True)


def targets(head: str = TEXTS, count: int = 16) -> list[NDArray[np.float32]]:
    """The label goes by the first word, of a text or of each token."""
    labels = np.eye(3, dtype=np.float32)
    if head == TEXTS:
        return [labels[row[1] % 3] for row in ROWS[:count]]
    return [np.stack([np.full(3, np.nan), *(labels[x % 3] for x in row[1:-1]), np.full(3, np.nan)]) for row in ROWS][
        :count
    ]


def logits(of: Checkpoint, ids: NDArray[np.int64] = IDS) -> NDArray[np.float32]:
    found: NDArray[np.float32] = build_model(of.config, of.weights)(
        paddle.to_tensor(ids), paddle.zeros(ids.shape, "int64")
    ).numpy()
    return found


@pytest.mark.parametrize("head", [TEXTS, TOKENS])
def test_importance_is_how_the_loss_changes_when_a_head_or_neuron_fades(head: str) -> None:
    whole = checkpoint(head)
    step, truth = 1e-2, targets(head, 1)

    def loss(change: dict[str, NDArray[np.float32]]) -> float:
        scores = logits(replace(whole, weights=whole.weights | change), np.array(ROWS[:1])).astype(np.float64)
        chances = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        return -float(np.nanmean((chances.reshape(-1, 3) * truth[0].reshape(-1, 3)).sum(-1)))

    def slope(*parts: tuple[str, Any]) -> float:
        """Of the loss, when these parts of weights are all multiplied by a factor near 1."""
        losses = []
        for factor in (1 + step, 1 - step):
            change = {name: whole.weights[name].copy() for name, _ in parts}
            for name, where in parts:
                change[name][where] *= factor
            losses.append(loss(change))
        return abs(losses[0] - losses[1]) / (2 * step)

    importance = measure_importance(whole, ROWS[:1], truth, seed=0)
    for layer in range(2):
        prefix = f"ernie.encoder.layers.{layer}."
        for head_index in range(4):
            rows = slice(head_index * 6, head_index * 6 + 6)
            expected = slope((f"{prefix}self_attn.out_proj.weight", rows))
            assert importance.heads[layer, head_index] == pytest.approx(expected, abs=1e-4, rel=0.02)
        for neuron in range(6):
            expected = slope((f"{prefix}linear2.weight", neuron))
            expected += slope((f"{prefix}linear1.weight", np.s_[:, neuron]), (f"{prefix}linear1.bias", neuron))
            assert importance.neurons[layer, neuron] == pytest.approx(expected, abs=1e-4, rel=0.02)


def test_importance_adds_up_what_each_batch_says_and_not_what_batches_cancel() -> None:
    whole = checkpoint()
    twice = measure_importance(whole, ROWS[:1] * 16, targets(count=1) * 16, seed=0)  # two equal batches
    once = measure_importance(whole, ROWS[:1] * 8, targets(count=1) * 8, seed=0)
    np.testing.assert_allclose(twice.heads, 2 * once.heads, rtol=1e-4)
    np.testing.assert_allclose(twice.neurons, 2 * once.neurons, rtol=1e-4)


def test_without_labels_the_networks_own_opinion_counts() -> None:
    whole = checkpoint()
    own = logits(whole, np.array(ROWS[:1])).argmax()
    expected = measure_importance(whole, ROWS[:1], [np.eye(3, dtype=np.float32)[own]], seed=0)
    np.testing.assert_array_equal(measure_importance(whole, ROWS[:1], [], seed=0).heads, expected.heads)
    whole = checkpoint(TOKENS)  # where padding has no say
    rows = [ROWS[0], ROWS[0][:1]]
    own = [logits(whole, np.array([row])).argmax(-1)[0] for row in rows]
    expected = measure_importance(whole, rows, [np.eye(3, dtype=np.float32)[each] for each in own], seed=0)
    np.testing.assert_allclose(measure_importance(whole, rows, [], seed=0).heads, expected.heads, rtol=1e-4)


def test_texts_without_a_labelled_token_say_nothing() -> None:
    nothing = measure_importance(checkpoint(TOKENS), [[1, 2]], [np.full((2, 3), np.nan, np.float32)], seed=0)
    assert not nothing.heads.any()


def some_importance() -> Importance:
    random = np.random.default_rng(4)
    return Importance(random.random((2, 4)), random.random((2, 20)))


def test_reordering_puts_the_most_important_first_and_changes_no_answer() -> None:
    whole, importance = checkpoint(), some_importance()
    moved = replace(whole, weights=reordered(whole, importance))
    np.testing.assert_allclose(logits(moved), logits(whole), atol=1e-5)
    name = "ernie.encoder.layers.1.linear1.bias"
    best = importance.neurons[1].argmax()
    assert moved.weights[name][0] == whole.weights[name][best] != whole.weights[name][0]
    name, best = "ernie.encoder.layers.0.self_attn.q_proj.weight", importance.heads[0].argmax()
    np.testing.assert_array_equal(moved.weights[name][:, :6], whole.weights[name][:, best * 6 : best * 6 + 6])


@pytest.mark.parametrize("head", [TEXTS, TOKENS])
def test_the_narrow_network_computes_what_ofa_trained(head: str) -> None:
    whole = checkpoint(head)
    narrow = narrow_config(whole.config, 0.5)
    model = build_model(whole.config, whole.weights)
    network = elastic(model, narrow, build_model(whole.config, whole.weights), 0.5)
    network.model.eval()
    ids = paddle.to_tensor(IDS)
    trained, taught = network(ids, paddle.zeros_like(ids))
    real = np.ones((2, 1)) if head == TEXTS else (IDS != 0)[..., None]
    got = logits(replace(whole, config=narrow, weights=leading(model, narrow)))
    np.testing.assert_allclose(got * real, trained.numpy(), atol=1e-5)
    np.testing.assert_allclose(logits(whole) * real, taught.numpy(), atol=1e-5)
    assert np.abs(trained.numpy() - taught.numpy()).max() > 0.01
    assert float(network.calc_distill_loss()) > 0
    network.calc_distill_loss().backward()
    gradient = model.ernie.encoder.layers[0].linear1.fn.weight.grad.numpy()
    assert np.abs(gradient[:, :10]).min() > 0
    assert np.abs(gradient[:, 10:]).max() == 0


def test_a_share_of_heads_and_neurons_is_kept_and_at_least_one() -> None:
    narrow = narrow_config(CONFIG, 0.7)
    assert (narrow.num_attention_heads, narrow.head_size, narrow.intermediate_size) == (3, 6, 14)
    assert (narrow_config(CONFIG, 0.01).num_attention_heads, narrow_config(CONFIG, 0.01).intermediate_size) == (1, 1)
    again = narrow_config(narrow, 0.7)
    assert (again.num_attention_heads, again.head_size) == (2, 6)
    for share in (0, 1, 1.5, -1):
        with pytest.raises(ValueError, match="share"):
            narrow_config(CONFIG, share)


@pytest.mark.parametrize(("head", "problem_type"), [(TEXTS, "multi_label_classification"), (TOKENS, None)])
def test_the_narrow_network_learns_to_answer_as_the_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, problem_type: str | None
) -> None:
    whole = checkpoint(head, problem_type)
    settings = WidthSettings(epochs=16, batch=8, peak=3e-3)
    stages: list[tuple[str, float]] = []

    def run(scratch: Path) -> Checkpoint:
        return prune_width(
            whole,
            ROWS,
            targets(head),
            share=0.5,
            seed=3,
            scratch=scratch,
            settings=settings,
            progress=lambda stage, done: stages.append((stage, done)),
        )

    narrow = run(tmp_path / "scratch")
    untrained = replace(whole, config=narrow.config, weights={})
    moved = reordered(whole, measure_importance(whole, ROWS, targets(head), seed=3))
    untrained.weights.update(
        {name: moved[name][tuple(map(slice, shape))] for name, shape in weight_shapes(narrow.config).items()}
    )
    ids = np.array([row[:4] for row in ROWS])
    before, after = (np.abs(logits(each, ids) - logits(whole, ids)).mean() for each in (untrained, narrow))
    assert after < 0.7 * before
    assert {stage for stage, _ in stages} == {"importance", "narrow network"}
    assert stages[-1] == ("narrow network", 1.0)
    write_checkpoint(tmp_path / "written", narrow)
    read = read_checkpoint(tmp_path / "written")
    assert read.config == narrow.config
    word = "ernie.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(read.weights[word], whole.weights[word])
    if head == TEXTS:  # a finished training is not done again
        monkeypatch.setattr("compress.ernie.width.measure_importance", None)
        again = run(tmp_path / "scratch")
        assert all(again.weights[name].tobytes() == array.tobytes() for name, array in narrow.weights.items())
