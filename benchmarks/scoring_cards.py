"""Identity cards drawn in ways that the demonstration's renderers do not know: copies, single sides, other labels.

Everything on them is invented and says so; see ``examples/documents/README.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from benchmarks.scoring_styles import Styles
from examples.documents.idcard import IdCard
from examples.documents.sheet import GREY, RED, Colour, Sheet

FOR_GOOD = date(9999, 12, 31)  # what a card that is valid 长期 stands for
_INK: Colour = (40, 40, 44)
_W, _H = 640, 404


@dataclass(frozen=True)
class _Hand:
    """How one printer sets a card: fonts, spacing of labels, and where things begin."""

    label_font: str
    font: str
    label_colour: Colour
    spaced: bool
    left: float
    size: float
    plate: Colour


def photocopy(card: IdCard, rng: np.random.Generator) -> list[Sheet]:
    """Both sides on one grey A4 copy, with the remark that people write on copies."""
    hand = _Hand("serif", "serif", _INK, False, 40, 22, (238, 238, 238))
    sheet = Sheet(760, 1075)
    x, y = 60 + float(rng.uniform(-12, 12)), 70 + float(rng.uniform(-12, 12))
    _front(sheet, card, hand, x, y)
    _back(sheet, card, hand, x, y + 470)
    sheet.text(380, 1000, "此复印件仅供办理贷款使用，再次复印无效", 18, font="serif", anchor="m")
    return [sheet]


def two_pictures(card: IdCard, rng: np.random.Generator) -> list[Sheet]:
    """The front on one page and the back on the next."""
    hand = _Hand("bold", "bold", (30, 110, 150), False, 52, 21, (222, 234, 238))
    front, back = Sheet(_W + 60, _H + 60, paper=(90, 84, 80)), Sheet(_W + 60, _H + 60, paper=(90, 84, 80))
    offset = float(rng.uniform(20, 40))
    _front(front, card, hand, offset, 30)
    _back(back, card, hand, 30, offset)
    return [front, back]


def side_by_side(card: IdCard, rng: np.random.Generator) -> list[Sheet]:
    """Front and back beside each other, labels set apart, valid for good."""
    hand = _Hand("regular", "serif", (70, 70, 120), True, 34, 20, (236, 240, 228))
    sheet = Sheet(2 * _W + 120, _H + 90)
    y = 40 + float(rng.uniform(-8, 8))
    _front(sheet, replace(card, valid_until=FOR_GOOD), hand, 40, y)
    _back(sheet, replace(card, valid_until=FOR_GOOD), hand, _W + 80, y)
    return [sheet]


def temporary(card: IdCard, rng: np.random.Generator) -> list[Sheet]:
    """Everything on one side, with colons, as temporary papers are."""
    sheet = Sheet(720, 560, paper=(250, 246, 232))
    sheet.text(360, 62, "临时居民身份证", 30, font="serif_bold", anchor="m", tracking=4)
    period = f"{card.valid_from:%Y年%m月%d日}至{card.valid_until:%Y年%m月%d日}"
    born = card.birth_date
    y, left = 118 + float(rng.uniform(-4, 4)), 56 + float(rng.uniform(-6, 6))
    lines = (
        ((0, f"姓名：{card.name}"), (250, f"性别：{card.sex}"), (420, f"民族：{card.ethnicity}")),
        ((0, f"出生：{born.year}年{born.month:02d}月{born.day:02d}日"),),
        ((0, f"住址：{card.address}"),),
        ((0, f"公民身份号码：{card.id_number}"),),
        ((0, f"签发机关：{card.issuing_authority}"),),
        ((0, f"有效期限：{period}"),),
    )
    for number, cells in enumerate(lines):
        for shift, text in cells:
            sheet.text(left + shift, y + 58 * number, text, 19, font="serif_bold")
    sheet.text(40, 530, "样张SPECIMEN", 14, font="bold", colour=RED)
    return [sheet]


def enlarged(card: IdCard, rng: np.random.Generator) -> list[Sheet]:
    """Both sides on white, set larger and in bold, the back first."""
    hand = _Hand("regular", "serif_bold", (90, 60, 60), True, 48, 25, (252, 252, 250))
    sheet = Sheet(_W + 160, 2 * _H + 160, paper=(252, 252, 250))
    x = 80 + float(rng.uniform(-20, 20))
    _back(sheet, card, hand, x, 50)
    _front(sheet, card, hand, x, _H + 100)
    return [sheet]


def pale_copy(card: IdCard, rng: np.random.Generator) -> list[Sheet]:
    """A faint copy of both sides side by side, wide apart, small print, a remark across the foot."""
    hand = _Hand("serif", "regular", (120, 120, 124), True, 60, 19, (250, 250, 250))
    sheet = Sheet(2 * _W + 320, _H + 170)
    y = 40 + float(rng.uniform(-10, 10))
    _back(sheet, card, hand, 40, y)
    _front(sheet, card, hand, _W + 240, y)
    sheet.text(_W + 160, _H + 130, "仅供办理贷款审核使用，他用无效", 20, font="serif", colour=GREY, anchor="m")
    return [sheet]


def any_front(card: IdCard, rng: np.random.Generator) -> Sheet:
    """A front alone in a hand that chance picks: fonts, spacing, size, colour and where things begin."""
    fonts = ("regular", "bold", "serif", "serif_bold")
    label_font, font = (fonts[int(rng.integers(len(fonts)))] for _ in range(2))
    ink: Colour = (int(rng.integers(20, 110)), int(rng.integers(20, 110)), int(rng.integers(20, 160)))
    plate: Colour = tuple(int(each) for each in rng.integers(222, 252, 3))  # type: ignore[assignment]
    hand = _Hand(
        label_font, font, ink, bool(rng.integers(2)), float(rng.uniform(30, 60)), float(rng.uniform(19, 25)), plate
    )
    sheet = Sheet(_W + 60, _H + 60, paper=(96, 92, 88))
    _front(sheet, card, hand, float(rng.uniform(15, 45)), float(rng.uniform(15, 45)))
    return sheet


def _front(sheet: Sheet, card: IdCard, hand: _Hand, x: float, y: float) -> None:
    sheet.rectangle(x, y, x + _W, y + _H, fill=hand.plate, outline=GREY)
    sheet.rectangle(x + 440, y + 66, x + 600, y + 266, fill=(205, 205, 205))
    left, size = x + hand.left, hand.size

    def pair(px: float, py: float, label: str, value: str) -> None:
        shown = f"{label[0]} {label[1]}" if hand.spaced and len(label) == 2 else label
        sheet.text(px, py, shown, size - 4, font=hand.label_font, colour=hand.label_colour)
        sheet.text(px + 66, py, value, size, font=hand.font)

    pair(left, y + 68, "姓名", card.name)
    pair(left, y + 116, "性别", card.sex)
    pair(left + 150, y + 116, "民族", card.ethnicity)
    pair(left, y + 164, "出生", f"{card.birth_date.year} 年 {card.birth_date.month} 月 {card.birth_date.day} 日")
    pair(left, y + 212, "住址", card.address[:13])
    for number in range(1, -(-len(card.address) // 13)):
        sheet.text(left + 66, y + 212 + 32 * number, card.address[13 * number : 13 * number + 13], size, font=hand.font)
    label = "公民身份号码"
    sheet.text(left, y + 352, label, size - 4, font=hand.label_font, colour=hand.label_colour)
    sheet.text(left + (size - 4) * 6 + 24, y + 352, card.id_number, size + 3, font=hand.font, tracking=1.5)
    sheet.text(x + 24, y + 28, "样张SPECIMEN", 14, font="bold", colour=RED)


def _back(sheet: Sheet, card: IdCard, hand: _Hand, x: float, y: float) -> None:
    sheet.rectangle(x, y, x + _W, y + _H, fill=hand.plate, outline=GREY)
    sheet.ellipse(x + 50, y + 50, x + 150, y + 150, outline=GREY, width=3)
    sheet.text(x + 370, y + 96, "中华人民共和国", 26, font="serif_bold", anchor="m", tracking=5)
    sheet.text(x + 370, y + 160, "居民身份证", 38, font="serif_bold", anchor="m", tracking=8)
    until = "长期" if card.valid_until == FOR_GOOD else f"{card.valid_until:%Y.%m.%d}"
    for py, label, value in (
        (y + 282, "签发机关", card.issuing_authority),
        (y + 338, "有效期限", f"{card.valid_from:%Y.%m.%d}-{until}"),
    ):
        sheet.text(x + 130, py, label, hand.size - 3, font="bold")
        sheet.text(x + 130 + 4 * (hand.size - 3) + 20, py, value, hand.size - 1, font=hand.font)
    sheet.text(x + 24, y + 28, "样张SPECIMEN", 14, font="bold", colour=RED)


STYLES: Styles[IdCard] = {
    "photocopy": photocopy,
    "two pictures": two_pictures,
    "side by side": side_by_side,
    "temporary": temporary,
    "enlarged": enlarged,
    "pale copy": pale_copy,
}
HELD_OUT = frozenset({"pale copy"})
