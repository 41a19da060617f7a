"""Labels of which OCR misread one character, put right before anything looks for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from rapidfuzz import process
from rapidfuzz.distance import Hamming

from edge.documents.layout import Piece, Row

_WORD = re.compile(r"[\u4e00-\u9fff]{2,40}")
_LONGEST = 10  # characters of a label
_WHOLE = 4  # shorter labels are put right only where nothing but a colon or a bracket follows


def mended(rows: Sequence[Row], labels: Iterable[str], *, shortest: int = 3) -> list[Row]:
    """Put right labels at the beginning of pieces that differ from one of ``labels`` in one character or have one more.

    A character that stands in any label is taken as read: 年均收入 is no misread 月均收入. What could be two labels
    stays as it is, and so do confidences and places.

    Args:
        rows: Of the paper.
        labels: All that such papers carry.
        shortest: In characters; of shorter ones too many words differ by one.
    """
    known = tuple(sorted(set(labels)))
    return [tuple(_mended(piece, known, shortest) for piece in row) for row in rows]


def _mended(piece: Piece, labels: tuple[str, ...], shortest: int) -> Piece:
    word = _WORD.match(piece.text)
    if word is None or len(word[0]) < min(shortest, 3):
        return piece
    if word[0][:-1] in labels and not _is_simplified(word[0][-1]):  # seen in the empty room behind a line
        return replace(piece, text=word[0][:-1] + " " + piece.text[word.end() :])
    alone = piece.text[word.end() : word.end() + 1] in ("", ":", "(", "（")
    right = _label_of(word[0][:_LONGEST], labels, shortest, alone and len(word[0]) <= _LONGEST)
    return replace(piece, text=right + piece.text[len(right) :]) if right else piece


def _is_simplified(character: str) -> bool:
    """Whether papers print it: GB 2312 has every simplified character that is not rare."""
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


@cache
def _sorted_out(labels: tuple[str, ...]) -> tuple[dict[int, list[str]], frozenset[str]]:
    """The labels by length, and all their characters."""
    lengths: dict[int, list[str]] = {}
    for label in labels:
        lengths.setdefault(len(label), []).append(label)
    return lengths, frozenset("".join(labels))


def _label_of(word: str, labels: tuple[str, ...], shortest: int, alone: bool) -> str:
    """The label that ``word`` begins with but for one character; empty if it begins with none, or with a right one."""
    lengths, characters = _sorted_out(labels)
    for length in sorted(lengths, reverse=True):
        start = word[:length]
        if len(start) < length or length < shortest or (length < _WHOLE and not (alone and len(word) == length)):
            continue
        if start in lengths[length]:
            return ""
        found = process.extract(start, lengths[length], scorer=Hamming.distance, score_cutoff=1, limit=2)
        if len(found) == 1:
            label = found[0][0]
            if not any(one != other and one in characters for one, other in zip(start, label, strict=True)):
                return label
    return ""
