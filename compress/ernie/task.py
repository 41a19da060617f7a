"""What a classifier is to learn and how well it does: the data of one compression, and its metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.ernie.checkpoint import Checkpoint
from compress.evaluate import macro_f1
from compress.report import fingerprint
from compress.textdata import check_labels, read_pool, read_texts
from devices.errors import DataError
from runtime.artifact import TextSettings
from runtime.predictor import Predictor
from runtime.text import label_probabilities
from runtime.tokenizer import ErnieTokenizer

MAX_LENGTH = 256  # tokens; statements are rarely over 100
CALIBRATION_BATCHES = 32
_BATCH = 16
_TEMPERATURES = np.geomspace(0.25, 4.0, 65)


class TextTask:
    """Labelled texts to learn from, texts that only the teacher labels, and dev, which every figure comes from.

    Args:
        teacher: Whose labels and tokenizer apply.
        train_file: As ``compress.textdata`` reads it.
        dev_file: The same.
        pool_file: One text a line; None for none.

    Raises:
        DataError: A file cannot be used, or its labels are not the teacher's.
    """

    metric = "macro-F1"

    def __init__(self, teacher: Checkpoint, train_file: Path, dev_file: Path, pool_file: Path | None) -> None:
        config = teacher.config
        if config.head != "sequence":
            raise DataError("The teacher labels tokens, not texts; distillation is for whole texts.")
        train, dev = read_texts(train_file), read_texts(dev_file)
        check_labels(train, dev, config.labels, multi_label=config.multi_label)
        self.files = {"train": train_file, "dev": dev_file} | ({"pool": pool_file} if pool_file else {})
        self.settings = teacher.settings().model_copy(
            update={"max_length": min(MAX_LENGTH, config.max_position_embeddings)}
        )
        self.dev_texts = dev.texts
        self.truth = dev.targets(config.labels)
        self.targets = train.targets(config.labels)  # (labelled, labels) float32
        pool = read_pool(pool_file) if pool_file else []
        self.corpus = [*train.texts, *pool]  # labelled first, then the pool
        self.counts = {"train": len(train.examples), "dev": len(dev.examples), "pool": len(pool)}

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each file."""
        return {name: fingerprint(path) for name, path in self.files.items()}

    def tokens(self) -> int:
        """How many tokens the corpus has, about: in Chinese a character is one."""
        return sum(min(len(text) + 2, self.settings.max_length) for text in self.corpus)

    def rows(self, tokenizer: ErnieTokenizer) -> list[list[int]]:
        """Token ids of the labelled texts, then those of the pool."""
        return [list(tokenizer.ids(text, self.settings.max_length)) for text in self.corpus]

    def answers(self, predictor: Predictor, tokenizer: ErnieTokenizer) -> NDArray[np.float64]:
        """(N, labels): the logits for dev."""
        logits = np.zeros(self.truth.shape)
        order = sorted(range(len(self.dev_texts)), key=lambda index: len(self.dev_texts[index]))
        for start in range(0, len(order), _BATCH):
            part = order[start : start + _BATCH]
            encoded = tokenizer.encode([self.dev_texts[index] for index in part], self.settings.max_length)
            feeds = {"input_ids": encoded.input_ids, "token_type_ids": encoded.token_type_ids}
            (logits[part],) = predictor.run(feeds).values()
        return logits

    def value(self, logits: NDArray[np.float64]) -> float:
        """Macro-F1 on dev at a probability of 0.5, or of the likeliest label where a text has one only."""
        return macro_f1(decisions(logits, self.settings), self.truth > 0)

    def temperature(self, logits: NDArray[np.float64]) -> float:
        """As ``fit_temperature`` on dev."""
        return fit_temperature(logits, self.truth, self.settings)


def decisions(logits: NDArray[np.float64], settings: TextSettings) -> NDArray[np.bool_]:
    """(N, labels): every label above 0.5, or the likeliest where a text has one label only."""
    if settings.multi_label:
        return logits > 0
    return logits == logits.max(axis=1, keepdims=True)


def fit_temperature(logits: NDArray[np.float64], targets: NDArray[np.float32], settings: TextSettings) -> float:
    """The temperature under which dev's labels are likeliest (Guo et al., arXiv:1706.04599); moves no decision."""

    def surprise(temperature: float) -> float:
        scaled = settings.model_copy(update={"temperature": temperature})
        probabilities = np.clip(label_probabilities(logits, scaled), 1e-12, 1 - 1e-12)
        said = np.log(probabilities) * targets
        if settings.multi_label:
            said = said + np.log(1 - probabilities) * (1 - targets)
        return -float(said.sum())

    return float(min(_TEMPERATURES, key=surprise))


def calibration_feeds(rows: Sequence[Sequence[int]], pad_id: int) -> list[dict[str, NDArray[np.int64]]]:
    """Batches spread over the texts, short to long, as serving would feed them."""
    order = sorted(rows, key=len)
    count = min(CALIBRATION_BATCHES, max(1, len(order) // _BATCH))
    feeds = []
    for part in np.array_split(np.arange(len(order)), count):
        chosen = [order[index] for index in part[:: max(1, len(part) // _BATCH)][:_BATCH]]
        ids = np.full((len(chosen), max(map(len, chosen))), pad_id, np.int64)
        for row, text in zip(ids, chosen, strict=True):
            row[: len(text)] = text
        feeds.append({"input_ids": ids, "token_type_ids": np.zeros_like(ids)})
    return feeds
