"""What the documents are measured on: invented applications, drawn in many styles, damaged by a phone, some forged.

Three groups of styles: ``demo`` are the demonstration's own renderers; ``tuning`` and ``held out`` are drawn here. The
reading of documents was mended by looking at the first two; what the third showed is told in docs/benchmarks.md.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import scoring_cards as cards
from benchmarks import scoring_proofs as proofs
from benchmarks import scoring_statements as statements
from benchmarks.scoring_styles import grouped
from examples.documents import idcard, income, invent, statement
from examples.documents.damage import phone
from examples.documents.idcard import IdCard
from examples.documents.income import IncomeProof
from examples.documents.sheet import Sheet
from examples.documents.statement import Row, Statement

Picture = NDArray[np.uint8]  # (H, W, 3) BGR
GROUPS = ("demo", "tuning", "held out")
TODAY = date(2026, 11, 21)
_JPEG = 40
_DPI = 180  # at which the kit draws the pages of a PDF: no pixel is lost
_SCALE = 2.2  # pixels to the point: an A4 page of 1,309 x 1,852

CARDS = grouped(
    {
        "standard": lambda card, rng: [idcard.sheet_of(card, "standard", "both")],
        "mirrored": lambda card, rng: [idcard.sheet_of(card, "mirrored", "both")],
    },
    cards.STYLES,
    cards.HELD_OUT,
)
PROOFS = grouped(
    {
        "letter": lambda proof, rng: [income.sheet_of(proof, "letter")],
        "form": lambda proof, rng: [income.sheet_of(proof, "form")],
    },
    proofs.STYLES,
    proofs.HELD_OUT,
)
STATEMENTS = grouped(
    {
        "signed": lambda account, rng: statement.sheets_of(account, "signed"),
        "two columns": lambda account, rng: statement.sheets_of(account, "two_columns"),
    },
    statements.STYLES,
    statements.HELD_OUT,
)


@dataclass(frozen=True)
class Person:
    """One applicant's three papers as they should be."""

    card: IdCard
    proof: IncomeProof
    account: Statement


@dataclass(frozen=True)
class Paper:
    """One drawn document.

    Attributes:
        kind: As the contract names it.
        style: Of the drawing.
        sheets: Its pages.
        fields: What a reader should find.
        person: Whose application it belongs to, as papers that nobody changed would say.
        shown: What the papers say, one of them changed where ``forgery`` tells how.
        forgery: What was changed; empty for an honest one.
    """

    kind: str
    style: str
    sheets: tuple[Sheet, ...]
    fields: dict[str, Any]
    person: Person
    shown: Person
    forgery: str = ""


FORGERIES = ("changed amount", "changed income", "broken balance", "swapped name", "bad checksum")
_WHERE = {
    "changed amount": "bank_statement",
    "changed income": "income_proof",
    "broken balance": "bank_statement",
    "swapped name": "any",
    "bad checksum": "id_card",
}
_SPENDING = (
    ("消费", "示例超市"),
    ("网上支付", "示例商城"),
    ("转账支出", "示例丙"),
    ("水电煤", "虚构水务有限责任公司"),
    ("话费", "样例通信"),
    ("取现", "自助设备"),
    ("房租", "房东示例庚"),
    ("贷款还款", "虚构速贷网络小额贷款公司"),
    ("快捷支付", "样例生鲜配送服务部"),
)


def person(rng: np.random.Generator) -> Person:
    """Three papers that agree with each other, and that a bank would accept on ``TODAY``."""
    card = invent.card(rng)
    card = replace(card, valid_from=card.valid_from.replace(year=max(2012, card.valid_from.year)))
    income_cents = int(rng.integers(35, 320)) * 10_000  # whole hundreds of yuan, so that 1.23万元 is exact
    proof = replace(
        invent.proof(rng),
        name=card.name,
        id_number=card.id_number,
        monthly_income=income_cents,
        issue_date=TODAY - timedelta(days=int(rng.integers(1, 28))),
    )
    return Person(card, proof, _account(rng, proof))


def _account(rng: np.random.Generator, proof: IncomeProof) -> Statement:
    """A hundred days of an account, a salary on the tenth of every month."""
    end = TODAY - timedelta(days=int(rng.integers(1, 12)))
    begin = end - timedelta(days=int(rng.integers(95, 125)))
    paydays = [day for day in (begin + timedelta(days=n) for n in range((end - begin).days + 1)) if day.day == 10]
    moves = [(day, "工资", proof.employer, proof.monthly_income) for day in paydays]
    for _ in range(int(rng.integers(14, 34))):
        day = begin + timedelta(days=int(rng.integers((end - begin).days + 1)))
        moves.append((day, *_SPENDING[int(rng.integers(len(_SPENDING)))], -int(rng.lognormal(9.6, 1.0)) - 100))
    balance, rows = int(rng.integers(2_000_000, 5_000_000)), []
    for day, summary, counterparty, amount in sorted(moves, key=lambda move: move[0]):
        balance += amount
        rows.append(Row(day, summary, counterparty, amount, balance))
    return Statement(invent.pick(invent.BANKS, rng), proof.name, invent.account_number(rng), begin, end, tuple(rows))


