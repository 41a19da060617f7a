"""Invented identity cards: marked 样张SPECIMEN, a grey outline for a portrait, a region code that nobody has.

Region 999999 is assigned to no place, so a number that starts with it belongs to nobody; its check character is
valid all the same (GB 11643-1999), because a reader of real cards checks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from examples.documents.sheet import RED, Colour, Sheet

WIDTH, HEIGHT = 640, 404  # the proportions of ISO/IEC 7810 ID-1

LAYOUTS = ("standard", "mirrored")

_LABEL: Colour = (58, 96, 150)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"


def check_character(first17: str) -> str:
    """Return the 18th character of an ID number (GB 11643-1999: ISO 7064, MOD 11-2)."""
    return _CHECKS[sum(w * int(c) for w, c in zip(_WEIGHTS, first17, strict=True)) % 11]


def id_number(birth: date, sequence: int, *, region: str = "999999") -> str:
    """Return a number of the unassigned region; an odd ``sequence`` means male."""
    first17 = f"{region}{birth:%Y%m%d}{sequence:03d}"
    return first17 + check_character(first17)


@dataclass(frozen=True)
class IdCard:
    """What a card says."""

    name: str
    birth_date: date
    address: str
    id_number: str
    issuing_authority: str
    valid_from: date
    valid_until: date
    ethnicity: str = "汉"

    @property
    def sex(self) -> str:
        """男 or 女, as the 17th digit of the number says."""
        return "男" if int(self.id_number[16]) % 2 else "女"

    def fields(self) -> dict[str, str]:
        """The fields as the contract names them."""
        return {
            "name": self.name,
            "sex": self.sex,
            "ethnicity": self.ethnicity,
            "birth_date": self.birth_date.isoformat(),
            "address": self.address,
            "id_number": self.id_number,
            "issuing_authority": self.issuing_authority,
            "valid_from": self.valid_from.isoformat(),
            "valid_until": self.valid_until.isoformat(),
        }


FRONT_FIELDS = ("name", "sex", "ethnicity", "birth_date", "address", "id_number")


def draw_front(sheet: Sheet, card: IdCard, layout: str, x: float, y: float) -> None:
    """Draw the side with the name; (x, y) is its top left corner on ``sheet``."""
    _plate(sheet, x, y, (226, 236, 243))
    mirrored = layout == "mirrored"
    left = x + (230 if mirrored else 40)
    _silhouette(sheet, x + (36 if mirrored else 440), y + 66)

    def pair(px: float, py: float, label: str, value: str, size: float = 21, gap: float = 14) -> None:
        sheet.text(px, py, label, 17, colour=_LABEL)
        sheet.text(px + 17 * len(label) + gap, py, value, size, joins=True)

    pair(left, y + 66, "姓名", card.name, 24)
    pair(left, y + 112, "性别", card.sex)
    pair(left + 140, y + 112, "民族", card.ethnicity)
    born = card.birth_date
    sheet.text(left, y + 158, "出生", 17, colour=_LABEL)
    px = left + 48
    for value, unit in ((str(born.year), "年"), (str(born.month), "月"), (str(born.day), "日")):
        sheet.text(px, y + 158, value, 20, joins=True)
        px += 11.5 * len(value) + 7
        sheet.text(px, y + 158, unit, 17, colour=_LABEL, joins=True)
        px += 25
    address = _wrapped(card.address, 11)
    pair(left, y + 206, "住址", address[0], 20)
    for number, part in enumerate(address[1:], start=1):
        sheet.text(left + 48, y + 206 + 31 * number, part, 20)
    sheet.text(x + 40, y + 348, "公民身份号码", 17, colour=_LABEL)
    sheet.text(x + 40 + 17 * 6 + 28, y + 348, card.id_number, 24, tracking=2.5)
    sheet.text(x + 24, y + 28, "样张SPECIMEN", 14, font="bold", colour=RED)


def _wrapped(text: str, width: int) -> list[str]:
    """Break ``text`` into lines of ``width`` Chinese characters; two digits take the room of one."""
    lines, room = [""], float(width)
    for character in text:
        needed = 0.5 if character.isascii() else 1.0
        if room < needed:
            lines.append("")
            room = width
        lines[-1] += character
        room -= needed
    return lines


def draw_back(sheet: Sheet, card: IdCard, layout: str, x: float, y: float) -> None:
    """Draw the side with the authority and the period of validity."""
    _plate(sheet, x, y, (238, 234, 224))
    sheet.ellipse(x + 50, y + 50, x + 150, y + 150, fill=(226, 200, 196), outline=(206, 160, 156), width=3)
    sheet.text(x + 370, y + 96, "中华人民共和国", 27, font="bold", anchor="m", tracking=6)
    sheet.text(x + 370, y + 160, "居民身份证", 40, font="bold", anchor="m", tracking=10)
    left = x + (90 if layout == "mirrored" else 150)
    period = f"{card.valid_from:%Y.%m.%d}-{card.valid_until:%Y.%m.%d}"
    for py, label, value in ((y + 280, "签发机关", card.issuing_authority), (y + 336, "有效期限", period)):
        sheet.text(left, py, label, 19, font="bold")
        sheet.text(left + 4 * 19 + 10, py, value, 20, joins=True)
    sheet.text(x + 24, y + 28, "样张SPECIMEN", 14, font="bold", colour=RED)


def _plate(sheet: Sheet, x: float, y: float, colour: Colour) -> None:
    sheet.rectangle(x, y, x + WIDTH, y + HEIGHT, fill=colour, outline=(170, 178, 186), width=2)
    paler: Colour = (min(255, colour[0] + 6), min(255, colour[1] + 5), min(255, colour[2] + 5))
    for step in range(12, HEIGHT - 8, 16):
        sheet.line(x + 6, y + step, x + WIDTH - 6, y + step, colour=paler, width=5)


def _silhouette(sheet: Sheet, x: float, y: float) -> None:
    """A grey nobody instead of a portrait."""
    sheet.rectangle(x, y, x + 160, y + 200, fill=(212, 218, 223))
    sheet.ellipse(x + 48, y + 34, x + 112, y + 108, fill=(158, 165, 172))
    sheet.ellipse(x + 22, y + 120, x + 138, y + 194, fill=(158, 165, 172))


def sheet_of(card: IdCard, layout: str, sides: str) -> Sheet:
    """Return a sheet with ``sides`` of the card: ``front``, ``back``, or ``both`` one above the other.

    Raises:
        ValueError: Unknown layout or sides.
    """
    if layout not in LAYOUTS or sides not in ("front", "back", "both"):
        raise ValueError(f"no layout {layout} with sides {sides}; layouts are {LAYOUTS}")
    if sides == "both":
        sheet = Sheet(WIDTH + 80, 2 * HEIGHT + 130, paper=(248, 248, 246))
        draw_front(sheet, card, layout, 40, 40)
        draw_back(sheet, card, layout, 40, HEIGHT + 80)
        return sheet
    sheet = Sheet(WIDTH, HEIGHT)
    (draw_front if sides == "front" else draw_back)(sheet, card, layout, 0, 0)
    return sheet
