"""Text to label probabilities: one ERNIE classifier behind any backend.

The model masks padding itself (``input_ids != pad`` inside the graph), so a text scores the same alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.errors import ModelError, TextError
from runtime.artifact import TextSettings, entry_files, read_artifact
from runtime.predictor import Backend, ModelFiles, Predictor, RunOptions, load_predictor
from runtime.tokenizer import ErnieTokenizer

VOCAB_NAME = "vocab.txt"
LONGEST_TEXT = 20_000  # characters; a statement is under 1,000, and more is a mistake or an attack
_BATCH = 16
# lengths are padded to multiples of this: backends keep kernels per shape, and unbounded shapes mean unbounded memory
_LENGTH_STEP = 8


@dataclass(frozen=True)
class TextResult:
    """What the model says about one text.

    Attributes:
        text: As handed in.
        input_ids: Token ids with [CLS] and [SEP], without padding.
        token_type_ids: All zero, as many.
        logits: In the order of ``TextSettings.labels``, as the model gave them.
        labels: Label to probability.
    """

    text: str
    input_ids: list[int]
    token_type_ids: list[int]
    logits: list[float]
    labels: dict[str, float]


class TextClassifier:
    """A predictor, its tokenizer and what its logits mean. May be shared between threads.

    Raises:
        ModelError: The model's inputs are not ``input_ids`` and ``token_type_ids``.
    """

    def __init__(self, predictor: Predictor, tokenizer: ErnieTokenizer, settings: TextSettings) -> None:
        names = sorted(spec.name for spec in predictor.inputs)
        if names != ["input_ids", "token_type_ids"]:
            raise ModelError(f"{predictor.name} is no text model: its inputs are {names}.")
        self.predictor, self.tokenizer, self.settings = predictor, tokenizer, settings

    @classmethod
    def from_bytes(
        cls,
        files: ModelFiles,
        vocab: bytes,
        settings: TextSettings,
        backend: Backend,
        options: RunOptions | None = None,
    ) -> TextClassifier:
        """From bytes that were verified before, as a bundle hands them over.

        Raises:
            TokenizerError: The vocabulary is not one.
            ModelError: It is no text model.
            BackendError: The backend could not load it.
        """
        tokenizer = ErnieTokenizer(vocab, settings.lowercase)
        return cls(load_predictor(files, backend, options), tokenizer, settings)

    def classify(self, texts: Sequence[str], *, allow_empty: bool = False) -> list[TextResult]:
        """Probabilities for each text, in the order given.

        Args:
            texts: Any number.
            allow_empty: Whether texts of nothing but white space are answered; a score must not rest on one.

        Raises:
            TextError: A text is empty, or longer than 20,000 characters; the message says which.
            BackendError: The backend failed.
        """
        for index, text in enumerate(texts):
            if len(text) > LONGEST_TEXT:
                raise TextError(f"Text {index + 1} has {len(text):,} characters; at most {LONGEST_TEXT:,} are read.")
            if not allow_empty and not text.strip():
                raise TextError(f"Text {index + 1} is empty.")
        results: dict[int, TextResult] = {}
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(texts), _BATCH):
            batch = by_length[start : start + _BATCH]
            results.update(zip(batch, self._classify_batch([texts[index] for index in batch]), strict=True))
        return [results[index] for index in range(len(texts))]

    def _classify_batch(self, texts: list[str]) -> list[TextResult]:
        encoded = self.tokenizer.encode(texts, self.settings.max_length, multiple_of=_LENGTH_STEP)
        outputs = self.predictor.run({"input_ids": encoded.input_ids, "token_type_ids": encoded.token_type_ids})
        logits = outputs[self.predictor.outputs[0].name].astype(np.float64)
        if logits.shape != (len(texts), len(self.settings.labels)):
            raise ModelError(
                f"{self.predictor.name} answered {len(texts)} texts with shape {logits.shape}; "
                f"expected one row a text and {len(self.settings.labels)} labels."
            )
        probabilities = label_probabilities(logits, self.settings)
        return [
            TextResult(
                text=text,
                input_ids=encoded.input_ids[row, :length].tolist(),
                token_type_ids=encoded.token_type_ids[row, :length].tolist(),
                logits=logits[row].tolist(),
                labels=dict(zip(self.settings.labels, probabilities[row].tolist(), strict=True)),
            )
            for row, (text, length) in enumerate(zip(texts, encoded.lengths, strict=True))
        ]


def label_probabilities(logits: NDArray[np.float64], settings: TextSettings) -> NDArray[np.float64]:
    """Logits (N, labels) to probabilities (N, labels), after the temperature."""
    scaled = logits / settings.temperature
    if settings.multi_label:
        result: NDArray[np.float64] = 0.5 * (1 + np.tanh(scaled / 2))  # the sigmoid, without overflow
        return result
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    normalised: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return normalised


def load_text_classifier(
    directory: Path, backend: Backend | None = None, options: RunOptions | None = None
) -> TextClassifier:
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
    return TextClassifier(predictor, tokenizer, artifact.text)
