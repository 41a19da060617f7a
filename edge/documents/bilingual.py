"""Labels that stand in two languages, one above the other: 姓名 over *Name* is one label of two lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from edge.documents.layout import Piece, Row, around, one_of, page_rows

_ENGLISH = re.compile(r"[A-Za-z][A-Za-z .,/&'()（）-]{1,38}[.:]?")  # no digits: an amount in the column is a value
_BELOW = 2.4  # in heights of the upper line: their middles are closer
# what employers print beside or below a label; OCR may lose the spaces
_LABELS = re.compile(
    r"(?i)(?:full|staff|employee)?name(?:ofemployee)?|positions?|(?:job)?title|post|occupation|employer|(?:nameof)?"
    r"company|companyname|employername|department|sex|gender|nationality|id(?:card)?(?:no|number)|"
    r"(?:average|gross|net)?(?:monthly|annual)(?:income|salary)(?:\(\w+\))?|salary|income|dateof\w{3,8}|issued?date|date"
)


def is_label(text: str) -> bool:
    """Whether ``text`` is nothing but an English label, and so no value."""
    return _LABELS.fullmatch(re.sub(r"[\s.:]", "", text)) is not None


def paired(rows: Sequence[Row], labels: Iterable[str]) -> list[Row]:
    """The rows anew, with a label and the English below it as one piece, level with the value beside both.

    Args:
        rows: Of the paper.
        labels: All that such papers carry.
    """
    label = re.compile(one_of(*labels) + r"\s*(?:[（(][^）)]{0,8}[）)])?\s*:?")
    pieces = [piece for row in rows for piece in row]
    below = {id(piece): piece for piece in pieces if _ENGLISH.fullmatch(piece.text.strip())}
    if not below:
        return list(rows)
    beside = {id(piece) for row in rows for piece in row[:-1]}
    whole = []
    for piece in pieces:
        under = next((each for each in below.values() if _is_under(each, piece)), None)
        if under is not None and label.fullmatch(piece.text.strip()):
            del below[id(under)]
            if id(piece) in beside:  # its value is level with it already
                whole.append((piece, piece))
                continue
            box = around((piece.box, under.box))
            right = max(piece.right, under.right)
            whole.append((piece, replace(piece, box=box, right=right, bottom=under.bottom)))
        else:
            whole.append((piece, piece))
    english = {id(piece) for piece in pieces if _ENGLISH.fullmatch(piece.text.strip())} - below.keys()
    if not english:
        return list(rows)
    pages = sorted({piece.page for piece in pieces})
    kept = [new for old, new in whole if id(old) not in english]
    return [row for page in pages for row in page_rows([piece for piece in kept if piece.page == page])]


def _is_under(lower: Piece, upper: Piece) -> bool:
    aside = min(abs(lower.left - upper.left), abs(lower.left + lower.right - upper.left - upper.right) / 2)
    apart = lower.middle - upper.middle
    return lower.page == upper.page and 0.5 * upper.height < apart < _BELOW * upper.height and aside < upper.height
