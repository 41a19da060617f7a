"""Tags of a token classifier and the entities that they spell out: ``B-x I-x O``, or ``B-x I-x E-x S-x O``.

Pure functions. A sequence that breaks the scheme is read as CoNLL-2000's ``conlleval`` and seqeval do: an ``I-x`` or
``E-x`` that continues nothing begins an entity of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OUTSIDE = "O"
_TAG = re.compile(r"O|[BIES]-.+", re.DOTALL)

Offsets = Sequence[tuple[int, int]]  # of each token: its first character, and the one behind its last


class Span(NamedTuple):
    """One entity: its type and where it stands, from character ``start`` up to but not including ``end``."""

    label: str
    start: int
    end: int


def is_tag(tag: str) -> bool:
    """Whether ``tag`` is ``O``, or one of ``B-``, ``I-``, ``E-``, ``S-`` with a type behind it."""
    return _TAG.fullmatch(tag) is not None


def entity_type(tag: str) -> str | None:
    """``x`` of ``B-x``; None of ``O``."""
    return None if tag == OUTSIDE else tag[2:]


def spans_of_tags(tags: Sequence[str]) -> list[Span]:
    """The entities that ``tags`` spell out, in order; ``start`` and ``end`` count tags."""
    found: list[Span] = []
    begun, before = 0, OUTSIDE
    for index, tag in enumerate([*tags, OUTSIDE]):
        kind = entity_type(before)
        continues = kind is not None and before[0] in "BI" and tag[0] in "IE" and entity_type(tag) == kind
        if not continues:
            if kind is not None:
                found.append(Span(kind, begun, index))
            begun = index
        before = tag
    return found


def spans_in_text(tags: Sequence[str], offsets: Offsets) -> list[Span]:
    """The entities that the tags of tokens spell out, in characters.

    Args:
        tags: One a token.
        offsets: As ``ErnieTokenizer.offsets`` gives them; tokens that stand for no character ([CLS], [SEP]) are
            looked at as ``O``, whatever their tag.
    """
    seen = [tag if start < end else OUTSIDE for tag, (start, end) in zip(tags, offsets, strict=True)]
    return [Span(label, offsets[first][0], offsets[last - 1][1]) for label, first, last in spans_of_tags(seen)]


def entities_of_logits(
    logits: NDArray[np.float32] | NDArray[np.float64], offsets: Offsets, labels: Sequence[str]
) -> list[Span]:
    """The entities that a model finds in one text.

    Args:
        logits: (tokens, labels), without padding; the likeliest label of each token counts.
        offsets: The tokens', as ``ErnieTokenizer.offsets`` gives them.
        labels: In the order of the logits.
    """
    return spans_in_text([labels[index] for index in logits.argmax(axis=-1)], offsets)
