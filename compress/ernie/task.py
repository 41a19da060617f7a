"""What a model is to learn and how well it does: the data of one compression, and its metric."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from compress.ernie.checkpoint import Checkpoint
from compress.evaluate import calibration_error, chance_entity_f1, chance_macro_f1, entity_f1, entity_tally, label_tally
from compress.gate import check_teacher
from compress.report import fingerprint
from compress.tally import Tally
from compress.textdata import Labelled, TextData, check_labels, read_pool, read_texts, separated
from compress.tokendata import TokenData, check_tags, read_token_texts, token_targets
from runtime.artifact import TextSettings
from runtime.entities import Span, entities_of_logits
from runtime.predictor import Predictor
from runtime.text import label_probabilities
from runtime.tokenizer import ErnieTokenizer

MAX_LENGTH = 256  # tokens; statements are rarely over 100
CALIBRATION_BATCHES = 128
_CALIBRATION_TOKENS = 128  # in a batch
_BATCH = 16
_WHOLE = 0.99  # share of the corpus that is read in one window
_SHORTEST_WINDOW = 16  # tokens
_FOLDS = 5
_TEMPERATURES = np.geomspace(0.25, 4.0, 65)
Logits = list[NDArray[np.float64]]  # one a text: (labels,), or (tokens, labels)
Targets = Sequence[NDArray[np.float32]] | NDArray[np.float32]


class Task(ABC):
    """Labelled texts to learn from, texts that only the teacher labels, and dev, which every figure comes from.

    Attributes:
        metric: What ``tally`` adds up to; higher is better.
        settings: How logits become labels, at temperature 1.
        files: What was read.
        corpus: The texts of train, then those of the pool.
        dev_texts: Without those that train has too.
        counts: How many texts there are of each.
        notes: What was left out of the data, a sentence each.
    """

    metric: ClassVar[str]

    def __init__(
        self, teacher: Checkpoint, train: Labelled, dev: Labelled, pool: list[str], files: dict[str, Path]
    ) -> None:
        config = teacher.config
        self.settings = teacher.settings().model_copy(
            update={"max_length": min(MAX_LENGTH, config.max_position_embeddings), "head": config.head}
        )
        self.files, self.dev_texts = files, dev.texts
        self.corpus = [*train.texts, *pool]
        self.counts = {"train": len(train.examples), "dev": len(dev.examples), "pool": len(pool)}
        self.notes: tuple[str, ...] = ()

    @abstractmethod
    def targets(self, tokenizer: ErnieTokenizer) -> Targets:
        """What the texts of train should be labelled, as ``compress.ernie.distill.distil`` takes it."""

    @abstractmethod
    def tally(self, logits: Logits, tokenizer: ErnieTokenizer) -> Tally:
        """What each text of dev adds to the metric."""

    @abstractmethod
    def by_label(self, logits: Logits, tokenizer: ErnieTokenizer) -> dict[str, float]:
        """F1 of each label, or type of entity, that occurs in dev or in the answers."""

    @abstractmethod
    def chance(self) -> float:
        """What the metric would be for an answer that never looks at the text."""

    @abstractmethod
    def temperature(self, logits: Logits) -> float:
        """What logits are divided by, so that probabilities on dev are neither too sure nor too unsure."""

    def window(self, tokenizer: ErnieTokenizer) -> int | None:
        """How many tokens of a longer text are labelled at once: as many as 99 of 100 texts of the corpus have.

        A model sees little of one sentence among much more text than it learned from. None where labels exclude each
        other or are of tokens, or where that is ``max_length``.
        """
        if not self.settings.multi_label:
            return None
        found = int(np.quantile([len(row) for row in self.rows(tokenizer)], _WHOLE, method="inverted_cdf"))
        return max(found, _SHORTEST_WINDOW) if found < self.settings.max_length else None

    def calibration(self, logits: Logits) -> str | None:
        """How good the probabilities are with and without ``temperature``, a sentence; None where that says little."""
        return None

    def check_teacher(self, value: float) -> None:
        """Refuse a teacher that is worse than chance.

        Raises:
            TeacherError: It is.
        """
        check_teacher(value, self.chance(), metric=self.metric, dev=self.files["dev"])

    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each file."""
        return {name: fingerprint(path) for name, path in self.files.items()}

    def tokens(self) -> int:
        """How many tokens the corpus has, about: in Chinese a character is one."""
        return sum(min(len(text) + 2, self.settings.max_length) for text in self.corpus)

    def rows(self, tokenizer: ErnieTokenizer) -> list[list[int]]:
        """Token ids of the labelled texts, then those of the pool."""
        return [list(tokenizer.ids(text, self.settings.max_length)) for text in self.corpus]

    def answers(self, predictor: Predictor, tokenizer: ErnieTokenizer) -> Logits:
        """The logits for dev."""
        found: dict[int, NDArray[np.float64]] = {}
        order = sorted(range(len(self.dev_texts)), key=lambda index: len(self.dev_texts[index]))
        for start in range(0, len(order), _BATCH):
            part = order[start : start + _BATCH]
            encoded = tokenizer.encode([self.dev_texts[index] for index in part], self.settings.max_length)
            feeds = {"input_ids": encoded.input_ids, "token_type_ids": encoded.token_type_ids}
            (logits,) = predictor.run(feeds).values()
            for index, row, length in zip(part, logits.astype(np.float64), encoded.lengths, strict=True):
                found[index] = row[:length] if self.settings.head == "token" else row
        return [found[index] for index in range(len(self.dev_texts))]


