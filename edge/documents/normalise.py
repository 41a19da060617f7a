"""Dates, amounts and digits as papers write them, turned into values; what is ambiguous becomes None.

Every function here keeps the rule that a value is read or not read, never guessed.
"""

from __future__ import annotations

import re
from datetime import date

# full-width forms FF01..FF5E lie 0xFEE0 above ASCII (Unicode, Halfwidth and Fullwidth Forms); parentheses stay, since
# names of companies are written with them
_HALF = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in "（）"}
_HALF |= {0x3000: ord(" "), ord("￥"): ord("¥"), ord("—"): ord("-"), ord("–"): ord("-"), ord("−"): ord("-")}

DATE = r"(?:(?:19|20)\d{2}\s*[年./-]\s*\d{1,2}\s*[月./-]\s*\d{1,2}(?!\d)\s*日?|(?<!\d)(?:19|20)\d{6}(?!\d))"
AMOUNT = r"[+-]?\s*¥?\s*[+-]?\d(?:[\d,.]{0,20}\d)?\s*万?"  # bounded: text layers of hostile PDFs hold anything
ID_NUMBER = r"(?<!\d)(?:\d[ ]?){17}[\dXx](?!\d)"
CAPITALS = r"[零〇壹贰叁肆伍陆柒捌玖拾][零〇壹贰叁肆伍陆柒捌玖拾佰仟百千万亿]*[元圆][零〇壹贰叁肆伍陆柒捌玖角分整正]*"

_PLAIN_AMOUNT = re.compile(r"\d+(?:\.\d{1,2})?")
# a point and a comma look alike to OCR; three digits behind one are a group, two are cents
_GROUPED_AMOUNT = re.compile(r"(\d{1,3}(?:[,.]\d{3})+)(?:\.(\d{1,2})|,(\d{2}))?")

_CAPITAL_DIGITS = {digit: value for value, digit in enumerate("零壹贰叁肆伍陆柒捌玖")} | {"〇": 0}
_CAPITAL_UNITS = {"拾": 10, "佰": 100, "百": 100, "仟": 1000, "千": 1000}
_CAPITAL_GROUPS = {"万": 10**4, "亿": 10**8}


def half_width(text: str) -> str:
    """Full-width letters, digits and signs as ASCII, one character for one."""
    return text.translate(_HALF)


def parse_date(text: str) -> str | None:
    """ISO 8601 of 2026年1月3日, 2026-01-03, 2026.1.3, 2026/01/03 or 20260103; None if there is no such day."""
    digits = re.findall(r"\d+", half_width(text))
    if len(digits) == 1 and len(digits[0]) == 8:
        digits = [digits[0][:4], digits[0][4:6], digits[0][6:]]
    if len(digits) != 3:
        return None
    try:
        return date(*map(int, digits)).isoformat()
    except ValueError:
        return None


def parse_amount(text: str) -> float | None:
    """Yuan of 12,000.00, ¥12000, 1.2万元, -35.5 or （35.50）.

    A comma read as a point (12.000.00) is understood; 1.234 alone could be either and is None.
    """
    plain = re.sub(r"[\s¥元]|人民币|CNY|RMB", "", half_width(text))
    plain = re.sub(r"^一(?=\d)", "-", plain)  # a long minus read as the character for one
    bracketed = re.fullmatch(r"[（(](.+)[)）]", plain)  # accountants write money out in brackets
    if bracketed:
        plain = "-" + bracketed[1]
    sign = -1.0 if plain.startswith("-") else 1.0
    plain = plain.lstrip("+-")
    if plain.endswith("万"):
        number = re.fullmatch(r"\d+(?:\.\d+)?", plain[:-1])
        return sign * round(float(number[0]) * 10_000, 2) if number else None
    if _PLAIN_AMOUNT.fullmatch(plain):
        return sign * float(plain) + 0.0
    grouped = _GROUPED_AMOUNT.fullmatch(plain)
    if grouped is None or re.fullmatch(r"\d+\.\d{3}", plain):
        return None
    return sign * float(re.sub(r"[,.]", "", grouped[1]) + "." + (grouped[2] or grouped[3] or "0")) + 0.0


def parse_capitals(text: str) -> float | None:
    """Yuan of an amount in banker's capitals, 壹万贰仟元伍角整 is 12000.5; None if it does not parse."""
    match = re.fullmatch(r"([^元圆]+)[元圆](?:(.)角)?零?(?:(.)分)?[整正]?", text)
    if match is None:
        return None
    yuan = _capital_integer(match[1])
    jiao, fen = (_CAPITAL_DIGITS.get(match[place] or "零") for place in (2, 3))
    if yuan is None or jiao is None or fen is None:
        return None
    return round(yuan + jiao / 10 + fen / 100, 2)


def _capital_integer(text: str) -> int | None:
    total = group = digit = 0  # finished groups of four places, the group under way, the last digit
    for character in text:
        if character in _CAPITAL_DIGITS:
            digit = _CAPITAL_DIGITS[character]
        elif character in _CAPITAL_UNITS:
            group += (digit or 1) * _CAPITAL_UNITS[character]  # 拾元 is ten
            digit = 0
        elif character in _CAPITAL_GROUPS:
            total += (group + digit) * _CAPITAL_GROUPS[character]
            group = digit = 0
        else:
            return None
    return total + group + digit
