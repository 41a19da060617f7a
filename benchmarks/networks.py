"""ERNIE networks with random weights: time and size depend on the shape, not on what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.textsplit import SHARED
from compress.ernie.checkpoint import Checkpoint, ErnieConfig, Weights
from compress.ernie.model import build_model, model_weights
from compress.paddle_env import paddle
from runtime.tokenizer import ErnieTokenizer

Feeds = dict[str, NDArray[np.int64]]
VOCAB_ROWS = 40000
# layers, hidden, inner: ERNIE 3.0 base and nano as published (PaddleNLP, ernie/configuration.py)
SHAPES = {"12L768H": (12, 768, 3072), "4L312H": (4, 312, 1248)}
_DEMO_VOCAB = Path(__file__).parent.parent / "examples" / "teacher" / "model" / "vocab.txt"


def vocabulary() -> bytes:
    """ERNIE 3.0's, where the public data lies beside the checkout; else the demonstration's.

    That is filled up with tokens that no text holds.
    """
    published = SHARED / "ernie_vocab_config" / "ernie-3.0-base-zh" / "vocab.txt"
    if published.is_file():
        return published.read_bytes()
    known = _DEMO_VOCAB.read_bytes()
    missing = VOCAB_ROWS - known.count(b"\n")
    return known + "".join(f"[unused{number}]\n" for number in range(missing)).encode()


def network(shape: str, labels: Sequence[str] = ("0", "1")) -> ErnieConfig:
    """The config of one of ``SHAPES``."""
    layers, hidden, inner = SHAPES[shape]
    return ErnieConfig(
        vocab_size=VOCAB_ROWS,
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=inner,
        max_position_embeddings=2048,
        type_vocab_size=4,
        use_task_id=True,
        task_type_vocab_size=3,
        id2label=dict(enumerate(labels)),
    )


def random_weights(config: ErnieConfig, *, seed: int = 0) -> Weights:
    """As Paddle would start training."""
    paddle.seed(seed)
    return model_weights(build_model(config))


def divided_checkpoint(config: ErnieConfig, vocab: bytes, texts: Sequence[str]) -> tuple[Checkpoint, list[str]]:
    """A random network whose two labels divide ``texts`` in half, and the label that it gives to each.

    A recipe refuses a teacher that knows nothing. This one knows its own answers: the bias of its head is moved to
    the middle of what it says about the texts.
    """
    weights = random_weights(config)
    tokenizer = ErnieTokenizer(vocab)
    model = build_model(config, weights)
    logits = []
    with paddle.no_grad():
        for text in texts:
            ids = paddle.to_tensor(tokenizer.encode([text], 128).input_ids)
            logits.append(model(ids, paddle.zeros_like(ids)).numpy()[0])
    lead = np.array(logits)[:, 1] - np.array(logits)[:, 0]
    weights["classifier.bias"] = weights["classifier.bias"] - np.array([0, np.median(lead)], np.float32)
    answers = [config.labels[int(each > np.median(lead))] for each in lead]
    return Checkpoint(config, weights, vocab, lowercase=True), answers


def feeds(texts: int, tokens: int, *, batch: int = 1, seed: int = 0) -> list[Feeds]:
    """Random texts without padding, in batches."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(texts // batch):
        ids = random.integers(5, VOCAB_ROWS - 100, (batch, tokens))
        found.append({"input_ids": ids, "token_type_ids": np.zeros_like(ids)})
    return found
