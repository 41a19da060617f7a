"""What modules of drawn papers share: their styles by name, a page to begin and to end, and how money is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from examples.documents.sheet import GREY, Sheet

Content = TypeVar("Content")
MARK = "样张：内容纯属虚构"
Styles = Mapping[str, Callable[[Content, np.random.Generator], list[Sheet]]]


def grouped(demo: Styles[Content], styles: Styles[Content], held_out: frozenset[str]) -> dict[str, Styles[Content]]:
    """The styles of one kind of paper by group."""
    return {
        "demo": demo,
        "tuning": {name: draw for name, draw in styles.items() if name not in held_out},
        "held out": {name: draw for name, draw in styles.items() if name in held_out},
    }


def begun(width: int, height: int, title: str, y: float, size: float, font: str = "bold", tracking: float = 0) -> Sheet:
    """A page with its title in the middle."""
    sheet = Sheet(width, height)
    sheet.text(width // 2, y, title, size, font=font, anchor="m", tracking=tracking)
    return sheet


def ended(sheet: Sheet, y: float) -> list[Sheet]:
    """The only page of a paper, marked as invented at its foot."""
    sheet.text(sheet.width // 2, y, MARK, 11, colour=GREY, anchor="m")
    return [sheet]


def yuan(cents: int) -> str:
    """1,234.50."""
    return f"{cents / 100:,.2f}"
