"""What a module of drawn papers gives: its styles by name, and which of them nobody tuned the reading on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from examples.documents.sheet import Sheet

Content = TypeVar("Content")
Styles = Mapping[str, Callable[[Content, np.random.Generator], list[Sheet]]]


def grouped(demo: Styles[Content], styles: Styles[Content], held_out: frozenset[str]) -> dict[str, Styles[Content]]:
    """The styles of one kind of paper by group."""
    return {
        "demo": demo,
        "tuning": {name: draw for name, draw in styles.items() if name not in held_out},
        "held out": {name: draw for name, draw in styles.items() if name in held_out},
    }
