"""Labelled texts and pools from files, with every complaint naming file and line.

    FILE.tsv     label[,label...]<TAB>text
    FILE.jsonl   {"text": ..., "labels": [...]}
    a pool       one text a line, no labels

UTF-8; a name that ends in ``.gz`` is unpacked while it is read.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.errors import DataError


@dataclass(frozen=True)
class Example:
    """One text, its labels, and the line of the file that it stands on."""

    text: str
    labels: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class TextData:
    """A file of labelled texts, in its order."""

    path: Path
    examples: tuple[Example, ...]

    @property
    def texts(self) -> list[str]:
        """The texts alone."""
        return [example.text for example in self.examples]

    def targets(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """(N, labels) float32, 1 where a text carries the label."""
        index = {label: column for column, label in enumerate(labels)}
        targets = np.zeros((len(self.examples), len(labels)), np.float32)
        for row, example in enumerate(self.examples):
            targets[row, [index[label] for label in example.labels]] = 1
        return targets


def read_texts(path: Path) -> TextData:
    """Read labelled texts.

    Raises:
        DataError: The file is missing, unreadable or holds no rows, or a line is malformed.
    """
    name = path.name.removesuffix(".gz")
    if not name.endswith((".tsv", ".jsonl")):
        raise DataError(f"{path} is neither .tsv nor .jsonl, with or without .gz behind.")
    parse = _tsv_row if name.endswith(".tsv") else _jsonl_row
    examples = tuple(parse(path, number, line) for number, line in _lines(path))
    if not examples:
        raise DataError(f"{path} holds no rows.")
    return TextData(path, examples)


def read_pool(path: Path) -> list[str]:
    """Read unlabelled texts; lines of white space are left out.

    Raises:
        DataError: The file is missing, unreadable or holds no text.
    """
    texts = [line.strip() for _, line in _lines(path) if line.strip()]
    if not texts:
        raise DataError(f"{path} holds no texts.")
    return texts


def check_labels(train: TextData, dev: TextData, labels: Sequence[str], *, multi_label: bool) -> None:
    """Compare the labels in the data with those of the model to be trained.

    Args:
        train: Must have at least one text of every label.
        dev: May lack labels, but may have none that ``train`` lacks.
        labels: The model's, in the order of its logits.
        multi_label: Whether a text may carry several.

    Raises:
        DataError: A label is unknown or has no text, or a text has more labels than the model can give.
    """
    known = set(labels)
    for data in (train, dev):
        for example in data.examples:
            where = f"{data.path}, line {example.line}"
            if unknown := [label for label in example.labels if label not in known]:
                raise DataError(f"{where}: the model has no label {unknown[0]!r}; its labels are {', '.join(labels)}.")
            if not multi_label and len(example.labels) > 1:
                raise DataError(f"{where}: {len(example.labels)} labels, but the model gives one a text.")
    trained = {label for example in train.examples for label in example.labels}
    for example in dev.examples:
        if untrained := [label for label in example.labels if label not in trained]:
            raise DataError(f"{dev.path}, line {example.line}: no text in {train.path} has label {untrained[0]!r}.")
    if empty := [label for label in labels if label not in trained]:
        raise DataError(f"{train.path} has no text with label {empty[0]!r}.")


def _tsv_row(path: Path, number: int, line: str) -> Example:
    labels, tab, text = line.partition("\t")
    if not tab:
        raise DataError(f"{path}, line {number}: there is no tab; expected label<TAB>text.")
    return _example(path, number, text, [label.strip() for label in labels.split(",")])


def _jsonl_row(path: Path, number: int, line: str) -> Example:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: not JSON ({error}).") from error
    text, labels = (row.get("text"), row.get("labels")) if isinstance(row, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
        raise DataError(f'{path}, line {number}: expected {{"text": "...", "labels": ["...", ...]}}.')
    return _example(path, number, text, labels)


def _example(path: Path, number: int, text: str, labels: Sequence[str]) -> Example:
    if not text.strip():
        raise DataError(f"{path}, line {number}: the text is empty.")
    if not labels or not all(labels):
        raise DataError(f"{path}, line {number}: a label is empty.")
    return Example(text.strip(), tuple(dict.fromkeys(labels)), number)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if path.name.endswith(".gz") else raw
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")  # not splitlines(): U+2028 may stand inside a text
    if lines[-1] == b"":
        lines.pop()
    for number, line in enumerate(lines, 1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: byte {error.start} is not UTF-8.") from error
