"""The network against the same arithmetic in numpy, written from the papers."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from compress.ernie.checkpoint import ErnieConfig, Weights, weight_shapes
from compress.ernie.model import build_model, model_weights
from compress.paddle_env import paddle

CONFIG = ErnieConfig(
    vocab_size=30,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=16,
    type_vocab_size=2,
    layer_norm_eps=1e-3,
    id2label={0: "a", 1: "b"},
)
ERF = np.vectorize(math.erf)
Array = NDArray[np.float64]


def expected(config: ErnieConfig, weights: Weights, ids: NDArray[np.int64], types: NDArray[np.int64]) -> Array:
    def linear(x: Array, name: str) -> Array:
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config.layer_norm_eps)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def table(name: str) -> Array:
        return weights[f"ernie.embeddings.{name}_embeddings.weight"].astype(np.float64)

    def heads(x: Array) -> Array:
        return x.reshape(*x.shape[:2], config.num_attention_heads, -1).transpose(0, 2, 1, 3)

    x = table("word")[ids] + table("position")[np.arange(ids.shape[1])] + table("token_type")[types]
    if config.use_task_id:
        x = x + table("task_type")[config.task_id]
    x = norm(x, "ernie.embeddings.layer_norm")
    for layer in range(config.num_hidden_layers):
        name = f"ernie.encoder.layers.{layer}"
        q, k, v = (heads(linear(x, f"{name}.self_attn.{each}_proj")) for each in "qkv")
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
        scores = np.where((ids == config.pad_token_id)[:, None, None, :], -np.inf, scores)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(*ids.shape, -1)
        x = norm(x + linear(mixed, f"{name}.self_attn.out_proj"), f"{name}.norm1")
        inner = linear(x, f"{name}.linear1")
        inner = np.maximum(inner, 0) if config.hidden_act == "relu" else inner * (1 + ERF(inner / np.sqrt(2))) / 2
        x = norm(x + linear(inner, f"{name}.linear2"), f"{name}.norm2")
    if config.head == "sequence":
        x = np.tanh(linear(x[:, 0], "ernie.pooler.dense"))
    return linear(x, "classifier")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"hidden_act": "relu", "use_task_id": True, "task_id": 2},
        {"num_attention_heads": 2, "attention_head_size": 4, "intermediate_size": 7},  # pruned in width
        {"pad_token_id": 9, "architectures": ("ErnieForTokenClassification",)},
    ],
)
def test_the_network_computes_what_the_papers_say(change: dict[str, object]) -> None:
    config = CONFIG.model_copy(update=change)
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.4, shape).astype(np.float32) for name, shape in weight_shapes(config).items()}
    ids = random.integers(10, 30, (3, 8))
    ids[1, 5:] = config.pad_token_id
    types = random.integers(0, 2, ids.shape)
    got = build_model(config, weights)(paddle.to_tensor(ids), paddle.to_tensor(types)).numpy()
    np.testing.assert_allclose(got, expected(config, weights, ids, types), atol=2e-5)


def test_paddleslims_patch_of_paddles_attention_does_not_reach_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(CONFIG)
    ids = paddle.to_tensor(np.array([[1, 5, 6, 0, 0], [1, 7, 8, 9, 2]]))
    before = model(ids, paddle.zeros_like(ids)).numpy()
    nn = paddle.nn
    for owner, name in ((nn.MultiHeadAttention, "_prepare_qkv"), (nn.TransformerEncoderLayer, "forward")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back after the test
    for owner in (nn.MultiHeadAttention, nn.TransformerEncoder):
        monkeypatch.setattr(owner, "forward", owner.forward)
    plain = nn.MultiHeadAttention.forward
    importlib.import_module("paddleslim.nas.ofa.utils.nlp_utils")
    assert nn.MultiHeadAttention.forward is not plain
    np.testing.assert_array_equal(model(ids, paddle.zeros_like(ids)).numpy(), before)


def test_weights_go_in_and_come_out_by_paddlenlps_names() -> None:
    model = build_model(CONFIG)
    weights = model_weights(model)
    assert {name: array.shape for name, array in weights.items()} == weight_shapes(CONFIG)
    with pytest.raises(ValueError, match="missing"):
        build_model(CONFIG, {name: array for name, array in weights.items() if name != "classifier.bias"})
