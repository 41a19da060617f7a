"""Text to label probabilities or to entities: one ERNIE classifier behind any backend.

The model masks padding itself (``input_ids != pad`` inside the graph), so a text scores the same alone and in a batch.

Texts are padded to one of a few widths, 32, 64, 96, 128, 192, 256 ..., and run in batches of 1, 2, 4 ... rows. OpenVINO
compiles kernels for every number of tokens (rows times width) that it meets: 7 MB and 20 to 60 ms each for the demo's
model, another shape of as many tokens 0.3 MB and 5 ms. Few shapes are warmed before the first request and never grow.
What different threads ask at the same time runs together (``runtime.batching``).

A long text is labelled as far as the model reads it at once, and in windows that overlap and are as long as the texts
that it learned from, so that nothing of it goes unread. A label that stands by itself has the highest probability of
any window: one sentence is enough for it, and what is written around that sentence must not water it down. Where labels
exclude each other the windows' probabilities are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from devices.errors import ModelError, TextError
from devices.profile import on_cpu
from runtime.artifact import Head, TextSettings, entry_files, read_artifact
from runtime.batching import MicroBatcher
from runtime.budget import UNLIMITED, Budget
from runtime.entities import entities_of_logits
from runtime.predictor import Backend, Predictor, RunOptions, load_predictor
from runtime.readable import PAIRS_NAME, Pairs, Unreadable, why_unreadable
from runtime.tokenizer import ErnieTokenizer, Window

VOCAB_NAME = "vocab.txt"
LONGEST_TEXT = 20_000  # characters; a statement is under 1,000, and more is a mistake or an attack
DEFAULT_BATCH = 16
_SHORTEST_WIDTH = 32
# on the CPU: measured with 4L312H on two cores, 256 tokens take as long in one text as in eight
_CPU_TOKENS = 256
_OVERLAP = 4  # one token in so many of a window is in the next one too


@dataclass(frozen=True)
class TextResult:
    """What the model says about one text.

    Attributes:
        text: As handed in.
        input_ids: Token ids of the first window with [CLS] and [SEP], without padding: the text cut at ``max_length``.
        token_type_ids: All zero, as many.
        logits: Of the first window, in the order of ``TextSettings.labels``, as the model gave them.
        labels: Label to probability, of the whole text.
        windows: First character and the one behind, of each part that the model saw at once.
    """

    text: str
    input_ids: list[int]
    token_type_ids: list[int]
    logits: list[float]
    labels: dict[str, float]
    windows: list[tuple[int, int]]


@dataclass(frozen=True)
class Entity:
    """Something named in a text.

    Attributes:
        label: Its type, ``x`` of the tags ``B-x`` and ``I-x``.
        start: Its first character's index in the text.
        end: The index behind its last character.
        text: What stands there.
        probability: That of the least certain tag among its tokens'.
    """

    label: str
    start: int
    end: int
    text: str
    probability: float


@dataclass(frozen=True)
class TokenResult:
    """What a token model finds in one text.

    Attributes:
        text: As handed in.
        input_ids: Token ids with [CLS] and [SEP], without padding.
        token_type_ids: All zero, as many.
        logits: A row for each of ``input_ids``, in the order of ``TextSettings.labels``, as the model gave them.
        entities: In the order of the text.
        cut: Whether the text is longer than the model reads; behind the last token nothing was looked for.
    """

    text: str
    input_ids: list[int]
    token_type_ids: list[int]
    logits: list[list[float]]
    entities: list[Entity]
    cut: bool


class _TextModel:
    """A predictor, its tokenizer and what its logits mean. May be shared between threads.

    Args:
        predictor: The model.
        tokenizer: The one that it was trained with.
        settings: What its logits mean.
        batch: At most so many texts run together.
        wait_s: The longest that a run waits for texts that are on their way.
        parallel: Runs that may be under way at once.
        observe: Told the size of every run.
        pairs: Of characters in the texts that it learned from; None where they are not known.

    Raises:
        ModelError: The model's inputs are not ``input_ids`` and ``token_type_ids``, or its head is the other one.
    """

    head: ClassVar[Head]

    def __init__(
        self,
        predictor: Predictor,
        tokenizer: ErnieTokenizer,
        settings: TextSettings,
        *,
        batch: int = DEFAULT_BATCH,
        wait_s: float = 0.0,
        parallel: int = 1,
        observe: Callable[[int], None] = lambda _size: None,
        pairs: Pairs | None = None,
    ) -> None:
        names = sorted(spec.name for spec in predictor.inputs)
        if names != ["input_ids", "token_type_ids"]:
            raise ModelError(f"{predictor.name} is no text model: its inputs are {names}.")
        if settings.head != self.head:
            labels = {"sequence": "whole texts", "token": "tokens"}
            raise ModelError(
                f"{predictor.name} labels {labels[settings.head]}; a model is needed that labels {labels[self.head]}.",
                remedy="Use a model with the other head, or run this one with 'edgekit predict text'.",
            )
        self.predictor, self.tokenizer, self.settings = predictor, tokenizer, settings
        self._pairs = pairs
        self._batch = batch
        self._batcher: MicroBatcher[int, NDArray[np.int32], NDArray[np.float64]] = MicroBatcher(
            self._run, self._rows, leaders=parallel, wait_s=wait_s, observe=observe
        )

    def warm_up(self) -> None:
        """Run every shape once that texts can take, so that no request waits for a backend to compile one.

        Raises:
            BackendError: The backend failed.
        """
        (nothing,) = self.tokenizer.windows("", self.settings.max_length, 0)
        for width in self._widths():
            rows = 1
            while rows <= self._rows(width):
                self._run_shape(rows, width, [nothing.ids])
                rows *= 2

    def _windows(self, text: str) -> list[Window]:
        """The parts of a text that are read; here its beginning alone."""
        return [Window(np.array(self.tokenizer.ids(text, self.settings.max_length), np.int32), 0, len(text))]

    def _answers(
        self, texts: Sequence[str], budget: Budget, *, allow_empty: bool
    ) -> list[list[tuple[Window, NDArray[np.float64]]]]:
        """Each text's windows with their logits, (labels,) or (tokens, labels), in the order given."""
        windows: list[list[Window]] = []

        def encoded() -> list[tuple[int, NDArray[np.int32]]]:
            for index, text in enumerate(texts):
                if len(text) > LONGEST_TEXT:
                    raise TextError(
                        f"Text {index + 1} has {len(text):,} characters; at most {LONGEST_TEXT:,} are read."
                    )
                if not allow_empty and not text.strip():
                    raise TextError(f"Text {index + 1} is empty.")
            for text in texts:
                budget.check()
                windows.append(self._windows(text))
            rows = [window.ids for each in windows for window in each]
            return [(next(width for width in self._widths() if width >= len(row)), row) for row in rows]

        answers = iter(self._batcher.submit(encoded, budget))
        return [[(window, next(answers)) for window in each] for each in windows]

    def _widths(self) -> Iterator[int]:
        """The lengths to which texts are padded, from short to long: powers of two, and from 64 on halfway between."""
        width = _SHORTEST_WIDTH
        while width < self.settings.max_length:
            yield width
            if _SHORTEST_WIDTH < width < width * 3 // 2 < self.settings.max_length:
                yield width * 3 // 2
            width *= 2
        yield self.settings.max_length

    def _rows(self, width: int) -> int:
        """How many texts of ``width`` run together, a power of two."""
        rows = min(self._batch, _CPU_TOKENS // width) if on_cpu(self.predictor.backend) else self._batch
        return 1 << (max(1, rows).bit_length() - 1)

    def _run(self, width: int, texts: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float64]]:
        """Their logits; in batches of a power of two rows, of which at most a quarter is for nothing.

        Another run costs the demo's model as much as one or two rows more: its own part, and the change of shape.
        """
        answers: list[NDArray[np.float64]] = []
        while left := len(texts) - len(answers):
            rows = 1 << (left.bit_length() - 1)
            if 2 * left >= 3 * rows and 2 * rows <= self._rows(width):
                rows *= 2
            batch = texts[len(answers) : len(answers) + rows]
            answers += self._run_shape(rows, width, batch)
        return answers

    def _run_shape(self, rows: int, width: int, texts: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float64]]:
        input_ids = np.full((rows, width), self.tokenizer.pad_id, np.int64)
        for row, ids in zip(input_ids, texts, strict=False):
            row[: len(ids)] = ids
        input_ids[len(texts) :] = input_ids[0]
        outputs = self.predictor.run({"input_ids": input_ids, "token_type_ids": np.zeros_like(input_ids)})
        logits = outputs[self.predictor.outputs[0].name].astype(np.float64)
        shape = input_ids.shape if self.head == "token" else (rows,)
        if logits.shape != (*shape, len(self.settings.labels)):
            raise ModelError(
                f"{self.predictor.name} answered {rows} texts with shape {logits.shape}; "
                f"expected one row a {'token' if self.head == 'token' else 'text'} and "
                f"{len(self.settings.labels)} labels."
            )
        return [row[: len(ids)] if self.head == "token" else row for row, ids in zip(logits, texts, strict=False)]


