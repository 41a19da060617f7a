"""Where text stands: pieces straightened, gathered into rows, and searched with their places kept.

A page comes as OCR lines or as the text layer of a PDF. A photographed page is turned, a little or upside down, so
pieces are compared along the page's own reading direction; boxes that go out are those that came in.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from edge.documents.extraction import Field, Place
from edge.documents.normalise import half_width
from edge.documents.straighten import straightened
from runtime.ocr.line import Box, Line, reading_axes

Point = tuple[float, float]


@dataclass(frozen=True)
class ReadPage:
    """The lines of one page, with its size in pixels."""

    lines: tuple[Line, ...]
    width: int
    height: int


@dataclass(frozen=True)
class Piece:
    """One line of text.

    Attributes:
        text: With full-width signs as ASCII, one character for one of ``printed``.
        printed: As it was read, which tells how wide each character stands.
        confidence: Of the line.
        page: Index of its page.
        box: As it was read.
        left: With ``right``, ``top`` and ``bottom``: its place along the page's reading direction.
    """

    text: str
    printed: str
    confidence: float
    page: int
    box: Box
    left: float
    right: float
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        """Height of its centre."""
        return (self.top + self.bottom) / 2

    @property
    def height(self) -> float:
        """Height of the line."""
        return self.bottom - self.top

    def part(self, start: int, end: int) -> Piece:
        """The characters ``start`` to ``end``, their place estimated from the widths of characters."""
        widths = [2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in self.printed]
        whole = sum(widths) or 1
        a, b = sum(widths[:start]) / whole, sum(widths[:end]) / whole
        top_left, top_right, bottom_right, bottom_left = self.box
        box = (
            _between(top_left, top_right, a),
            _between(top_left, top_right, b),
            _between(bottom_left, bottom_right, b),
            _between(bottom_left, bottom_right, a),
        )
        span = self.right - self.left
        left, right = self.left + a * span, self.left + b * span
        text, printed = self.text[start:end], self.printed[start:end]
        return Piece(text, printed, self.confidence, self.page, box, left, right, self.top, self.bottom)


Row = tuple[Piece, ...]  # left to right
_LEVEL = 0.55  # pieces are level when their middles are less than this share of the lower one's height apart
_LEADS = 0.2  # in heights: a line of a cell with two that is further off its row does not lead it
_PITCH = 1.25  # in heights: lines of one cell are closer to each other, rows of a table hardly ever
_ZERO = re.compile(r"(?<=[\d.,])[Oo](?=[\d.,])|(?<=\.\d)[Oo](?![A-Za-z])|(?<=\.\d)[Oo](?=[CD]R)")  # an O among digits
_COLUMNS = 5  # of a table at least; labels and values of a form stand by twos and fours
_WORD = re.compile(r"[\u4e00-\u9fff（）()/]{1,8}")
_NEIGHBOURS = 64  # of a piece that are looked at; hostile pages have thousands side by side


def rows_of(pages: Sequence[ReadPage]) -> list[Row]:
    """The rows of all pages, top to bottom."""
    return [row for index, page in enumerate(pages) for row in page_rows(_pieces(index, page.lines))]


def _pieces(page: int, lines: Sequence[Line]) -> list[Piece]:
    if not lines:
        return []
    boxes = np.array([line.box for line in lines], np.float32)  # (N, 4, 2)
    along, down = reading_axes(boxes)
    sides = straightened(boxes @ along, boxes @ down)
    pieces = []
    for line, (left, right, top, bottom) in zip(lines, sides.tolist(), strict=True):
        if printed := line.text.strip():
            text, confidence = _ZERO.sub("0", half_width(printed)).replace("_", " "), line.confidence  # no underlines
            if right < left:  # read on its head, or printed so: what it says cannot be known, but for one character
                left, right, top, bottom = right, left, bottom, top
                if len(text) > 1 or text.isascii():
                    text, confidence = "?" * len(printed), 0.0
            if text == "一" and bottom - top < right - left:  # text layers give the stroke alone; characters are square
                top, bottom = (top + bottom - right + left) / 2, (top + bottom + right - left) / 2
            pieces.append(Piece(text, printed, confidence, page, line.box, left, right, top, bottom))
    return pieces


def page_rows(pieces: list[Piece]) -> list[Row]:
    """Chain pieces from left to right: each joins the row whose last piece is level with it and ends before it.

    Comparing with the last piece rather than the row's mean follows rows that a perspective slants. But a line of a
    cell that has two lies a little above or below its row: it joins, and does not lead the row to its own height.
    """
    stacked = _stacked(pieces)
    chains: list[list[Piece]] = []
    ends: list[tuple[float, int]] = []  # how high each chain has come, sorted, and the chain's index
    for piece in sorted(pieces, key=lambda piece: piece.left):
        reach = _LEVEL * piece.height
        near = range(bisect_left(ends, (piece.middle - reach, -1)), bisect_right(ends, (piece.middle + reach, -1)))
        best, distance = None, math.inf
        for place in near:
            level, index = ends[place]
            last, apart = chains[index][-1], abs(level - piece.middle)
            if apart < min(_LEVEL * last.height, distance) and last.right - piece.left < 0.8 * piece.height:
                best, distance = place, apart
        level = piece.middle
        if best is None:
            chains.append([])
            index = len(chains) - 1
        else:
            before, index = ends.pop(best)
            if id(piece) in stacked and distance > _LEADS * piece.height:
                level = before
        chains[index].append(piece)
        insort(ends, (level, index))
    return [tuple(chain) for chain in sorted(chains, key=lambda chain: median(piece.middle for piece in chain))]


def _stacked(pieces: Sequence[Piece]) -> set[int]:
    """Those (by ``id``) that have another right above or below them, closer than rows of a table stand."""
    ordered = sorted(pieces, key=lambda piece: piece.middle)
    found: set[int] = set()
    for place, piece in enumerate(ordered):
        for other in ordered[place + 1 : place + 1 + _NEIGHBOURS]:
            apart = other.middle - piece.middle
            if apart > _PITCH * piece.height:
                break
            shared = min(piece.right, other.right) - max(piece.left, other.left)
            if apart > 0.5 * piece.height and shared > 0.5 * min(piece.right - piece.left, other.right - other.left):
                found |= {id(piece), id(other)}
    return found


class Flow:
    """Rows as one text for regular expressions, with the way back from characters to places.

    White space inside a piece is dropped. Between pieces stands ``gap``, between rows ``turn``: with a space and a
    line break values end where their piece ends; with nothing at all sentences run on across lines.
    """

    def __init__(self, rows: Sequence[Row], *, gap: str = " ", turn: str = "\n") -> None:
        characters: list[str] = []
        self._origin: list[tuple[Piece, int] | None] = []
        for row in rows:
            for piece in row:
                for index, character in enumerate(piece.text):
                    if not character.isspace():
                        characters.append(character)
                        self._origin.append((piece, index))
                characters.extend(gap)
                self._origin.extend([None] * len(gap))
            if gap:  # the row's last gap gives way to the turn
                del characters[-len(gap) :], self._origin[-len(gap) :]
            characters.extend(turn)
            self._origin.extend([None] * len(turn))
        self.text = "".join(characters)

    def search(self, pattern: str) -> re.Match[str] | None:
        """The first match."""
        return re.search(pattern, self.text)

    def line(self, place: int) -> str:
        """What stands in the row of the character ``place``."""
        return self.text[self.text.rfind("\n", 0, place) + 1 :].partition("\n")[0]

    def pieces(self, start: int, end: int) -> list[Piece]:
        """The parts of pieces under the characters ``start`` to ``end``."""
        spans: list[tuple[Piece, int, int]] = []
        for origin in self._origin[start:end]:
            if origin is None:
                continue
            piece, index = origin
            if spans and spans[-1][0] is piece:
                spans[-1] = (piece, spans[-1][1], index + 1)
            else:
                spans.append((piece, index, index + 1))
        return [piece.part(first, last) for piece, first, last in spans]

    def field(self, match: re.Match[str], group: int | str, value: Any) -> Field:
        """A field whose characters are a group of ``match``."""
        return field_of(value, self.pieces(*match.span(group)))


def field_of(value: Any, pieces: Sequence[Piece]) -> Field:
    """A field read from ``pieces``; its box is around those on the first one's page."""
    place = place_of(pieces)
    return Field(value, min(piece.confidence for piece in pieces), place.box, place.page)


