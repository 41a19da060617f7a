"""Quantization-aware training: it recovers what plain rounding loses, and its limits reach the right products."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.ernie.batches import pad
from compress.ernie.checkpoint import Checkpoint
from compress.ernie.distill import DistillSettings
from compress.ernie.export import export_paddle
from compress.ernie.model import build_model
from compress.ernie.qat import limits_of, thresholds, train_quantized, with_roundings
from compress.paddle_env import paddle
from tests.compress.ernie.small_ernie import random_checkpoint, small_config

CONFIG = small_config(
    vocab_size=60,
    intermediate_size=40,
    initializer_range=0.3,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
BITS = 3  # so few that rounding hurts even a network this small


def checkpoint() -> Checkpoint:
    return replace(random_checkpoint(CONFIG, seed=3), vocab=b"vocab")


def texts(count: int) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [[1, *random.integers(5, 60, random.integers(3, 12)).tolist(), 2] for _ in range(count)]


def test_training_with_roundings_recovers_what_plain_rounding_loses(tmp_path: Path) -> None:
    network, rows = checkpoint(), texts(256)
    settings = DistillSettings(epochs=6, peak=3e-3, hidden_weight=0.0, temperature=1.0)
    trained, limits = train_quantized(
        network, network, rows, [], seed=0, scratch=tmp_path, settings=settings, weight_bits=BITS
    )
    new = texts(320)[256:]
    wanted = answers(build_model(CONFIG, network.weights), new)
    plain, aware = (np.abs(answers(rounded(each, rows), new) - wanted).mean() for each in (network, trained))
    assert aware < 0.7 * plain
    assert (trained.config, trained.vocab) == (CONFIG, b"vocab")
    assert set(limits) == {name.removesuffix(".weight") for name in network.weights if is_dense(name)}
    seen = limits_of(rounded(trained, rows))
    for name, both in limits.items():
        np.testing.assert_allclose(both, seen[name], rtol=0.3)


@pytest.mark.parametrize("head", ["Sequence", "Token"])
def test_limits_reach_the_products_that_they_were_learned_for(head: str, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"architectures": (f"ErnieFor{head}Classification",)})
    model = build_model(config)
    names = {
        parameter.name: name.removesuffix(".weight") for name, parameter in model.named_parameters() if is_dense(name)
    }
    export_paddle(model, tmp_path)
    limits = {name: (index + 1.0, 100.0 + index) for index, name in enumerate(names.values())}
    found = thresholds(tmp_path, config, limits)
    program = paddle.base.core.ProgramDesc((tmp_path / "inference.pdmodel").read_bytes())
    block = program.block(0)
    products = [block.op(index) for index in range(block.op_size()) if block.op(index).type() == "matmul_v2"]
    inner = []
    for each in products:
        weight, limit = each.input("Y")[0], found[each.output("Out")[0]]
        if weight in names:
            assert limit == {0: limits[names[weight]][0]}
        else:
            inner.append(limit)
    first = [limits[f"ernie.encoder.layers.0.self_attn.{name}_proj"][1] for name in "qkv"]
    assert inner[:2] == [{0: first[0] * 6**-0.5, 1: first[1]}, {1: first[2]}]
    assert len(inner) == 4


def test_an_export_of_another_network_is_refused(tmp_path: Path) -> None:
    export_paddle(build_model(CONFIG.model_copy(update={"num_hidden_layers": 1})), tmp_path)
    limits = {name.removesuffix(".weight"): (1.0, 1.0) for name in checkpoint().weights}
    with pytest.raises(ValueError, match="10 matrix products"):
        thresholds(tmp_path, CONFIG, limits)


def is_dense(name: str) -> bool:
    return name.endswith(".weight") and "norm" not in name and "embeddings" not in name


def rounded(network: Checkpoint, rows: list[list[int]]) -> paddle.nn.Layer:
    """As after post-training quantization: roundings calibrated on texts, nothing learned."""
    model = build_model(CONFIG, network.weights)
    with_roundings(model, BITS)
    model.train()
    for _ in range(4):
        for start in range(0, len(rows), 32):
            answers(model, rows[start : start + 32])
    model.eval()
    return model


def answers(model: paddle.nn.Layer, rows: list[list[int]]) -> np.ndarray:
    ids = paddle.to_tensor(pad(rows, 0))
    with paddle.no_grad():
        found: np.ndarray = model(ids, paddle.zeros_like(ids)).numpy()
    return found