class TextClassifier(_TextModel):
    """Labels of whole texts."""

    head = "sequence"

    def classify(
        self, texts: Sequence[str], *, allow_empty: bool = False, budget: Budget = UNLIMITED
    ) -> list[TextResult]:
        """Probabilities for each text, in the order given; every text is read to its end.

        Args:
            texts: Any number.
            allow_empty: Whether texts of nothing but white space are answered; a score must not rest on one.
            budget: What the request may still spend.

        Raises:
            TextError: A text is empty, or longer than 20,000 characters; the message says which.
            BackendError: The backend failed.
            DeadlineError: The budget's time was up.
            ClientGoneError: The budget's client went away.
        """
        results = []
        for text, answers in zip(texts, self._answers(texts, budget, allow_empty=allow_empty), strict=True):
            probabilities = label_probabilities(np.stack([logits for _, logits in answers]), self.settings)
            together = probabilities.max(axis=0) if self.settings.multi_label else probabilities.mean(axis=0)
            labels = dict(zip(self.settings.labels, together.tolist(), strict=True))
            first, logits = answers[0]
            spans = [(window.start, window.end) for window, _ in answers]
            results.append(TextResult(text, first.ids.tolist(), [0] * len(first.ids), logits.tolist(), labels, spans))
        return results

    def unreadable(self, text: str) -> Unreadable | None:
        """Why the model cannot judge ``text``, None if it can: see ``runtime.readable``."""
        return why_unreadable(text, self._pairs)

    def _windows(self, text: str) -> list[Window]:
        longest = self.settings.max_length
        width = min(self.settings.window or longest, longest)
        parts = self._parts(text, width)
        return parts if len(parts) == 1 or width == longest else [self._parts(text, longest)[0], *parts]

    def _parts(self, text: str, width: int) -> list[Window]:
        return self.tokenizer.windows(text, width, (width - 2) // _OVERLAP)


class TokenClassifier(_TextModel):
    """Entities in texts (information extraction)."""

    head = "token"

    def extract(self, texts: Sequence[str], *, allow_empty: bool = False) -> list[TokenResult]:
        """The entities of each text, in the order given; arguments and errors as with ``classify``."""
        results = []
        for text, [(window, logits)] in zip(
            texts, self._answers(texts, UNLIMITED, allow_empty=allow_empty), strict=True
        ):
            ids = window.ids.tolist()
            offsets = self.tokenizer.offsets(text, self.settings.max_length)
            certainty = label_probabilities(logits, self.settings).max(axis=-1).tolist()  # of each token's tag
            entities = [
                Entity(
                    label,
                    start,
                    end,
                    text[start:end],
                    min(
                        each
                        for each, (first, behind) in zip(certainty, offsets, strict=True)
                        if start <= first < behind <= end
                    ),
                )
                for label, start, end in entities_of_logits(logits, offsets, self.settings.labels)
            ]
            cut = len(ids) == self.settings.max_length < len(self.tokenizer.ids(text, self.settings.max_length + 1))
            results.append(TokenResult(text, ids, [0] * len(ids), logits.tolist(), entities, cut))
        return results


def label_probabilities(logits: NDArray[np.float64], settings: TextSettings) -> NDArray[np.float64]:
    """Logits (..., labels) to probabilities of the same shape, after the temperature."""
    scaled = logits / settings.temperature
    if settings.multi_label:
        result: NDArray[np.float64] = 0.5 * (1 + np.tanh(scaled / 2))  # the sigmoid, without overflow
        return result
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    normalised: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return normalised


def load_text_classifier(
    directory: Path, backend: Backend | None = None, options: RunOptions | None = None
) -> TextClassifier:
    """``load_text_model`` for a model of whole texts; ModelError where it labels tokens."""
    model = load_text_model(directory, backend, options)
    if isinstance(model, TextClassifier):
        return model
    raise ModelError(f"{directory} holds a model that labels tokens; one that labels whole texts is needed.")


def load_text_model(
    directory: Path, backend: Backend | None = None, options: RunOptions | None = None
) -> TextClassifier | TokenClassifier:
    """Load the artifact in ``directory``: ``artifact.json`` of kind text, ``vocab.txt`` and the model.

    Args:
        directory: What compression wrote.
        backend: None takes the backend that the artifact was measured on.
        options: How the backend may use the machine.

    Raises:
        ModelError: It is no text artifact, or a file is missing.
        BackendError: The backend could not load the model.
    """
    artifact = read_artifact(directory)
    if artifact.text is None:
        raise ModelError(f"{directory} holds an artifact of kind {artifact.kind}; expected text.")
    entry = artifact.models[0]
    tokenizer = ErnieTokenizer(directory / VOCAB_NAME, artifact.text.lowercase)
    predictor = load_predictor(entry_files(directory, entry), backend or entry.backend, options)
    kind = TokenClassifier if artifact.text.head == "token" else TextClassifier
    path = directory / PAIRS_NAME
    pairs = Pairs.parsed(path.read_bytes(), str(path)) if path.is_file() else None
    return kind(predictor, tokenizer, artifact.text, pairs=pairs)
