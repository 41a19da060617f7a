"""Texts whose characters are tagged, for models that label tokens (information extraction).

    FILE.jsonl   {"text": "某甲借50元", "labels": ["B-name", "I-name", "O", "B-amount", "I-amount", "I-amount"]}

``labels`` has one tag for each character of the text, white space included, in BIO or BIOES. A file's scheme and the
model's may differ: tags become entities (type, first character, last character), and these become tags of tokens in
the model's scheme. Where a token lies across an entity's edge it counts as part of the entity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.textdata import Example, Labelled, check_trained, numbered_lines, parse_json_row
from devices.errors import CheckpointError, DataError
from runtime.entities import OUTSIDE, Offsets, Span, entity_type, is_tag, spans_of_tags
from runtime.tokenizer import ErnieTokenizer


@dataclass(frozen=True)
class TokenData(Labelled):
    """A file of texts with a tag for each character; ``Example.labels`` holds the tags."""

    def spans(self, tokenizer: ErnieTokenizer) -> list[list[Span]]:
        """The true entities of each text, in characters.

        An entity that begins or ends with characters that no token stands for (white space, a combining accent) is
        that much shorter here, since no model can tell; one of nothing else is left out.
        """
        return [_seen(spans_of_tags(each.labels), each.text, tokenizer) for each in self.examples]


@dataclass(frozen=True)
class TokenTargets:
    """What a token classifier learns.

    Attributes:
        rows: Per text (tokens, labels) float32, 1 where a token has the label; NaN throughout for [CLS] and [SEP],
            which have none.
        cut: Texts that are longer than the model reads; entities behind the cut are lost.
    """

    rows: tuple[NDArray[np.float32], ...]
    cut: int


def read_token_texts(path: Path) -> TokenData:
    """Read texts with tagged characters.

    Raises:
        DataError: The file is missing, unreadable, no ``.jsonl`` or holds no rows; or a line is malformed, or has not
            one tag for each character.
    """
    if not path.name.removesuffix(".gz").endswith(".jsonl"):
        raise DataError(
            f"{path} is no .jsonl file, with or without .gz behind; a model that labels tokens needs one.",
            remedy='Give one {"text": "...", "labels": ["B-x", "I-x", "O", ...]} a line, a tag for each character.',
        )
    examples = tuple(_example(path, number, line) for number, line in numbered_lines(path))
    if not examples:
        raise DataError(f"{path} holds no rows.")
    return TokenData(path, examples)


def check_tags(train: TokenData, dev: TokenData, labels: Sequence[str]) -> None:
    """Compare the entity types in the data with those of the model to be trained.

    Args:
        train: Must have at least one entity of every type.
        dev: May lack types, but may have none that ``train`` lacks, and must have some entity.
        labels: The model's, in the order of its logits.

    Raises:
        CheckpointError: The model's labels are no tags, or lack ``O``, or have ``B-x`` without ``I-x`` or the reverse.
        DataError: A type is unknown to the model or has no entity to learn from, or dev has no entity at all.
    """
    types = _model_types(labels)
    for data in (train, dev):
        for example in data.examples:
            if unknown := [tag for tag in example.labels if entity_type(tag) not in (None, *types)]:
                raise DataError(
                    f"{data.path}, line {example.line}: the model has no entities of type "
                    f"{entity_type(unknown[0])!r}; its types are {', '.join(types)}.",
                    remedy="Correct the tag, or use a teacher that was trained with it.",
                )
    check_trained(
        [(example.line, _types(example)) for example in train.examples],
        [(example.line, _types(example)) for example in dev.examples],
        types,
        train=train.path,
        dev=dev.path,
    )
    if not any(map(_types, dev.examples)):
        raise DataError(f"{dev.path} tags no entity, so nothing can be measured on it.")


def token_targets(data: TokenData, tokenizer: ErnieTokenizer, labels: Sequence[str], max_length: int) -> TokenTargets:
    """Tags of characters as targets of tokens.

    Args:
        data: Checked by ``check_tags``.
        tokenizer: The model's.
        labels: The model's, in the order of its logits.
        max_length: Tokens, with [CLS] and [SEP]; the targets of a text are as many as its ``ids``.
    """
    column = {label: index for index, label in enumerate(labels)}
    rows, cut = [], 0
    for example in data.examples:
        offsets = tokenizer.offsets(example.text, max_length)
        tags = tags_of_tokens(spans_of_tags(example.labels), offsets, labels)
        row = np.full((len(offsets), len(labels)), np.nan, np.float32)
        row[1:-1] = 0
        row[range(1, len(offsets) - 1), [column[tag] for tag in tags[1:-1]]] = 1
        rows.append(row)
        cut += len(tokenizer.ids(example.text, max_length + 1)) > max_length
    return TokenTargets(tuple(rows), cut)


def tags_of_tokens(spans: Sequence[Span], offsets: Offsets, labels: Sequence[str]) -> list[str]:
    """Entities as tags of tokens: ``B-x I-x``, or with ``E-x`` and ``S-x`` where ``labels`` has them."""
    tags = [OUTSIDE] * len(offsets)
    for kind, start, end in spans:
        tokens = [
            token
            for token, (first, behind) in enumerate(offsets)
            if first < end and behind > start and tags[token] == OUTSIDE
        ]
        for token in tokens:
            tags[token] = f"I-{kind}"
        if tokens:
            if f"E-{kind}" in labels:
                tags[tokens[-1]] = f"E-{kind}"
            single = len(tokens) == 1 and f"S-{kind}" in labels
            tags[tokens[0]] = f"S-{kind}" if single else f"B-{kind}"
    return tags


def _example(path: Path, number: int, line: str) -> Example:
    text, tags = parse_json_row(path, number, line)
    where = f"{path}, line {number}"
    if not text.strip():
        raise DataError(f"{where}: the text is empty.")
    if len(tags) != len(text):
        raise DataError(
            f"{where}: {len(tags)} tags for {len(text)} characters.",
            remedy="Give one tag for each character of the text, white space and punctuation included.",
        )
    if wrong := [tag for tag in tags if not is_tag(tag)]:
        raise DataError(f"{where}: {wrong[0]!r} is no tag.", remedy="Use O, B-x and I-x, or O, B-x, I-x, E-x and S-x.")
    return Example(text, tuple(tags), number)


def _types(example: Example) -> set[str]:
    return {kind for kind in map(entity_type, example.labels) if kind is not None}


def _model_types(labels: Sequence[str]) -> tuple[str, ...]:
    remedy = "Give the labels in config.json's id2label as O, B-x and I-x, or O, B-x, I-x, E-x and S-x."
    if wrong := [label for label in labels if not is_tag(label)]:
        raise CheckpointError(f"The model's label {wrong[0]!r} is no tag of a token.", remedy=remedy)
    if OUTSIDE not in labels:
        raise CheckpointError(f"The model has no label {OUTSIDE} for tokens outside of any entity.", remedy=remedy)
    types = tuple(dict.fromkeys(kind for kind in map(entity_type, labels) if kind is not None))
    for kind in types:
        if missing := [f"{place}-{kind}" for place in "BI" if f"{place}-{kind}" not in labels]:
            raise CheckpointError(f"The model has labels of type {kind!r}, but no {missing[0]}.", remedy=remedy)
    return types


def _seen(spans: Sequence[Span], text: str, tokenizer: ErnieTokenizer) -> list[Span]:
    # a character becomes at most four letters in canonical decomposition (Unicode TR 15), and a letter one token
    offsets = tokenizer.offsets(text, 4 * len(text) + 2)
    shown = {index for start, end in offsets for index in range(start, end)}
    found = []
    for span in spans:
        inside = [index for index in range(span.start, span.end) if index in shown]
        if inside:
            found.append(Span(span.label, inside[0], inside[-1] + 1))
    return found
