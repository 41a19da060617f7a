"""A small ERNIE with random weights; a test says what of its shape matters there."""

from __future__ import annotations

from typing import Any

from compress.ernie.checkpoint import Checkpoint, ErnieConfig
from compress.ernie.model import build_model, model_weights
from compress.paddle_env import paddle

_USUAL = {
    "vocab_size": 40,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "id2label": {0: "a", 1: "b", 2: "c"},
}


def small_config(**changes: Any) -> ErnieConfig:
    """Two layers, 40 tokens and three labels, but for what ``changes`` says otherwise."""
    return ErnieConfig(**{**_USUAL, **changes})


def narrow_config(**changes: Any) -> ErnieConfig:
    """A smaller one yet, whose weights are large enough that it tells texts apart."""
    narrow = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 16}
    return small_config(**{**narrow, "initializer_range": 0.4, **changes})


def random_checkpoint(config: ErnieConfig, *, seed: int) -> Checkpoint:
    """The same seed gives the same weights; there is no vocabulary, so it does not read texts."""
    paddle.seed(seed)
    return Checkpoint(config, model_weights(build_model(config)), b"", True)