class TextTask(Task):
    """Labels of whole texts."""

    metric = "macro-F1"

    def __init__(
        self, teacher: Checkpoint, train: TextData, dev: TextData, pool: list[str], files: dict[str, Path]
    ) -> None:
        super().__init__(teacher, train, dev, pool, files)
        self._truth = dev.targets(self.settings.labels)
        self._targets = train.targets(self.settings.labels)  # (labelled, labels) float32

    def targets(self, tokenizer: ErnieTokenizer) -> Targets:
        """(labelled, labels), 1 where a text carries a label."""
        return self._targets

    def tally(self, logits: Logits, tokenizer: ErnieTokenizer) -> Tally:
        """At a probability of 0.5, or by the likeliest label where a text has one only."""
        return label_tally(decisions(np.array(logits), self.settings), self._truth > 0)

    def by_label(self, logits: Logits, tokenizer: ErnieTokenizer) -> dict[str, float]:
        """By label."""
        columns = self.tally(logits, tokenizer).columns.tolist()
        return {name: f1 for name, f1 in zip(self.settings.labels, columns, strict=True) if not math.isnan(f1)}

    def chance(self) -> float:
        """As ``chance_macro_f1``."""
        return chance_macro_f1(self._truth, multi_label=self.settings.multi_label)

    def temperature(self, logits: Logits) -> float:
        """As ``fit_temperature``."""
        return fit_temperature(np.array(logits), self._truth, self.settings)

    def calibration(self, logits: Logits) -> str | None:
        """Each part of dev is judged by a temperature that was fitted to the others."""
        said, truth = np.array(logits), self._truth
        if len(said) < _FOLDS:
            return None
        fold = np.arange(len(said)) % _FOLDS
        fitted = np.empty_like(said)
        for each in range(_FOLDS):
            inside = fold == each
            temperature = fit_temperature(said[~inside], truth[~inside], self.settings)
            fitted[inside] = said[inside] / temperature
        before, after = (
            calibration_error(label_probabilities(values, self.settings), truth) for values in (said, fitted)
        )
        return (
            f"Expected calibration error of the probabilities on dev: {before:.3f} as the model gives them, "
            f"{after:.3f} at a temperature fitted to the other {_FOLDS - 1} of {_FOLDS} parts; "
            f"{self.temperature(logits):.2f} is fitted to all of them."
        )