def papers(group: str, number: int, seed: int, *, forge: bool = False) -> Iterator[Paper]:
    """``number`` applications of three papers, every style of ``group`` in turn; where ``forge``, one paper of each."""
    for index in range(number):
        rng = np.random.default_rng([seed, index])
        honest = person(rng)
        forgery = FORGERIES[index % len(FORGERIES)] if forge else ""
        target = _WHERE.get(forgery, "")
        if target == "any":
            target = tuple(STYLES_OF)[index % 3]
        for kind, drawn in STYLES_OF.items():
            forged = _forged(honest, forgery, kind, rng) if kind == target else None
            if forge and forged is None:
                continue
            names = list(drawn[group])
            style = names[(index // len(FORGERIES) if forge else index) % len(names)]
            yield _paper(kind, group, style, forged or honest, honest, forgery if forged else "", rng)


STYLES_OF: dict[str, Any] = {"id_card": CARDS, "income_proof": PROOFS, "bank_statement": STATEMENTS}


def _paper(
    kind: str, group: str, style: str, shown: Person, honest: Person, forgery: str, rng: np.random.Generator
) -> Paper:
    fields: dict[str, Any]
    if kind == "id_card":
        sheets, fields = CARDS[group][style](shown.card, rng), dict(shown.card.fields())
        if style == "side by side":
            fields["valid_until"] = cards.FOR_GOOD.isoformat()
    elif kind == "income_proof":
        sheets, fields = PROOFS[group][style](shown.proof, rng), dict(shown.proof.fields())
    else:
        sheets, fields = STATEMENTS[group][style](shown.account, rng), dict(shown.account.fields())
        if style == "newest first":
            fields["rows"] = fields["rows"][::-1]
    return Paper(kind, style, tuple(sheets), fields, honest, shown, forgery)


def _forged(honest: Person, forgery: str, kind: str, rng: np.random.Generator) -> Person | None:
    """What stands on the forged paper of ``kind``."""
    if forgery == "bad checksum":
        number = honest.card.id_number
        place = int(rng.integers(14, 17))
        digit = str((int(number[place]) + int(rng.integers(1, 10))) % 10)
        return replace(honest, card=replace(honest.card, id_number=number[:place] + digit + number[place + 1 :]))
    if forgery == "changed income":  # the digits and the capitals agree: only other papers give it away
        cents = honest.proof.monthly_income * int(rng.integers(15, 30)) // 10
        return replace(honest, proof=replace(honest.proof, monthly_income=cents - cents % 10_000))
    if forgery == "swapped name":
        other = next(name for name in iter(lambda: invent.name(rng), "") if name != honest.card.name)
        return Person(
            replace(honest.card, name=other),
            replace(honest.proof, name=other),
            replace(honest.account, account_name=other),
        )
    rows = list(honest.account.rows)
    place = int(rng.integers(1, len(rows) - 1))
    row = rows[place]
    if forgery == "changed amount":
        rows[place] = replace(row, amount=row.amount * int(rng.integers(2, 9)))
    else:
        rows[place] = replace(row, balance=row.balance + int(rng.integers(1, 90)) * 100_00)
    return replace(honest, account=replace(honest.account, rows=tuple(rows)))


def pictures(paper: Paper, rng: np.random.Generator, *, damaged: bool, scale: float = _SCALE) -> list[Picture]:
    """The pages as a scanner or as a phone gives them: turned, tilted, shadowed, blurred, noisy, JPEG quality 40."""
    return [photographed(sheet, rng, damaged=damaged, scale=scale) for sheet in paper.sheets]


def photographed(sheet: Sheet, rng: np.random.Generator, *, damaged: bool, scale: float) -> Picture:
    """One page of ``pictures``."""
    drawn, lines = sheet.picture(scale)
    if not damaged:
        return np.asarray(drawn)[:, :, ::-1].copy()
    drawn, _ = phone(drawn, lines, rng, strength=float(rng.uniform(0.7, 1.7)))
    page = np.asarray(drawn)[:, :, ::-1].copy()
    if rng.random() < 0.15:
        page = np.rot90(page, int(rng.integers(1, 4))).copy()
    _, encoded = cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, _JPEG])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def scan_of(pages: Sequence[Picture]) -> bytes:
    """A PDF of pictures, as scanners and phones make them of several pages."""
    file, (first, *others) = io.BytesIO(), [Image.fromarray(page[:, :, ::-1]) for page in pages]
    first.save(file, "PDF", save_all=True, append_images=others, resolution=_DPI, quality=85)
    return file.getvalue()
