"""Invented papers as lines, the way OCR gives them: no picture, no font, no model."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable

import pytest

from edge.documents.layout import ReadPage
from runtime.ocr.line import Line

Cell = tuple[float, float, str]  # left, top, text
SIZE = 20.0  # pixels of a Chinese character


def _width(text: str) -> float:
    return sum(SIZE if unicodedata.east_asian_width(character) in "WF" else SIZE / 2 for character in text)


def _page(*cells: Cell, turn: float = 0.0, right: bool = False, confidence: float = 0.99) -> ReadPage:
    """A page of 800 x 1200 with one line for each cell.

    Args:
        cells: Where each line begins; with ``right`` where it ends.
        turn: Degrees, clockwise about the centre.
        right: Lines end at their x.
        confidence: Of every line.
    """
    angle = math.radians(turn)
    cos, sin = math.cos(angle), math.sin(angle)

    def turned(x: float, y: float) -> tuple[float, float]:
        return 400 + (x - 400) * cos - (y - 600) * sin, 600 + (x - 400) * sin + (y - 600) * cos

    lines = []
    for x, y, text in cells:
        left = x - _width(text) if right else x
        end = left + _width(text)
        box = (turned(left, y), turned(end, y), turned(end, y + SIZE), turned(left, y + SIZE))
        lines.append(Line(text, confidence, box))
    return ReadPage(tuple(lines), 800, 1200)


@pytest.fixture
def page() -> Callable[..., ReadPage]:
    """Builds a page from (x, y, text) cells."""
    return _page