class TokenTask(Task):
    """Labels of tokens, which spell out entities."""

    metric = "entity F1"

    def __init__(
        self, teacher: Checkpoint, train: TokenData, dev: TokenData, pool: list[str], files: dict[str, Path]
    ) -> None:
        super().__init__(teacher, train, dev, pool, files)
        self._train, self._dev = train, dev
        self._tokenizer = teacher.tokenizer()
        self._truth = dev.spans(self._tokenizer)
        longest = self.settings.max_length
        for path, data in ((files["train"], train), (files["dev"], dev)):
            if cut := token_targets(data, self._tokenizer, self.settings.labels, longest).cut:
                self.notes += (f"Cut at {longest} tokens: {cut} of {len(data.examples)} texts of {path}.",)

    def targets(self, tokenizer: ErnieTokenizer) -> Targets:
        """(tokens, labels) for each text, NaN for [CLS] and [SEP]."""
        return token_targets(self._train, tokenizer, self.settings.labels, self.settings.max_length).rows

    def tally(self, logits: Logits, tokenizer: ErnieTokenizer) -> Tally:
        """Entities that are right in type, first and last character."""
        return entity_tally(self._found(logits, tokenizer), self._truth)

    def by_label(self, logits: Logits, tokenizer: ErnieTokenizer) -> dict[str, float]:
        """By type of entity."""
        return dict(entity_f1(self._found(logits, tokenizer), self._truth).types)

    def _found(self, logits: Logits, tokenizer: ErnieTokenizer) -> list[list[Span]]:
        return [
            entities_of_logits(row, tokenizer.offsets(text, self.settings.max_length), self.settings.labels)
            for row, text in zip(logits, self.dev_texts, strict=True)
        ]

    def chance(self) -> float:
        """As ``chance_entity_f1``."""
        return chance_entity_f1(self._truth, self.dev_texts)

    def temperature(self, logits: Logits) -> float:
        """As ``fit_temperature``, over all tokens of the teacher's own segmentation."""
        truth = token_targets(self._dev, self._tokenizer, self.settings.labels, self.settings.max_length).rows
        pairs = [(row, true) for row, true in zip(logits, truth, strict=True) if len(row) == len(true)]
        if not pairs:
            return 1.0
        said, true = (np.concatenate(each) for each in zip(*pairs, strict=True))
        known = ~np.isnan(true[:, 0])
        return fit_temperature(said[known], true[known], self.settings)


def read_task(teacher: Checkpoint, train_file: Path, dev_file: Path, pool_file: Path | None) -> Task:
    """Read and check the data for ``teacher``, by what its head labels.

    Args:
        teacher: Whose labels and tokenizer apply.
        train_file: As ``compress.textdata`` reads it, or ``compress.tokendata`` for a head that labels tokens.
        dev_file: The same.
        pool_file: One text a line; None for none.

    Raises:
        DataError: A file cannot be used, or its labels are not the teacher's.
        CheckpointError: The teacher's labels are no tags, though its head labels tokens.
    """
    config = teacher.config
    files = {"train": train_file, "dev": dev_file} | ({"pool": pool_file} if pool_file else {})
    pool = read_pool(pool_file) if pool_file else []
    task: Task
    if config.head == "token":
        tagged, tagged_dev = read_token_texts(train_file), read_token_texts(dev_file)
        tagged_dev, pool, notes = separated(tagged, tagged_dev, pool)
        check_tags(tagged, tagged_dev, config.labels)
        task = TokenTask(teacher, tagged, tagged_dev, pool, files)
    else:
        train, dev = read_texts(train_file), read_texts(dev_file)
        check_labels(train, dev, config.labels, multi_label=config.multi_label)
        dev, pool, notes = separated(train, dev, pool)
        task = TextTask(teacher, train, dev, pool, files)
    task.notes += notes
    return task


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
        if settings.multi_label and settings.head == "sequence":
            said = said + np.log(1 - probabilities) * (1 - targets)
        return -float(said.sum())

    return float(min(_TEMPERATURES, key=surprise))


def calibration_feeds(rows: Sequence[Sequence[int]], pad_id: int) -> list[dict[str, NDArray[np.int64]]]:
    """Batches spread over the texts, short to long, as serving would feed them, none of more than 128 tokens.

    PaddleSlim keeps every activation of a batch: of a 12-layer ERNIE, half a gigabyte for 128 tokens.
    """
    order = sorted(rows, key=len)
    count = min(CALIBRATION_BATCHES, max(1, len(order) // _BATCH))
    feeds = []
    for part in np.array_split(np.arange(len(order)), count):
        longest = len(order[part[-1]])
        room = max(1, min(_BATCH, _CALIBRATION_TOKENS // longest))
        chosen = [order[index] for index in part[:: -max(1, -(-len(part) // room))]]  # the longest among them
        ids = np.full((len(chosen), max(map(len, chosen))), pad_id, np.int64)
        for row, text in zip(ids, chosen, strict=True):
            row[: len(text)] = text
        feeds.append({"input_ids": ids, "token_type_ids": np.zeros_like(ids)})
    return feeds
