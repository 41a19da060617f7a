"""Labelled texts and pools from files, with every complaint naming file and line.

    FILE.tsv     label[,label...]<TAB>text
    FILE.jsonl   {"text": ..., "labels": [...]}
    a pool       one text a line, no labels

UTF-8; a name that ends in ``.gz`` is unpacked while it is read. A file of more than half a gigabyte, unpacked, is
refused. What labels tokens instead of texts is read by ``compress.tokendata``.
"""

from __future__ import annotations

import gzip
import io
import json
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from devices.errors import DataError

_LARGEST = 512 * 2**20  # bytes, unpacked; training on so much text would take these machines weeks


@dataclass(frozen=True)
class Example:
    """One text, its labels (in ``TokenData`` a tag of each character), and the line of the file that it stands on."""

    text: str
    labels: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Labelled:
    """A file of texts with labels of whatever kind, in its order."""

    path: Path
    examples: tuple[Example, ...]

    @property
    def texts(self) -> list[str]:
        """The texts alone."""
        return [example.text for example in self.examples]


Data = TypeVar("Data", bound=Labelled)


@dataclass(frozen=True)
class TextData(Labelled):
    """A file of texts that carry labels as a whole."""

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
    examples = tuple(parse(path, number, line) for number, line in numbered_lines(path))
    if not examples:
        raise DataError(f"{path} holds no rows.")
    return TextData(path, examples)


def read_pool(path: Path) -> list[str]:
    """Read unlabelled texts; lines of white space are left out.

    Raises:
        DataError: The file is missing, unreadable or holds no text.
    """
    texts = [line.strip() for _, line in numbered_lines(path) if line.strip()]
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
                raise DataError(
                    f"{where}: the model has no label {unknown[0]!r}; its labels are {', '.join(labels)}.",
                    remedy="Correct the label, or use a teacher that was trained with it.",
                )
            if not multi_label and len(example.labels) > 1:
                raise DataError(
                    f"{where}: {len(example.labels)} labels, but the model gives one a text.",
                    remedy="Leave one label on the line, or use a teacher whose config.json says "
                    '"problem_type": "multi_label_classification".',
                )
    check_trained(
        [(example.line, set(example.labels)) for example in train.examples],
        [(example.line, set(example.labels)) for example in dev.examples],
        labels,
        train=train.path,
        dev=dev.path,
    )


def check_trained(
    train_labels: Iterable[tuple[int, set[str]]],
    dev_labels: Iterable[tuple[int, set[str]]],
    labels: Iterable[str],
    *,
    train: Path,
    dev: Path,
) -> None:
    """Refuse labels that nothing can be learned of: in ``dev`` or in the model, but on no line of ``train``.

    Args:
        train_labels: Of each text its line and its labels.
        dev_labels: The same for ``dev``.
        labels: The model's.
        train: Whose lines they are, for the message.
        dev: The same.

    Raises:
        DataError: There is such a label.
    """
    trained = set().union(*(found for _, found in train_labels))
    for line, found in dev_labels:
        if untrained := sorted(found - trained):
            raise DataError(
                f"{dev}, line {line}: no text in {train} has label {untrained[0]!r}.",
                remedy=f"Give texts with this label in {train}, or take the line out.",
            )
    if empty := [label for label in labels if label not in trained]:
        raise DataError(
            f"{train} has no text with label {empty[0]!r}.",
            remedy="Give texts with this label, or use a teacher without it.",
        )


