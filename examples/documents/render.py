"""Papers as pictures with their truth: the one place that callers need.

Each function returns a :class:`Rendering` (or one for each page): the picture, the text lines with their boxes, and the
fields in the contract's names and formats. :mod:`examples.documents.damage` makes a phone picture of one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from examples.documents import damage, idcard, income, statement
from examples.documents.sheet import Line, Sheet, write_pdf


@dataclass(frozen=True)
class Rendering:
    """A drawn paper.

    Attributes:
        picture: RGB.
        lines: Every text on it, boxes in pixels.
        fields: What a reader should find, as the contract names it; empty for papers the contract does not know.
    """

    picture: Image.Image
    lines: tuple[Line, ...]
    fields: dict[str, Any]

    def photographed(self, rng: np.random.Generator, *, strength: float = 1.0) -> Rendering:
        """Return the same paper as a phone sees it."""
        picture, lines = damage.phone(self.picture, self.lines, rng, strength=strength)
        return replace(self, picture=picture, lines=lines)


def render_sheet(sheet: Sheet, *, scale: float = 1.0, fields: dict[str, Any] | None = None) -> Rendering:
    """Draw any sheet."""
    picture, lines = sheet.picture(scale)
    return Rendering(picture, lines, fields or {})


def render_id_card(card: idcard.IdCard, *, layout: str, sides: str = "both", scale: float = 1.0) -> Rendering:
    """Draw an identity card; ``fields`` are those that the drawn sides carry."""
    fields = card.fields()
    if sides != "both":
        front = sides == "front"
        fields = {name: value for name, value in fields.items() if (name in idcard.FRONT_FIELDS) == front}
    return render_sheet(idcard.sheet_of(card, layout, sides), scale=scale, fields=fields)


def render_income_proof(proof: income.IncomeProof, *, layout: str, scale: float = 1.0) -> Rendering:
    """Draw an income proof."""
    return render_sheet(income.sheet_of(proof, layout), scale=scale, fields=proof.fields())


def render_statement(
    account: statement.Statement, *, layout: str, rows_per_page: int = 28, cut: bool = False, scale: float = 1.0
) -> list[Rendering]:
    """Draw the pages of a statement; each carries the fields of the whole."""
    pages = statement.sheets_of(account, layout, rows_per_page=rows_per_page, cut=cut)
    return [render_sheet(page, scale=scale, fields=account.fields()) for page in pages]


def write_statement(account: statement.Statement, path: Path, *, layout: str, rows_per_page: int = 28) -> None:
    """Write a statement as a PDF with a text layer."""
    pages = statement.sheets_of(account, layout, rows_per_page=rows_per_page)
    write_pdf(pages, path, title="样张：账户交易明细")