def place_of(pieces: Sequence[Piece]) -> Place:
    """The box around those of ``pieces`` that stand on the first one's page."""
    page = pieces[0].page
    boxes = [piece.box for piece in pieces if piece.page == page]
    return Place(page, boxes[0] if len(boxes) == 1 else around(boxes))


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])


def around(boxes: Sequence[Box]) -> Box:
    """The upright box around all of ``boxes``."""
    xs = [x for box in boxes for x, _ in box]
    ys = [y for box in boxes for _, y in box]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return (left, top), (right, top), (right, bottom), (left, bottom)


def spaced(label: str) -> str:
    """A pattern for a label whose characters may stand apart, as in 姓 名."""
    return r"\s*".join(map(re.escape, label))


def one_of(*labels: str) -> str:
    """A pattern for any of the labels, the longest first."""
    return "(?:" + "|".join(spaced(label) for label in sorted(labels, key=len, reverse=True)) + ")"


class Form:
    """Labels and their values: behind the label, in the next cell, or below it.

    A word is a label where it begins a piece, stands behind something that is no Chinese character (1、姓名), or has a
    colon or brackets behind it; so 我单位 in a sentence is none.

    Args:
        rows: Of the paper.
        labels: Every label that such papers carry: none of them is taken for a value.
    """

    def __init__(self, rows: Sequence[Row], labels: Iterable[str]) -> None:
        self._rows = rows
        self._flow = Flow(rows)
        self._label = re.compile(one_of(*labels) + r"(?:[（(][^）)\n]{0,8}[）)])?\s*:?")
        self._headings = [self._is_heading(row) for row in rows]

    def find(self, labels: Sequence[str], pattern: str) -> tuple[re.Match[str], list[Piece]] | None:
        """The first value of one of ``labels`` that matches ``pattern``, and where it stands."""
        # a label's own brackets may say (元), (盖章), (税后); behind it the same may stand in English
        end = r"(?: *[（(][^）)\n]{0,8}[）)])? *(?:[A-Z][A-Za-z./ ]{1,24}(?=[:\n ]))? *"
        word = rf"(?:{one_of(*labels)}(?:/[\u4e00-\u9fff]{{2,4}})?)"  # 职务/职称
        label = rf"(?:(?<![\u4e00-\u9fff]){word}{end}|(?<!金额){word}{end}(?=:)):? *(?:为|是)? *"
        value = re.compile(pattern)
        for found in re.finditer(label, self._flow.text):
            in_heading = self._headings[self._flow.text.count("\n", 0, found.start())]
            match = None if in_heading else value.match(self._flow.text, found.end())
            if match and not self._label.match(self._flow.text, match.start()):
                return match, self._flow.pieces(*match.span(1))
            for piece in self._below(self._flow.pieces(*found.span())):
                match = value.fullmatch("".join(piece.text.split()))
                if match and not self._label.match(match[0]):
                    return match, [piece]
        return None

    def _is_heading(self, row: Row) -> bool:
        """Whether ``row`` heads columns, as on a payslip: behind a label stands another column's, and no value."""
        words = [piece.text.strip() for piece in row]
        told = sum(self._label.fullmatch(word) is not None for word in words)
        return len(words) >= _COLUMNS and told > 1 and all(_WORD.fullmatch(word) for word in words)

    def _below(self, label: Sequence[Piece]) -> Iterator[Piece]:
        """The piece under a label, at most three lines lower, that begins or is centred where the label is."""
        first = label[0]
        near = [
            piece
            for row in self._rows
            for piece in row
            if piece.page == first.page
            and 0.8 * first.height < piece.middle - first.middle < 3.5 * first.height
            and min(abs(piece.left - first.left), abs(piece.left + piece.right - first.left - label[-1].right) / 2)
            < 1.2 * first.height
        ]
        yield from sorted(near, key=lambda piece: piece.middle)[:1]