def separated(train: Data, dev: Data, pool: Sequence[str] = ()) -> tuple[Data, list[str], tuple[str, ...]]:
    """Take out of dev what the student would learn by heart, and out of the pool what is already there.

    A text that stands in train as well says nothing about texts to come, and one that stands in dev twice counts
    twice: both would make the accuracy look surer than it is. Texts are the same if they differ by nothing but white
    space, width and case (NFKC and case folding).

    Args:
        train: ``TextData`` or ``TokenData``; it is left as it is.
        dev: The same; the first of equal texts stays.
        pool: Texts without labels.

    Returns:
        Dev, the pool, and what was left out of them, a sentence each for the report.

    Raises:
        DataError: Nothing of dev is left.
    """
    trained: dict[str, set[tuple[str, ...]]] = {}
    for example in train.examples:
        trained.setdefault(_key(example.text), set()).add(tuple(sorted(example.labels)))
    own: set[str] = set()
    kept, leaked, repeated = [], 0, 0
    for example in dev.examples:
        key = _key(example.text)
        if key in trained:
            leaked += 1
        elif key in own:
            repeated += 1
        else:
            own.add(key)
            kept.append(example)
    if not kept:
        raise DataError(
            f"All {len(dev.examples)} texts of {dev.path} stand in {train.path} too: nothing is left to measure on.",
            remedy=f"Give other texts in {dev.path}; a model is measured on texts that it has not seen.",
        )
    rest = without(pool, (example.text for data in (train, dev) for example in data.examples))
    contradictory = sum(len(labels) > 1 for labels in trained.values())
    counted = {
        f"Left out of {dev.path}, because {train.path} has them too": (leaked, len(dev.examples)),
        f"Left out of {dev.path}, because it has them more than once": (repeated, len(dev.examples)),
        "Left out of the pool, because they are labelled or stand there more than once": (
            len(pool) - len(rest),
            len(pool),
        ),
        f"In {train.path} more than once, with different labels": (contradictory, len(trained)),
    }
    notes = tuple(f"{what}: {count} of {total} texts." for what, (count, total) in counted.items() if count)
    return replace(dev, examples=tuple(kept)), rest, notes


def without(pool: Iterable[str], texts: Iterable[str]) -> list[str]:
    """The texts of ``pool`` that are not in ``texts``, each once, in their order."""
    seen = {_key(text) for text in texts}
    kept = []
    for text in pool:
        if (key := _key(text)) not in seen:
            seen.add(key)
            kept.append(text)
    return kept


def _key(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _tsv_row(path: Path, number: int, line: str) -> Example:
    labels, tab, text = line.partition("\t")
    if not tab:
        raise DataError(f"{path}, line {number}: there is no tab; expected label<TAB>text.")
    return _example(path, number, text, [label.strip() for label in labels.split(",")])


def _jsonl_row(path: Path, number: int, line: str) -> Example:
    return _example(path, number, *parse_json_row(path, number, line))


def parse_json_row(path: Path, number: int, line: str) -> tuple[str, list[str]]:
    """The text and the labels of ``{"text": ..., "labels": [...]}``; other keys are left alone.

    Raises:
        DataError: The line is of another form.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: not JSON ({error}).") from error
    text, labels = (row.get("text"), row.get("labels")) if isinstance(row, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
        raise DataError(f'{path}, line {number}: expected {{"text": "...", "labels": ["...", ...]}}.')
    return text, labels


def _example(path: Path, number: int, text: str, labels: Sequence[str]) -> Example:
    if not text.strip():
        raise DataError(f"{path}, line {number}: the text is empty.")
    if not labels or not all(labels):
        raise DataError(f"{path}, line {number}: a label is empty.")
    return Example(text.strip(), tuple(dict.fromkeys(labels)), number)


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file and their numbers, from 1; a line ends at a line feed alone.

    Raises:
        DataError: The file is missing, cannot be unpacked, is no UTF-8, or is too large.
    """
    try:
        # whole before the first line is looked at: damage to a .gz shows at its end, and explains the rest
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if len(content) > _LARGEST:
        raise DataError(
            f"{path} holds more than {_LARGEST // 2**20} MiB of text.",
            remedy="Give a part of it; a student needs some ten thousand texts, not millions.",
        )
    # io.BytesIO splits at line feeds alone: U+2028 may stand inside a text
    for number, line in enumerate(io.BytesIO(content.removeprefix(b"\xef\xbb\xbf")), 1):
        yield number, _decoded(path, number, line)


def _decoded(path: Path, number: int, line: bytes) -> str:
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, line {number}: byte {error.start} is not UTF-8.") from error
