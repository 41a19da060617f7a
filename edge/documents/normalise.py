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

# digits, or the characters for them as on formal letters; a time may follow a day without a space
_ZEROS = "〇零○◯OoＯ0"  # as people type it, and as OCR reads it
_YEAR, _SMALL = rf"二 ?[{_ZEROS}](?: ?[{_ZEROS}一二三四五六七八九]){{2}} ?年", "(?: ?[一二三四五六七八九十]){1,3} ?"
SPACED_DAY = rf"{_YEAR}{_SMALL}月{_SMALL}日"  # in several pieces, which have to be close to each other
_CHINESE_DAY = SPACED_DAY.replace(" ?", "")
_AT = r"(?=[0-2]\d:[0-5]\d)"
DATE = (
    r"(?:(?:19|20)\d{2}\s*[年./-]\s*\d{1,2}\s*[月./-]\s*\d{1,2}(?!\d)\s*日?|(?<!\d)(?:19|20)\d{6}(?!\d)"
    rf"|(?:19|20)\d{{2}}[./-]\d{{2}}[./-]\d{{2}}{_AT}|(?<!\d)(?:19|20)\d{{6}}{_AT}|{_CHINESE_DAY}"
    r"|(?<!\d)(?:19|20)\d{2}(?:[./-]\d{4}|\d{2}[./-]\d{2})(?!\d))"  # one stroke was overlooked
)
# its year, or the first two digits of it, stand elsewhere
DAY_OF_YEAR = r"(?:(?:\d{2}[./-]\d{2}[./-]\d{2}|\d{1,2}\s*[./-]\s*\d{1,2})(?!\d)|\d{1,2}\s*月\s*\d{1,2}\s*日)"
AMOUNT = r"[+-]?\s*¥?\s*[+-]?\d(?:[\d,.]{0,20}\d)?\s*万?"  # bounded: text layers of hostile PDFs hold anything
ID_NUMBER = r"(?<!\d)(?:\d[ ]?){17}[\dXx](?![\dXx])"
CAPITALS = r"[零〇壹贰叁肆伍陆柒捌玖拾][零〇壹贰叁肆伍陆柒捌玖拾佰仟百千万亿]*[元圆][零〇壹贰叁肆伍陆柒捌玖角分整正]*"

_PLAIN_AMOUNT = re.compile(r"\d+(?:\.\d{1,2})?")
# a point and a comma look alike to OCR; three digits behind one are a group, two are cents
_GROUPED_AMOUNT = re.compile(r"(\d{1,3}(?:[,.]\d{3})+)(?:\.(\d{1,2})|,(\d{2}))?")

_CAPITAL_DIGITS = {digit: value for value, digit in enumerate("零壹贰叁肆伍陆柒捌玖")} | {"〇": 0}
_CAPITAL_UNITS = {"拾": 10, "佰": 100, "百": 100, "仟": 1000, "千": 1000}
_CAPITAL_GROUPS = {"万": 10**4, "亿": 10**8}
_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | dict.fromkeys(_ZEROS, 0)

# out and in as accountants write them behind an amount, and as apps write them before it
_OUT_WORDS, _IN_WORDS = ("DR", "借", "支出"), ("CR", "贷", "收入")
_WORDED_AMOUNT = re.compile(r"(支出|收入)?:?(.*?)(DR|CR|借|贷|[+-])?")


def half_width(text: str) -> str:
    """Full-width letters, digits and signs as ASCII, one character for one."""
    return text.translate(_HALF)


def parse_date(text: str) -> str | None:
    """ISO 8601 of 2026年1月3日, 2026-01-03, 2026.1.3, 20260103 or 二〇二六年一月三日; None if there is no such day."""
    if re.fullmatch(_CHINESE_DAY, text := text.replace(" ", "") if "年" in text else text):
        text = re.sub(r"[^年月日]+", lambda part: _in_digits(part[0]), text)
    digits = re.findall(r"\d+", half_width(text))
    if len(digits) < 3 and len(whole := "".join(digits)) == 8:
        digits = [whole[:4], whole[4:6], whole[6:]]
    if len(digits) != 3 or len(digits[0]) != 4:
        return None
    try:
        return date(*map(int, digits)).isoformat()
    except ValueError:
        return None


def _in_digits(text: str) -> str:
    """二〇二六 as 2026, 二十一 as 21."""
    tens, ten, ones = text.partition("十")
    if ten:
        return str(10 * _DIGITS.get(tens, 1) + _DIGITS.get(ones, 0))
    return "".join(str(_DIGITS[digit]) for digit in text)


def day_in_period(text: str, begin: str, end: str) -> str | None:
    """The day of a ``DAY_OF_YEAR`` between two ISO dates; None if none or several years fit."""
    *short, month, day = re.findall(r"\d+", text)
    years = [year for year in range(int(begin[:4]), int(end[:4]) + 1) if not short or year % 100 == int(short[0])]
    days = [found for year in years if (found := parse_date(f"{year}-{month}-{day}")) and begin <= found <= end]
    return days[0] if len(days) == 1 else None


def parse_amount(text: str) -> float | None:
    """Yuan of 12,000.00, ¥12000, 1.2万元, -35.5, （35.50）, 35.50DR or 支出35.50.

    A comma read as a point (12.000.00) is understood; 1.234 alone could be either and is None.
    """
    plain = re.sub(r"[\s¥元]|人民币|CNY|RMB", "", half_width(text))
    plain = re.sub(r"^一(?=\d)", "-", plain)  # a long minus read as the character for one
    plain = re.sub(r"O(?=[CD]R$)", "", plain)  # the last zero of the cents, read once more
    worded = _WORDED_AMOUNT.fullmatch(plain)
    if worded and (worded[1] or worded[3]):
        number = _unsigned(worded[2].removeprefix("-").removeprefix("+"))
        out = worded[1] in _OUT_WORDS or worded[3] in (*_OUT_WORDS, "-") or worded[2].startswith("-")
        contradicts = out and (worded[1] in _IN_WORDS or worded[3] in (*_IN_WORDS, "+") or "+" in worded[2])
        return None if number is None or contradicts else (-number if out else number)
    bracketed = re.fullmatch(r"[（(](.+)[)）]", plain)  # accountants write money out in brackets
    if bracketed:
        plain = "-" + bracketed[1]
    number = _unsigned(plain.lstrip("+-"))
    return number if number is None or not plain.startswith("-") else 0.0 - number


def _unsigned(plain: str) -> float | None:
    if plain.endswith("万"):
        number = re.fullmatch(r"\d+(?:\.\d+)?", plain[:-1])
        return round(float(number[0]) * 10_000, 2) if number else None
    if _PLAIN_AMOUNT.fullmatch(plain):
        return float(plain)
    grouped = _GROUPED_AMOUNT.fullmatch(plain)
    if grouped is None or re.fullmatch(r"\d+\.\d{3}", plain):
        return None
    return float(re.sub(r"[,.]", "", grouped[1]) + "." + (grouped[2] or grouped[3] or "0"))


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
    """A whole number; None where units do not fall or digits meet, as where OCR lost or misread a character.

    壹万伍 is None too: spoken it is 15,000, written 10,005.
    """
    total = group = digit = 0  # finished groups of four places, the group under way, the last digit
    unit, groups = 10**4, 10**12  # the smallest so far
    for character in text:
        if character in _CAPITAL_DIGITS:
            if digit:
                return None
            digit = _CAPITAL_DIGITS[character]
        elif (size := _CAPITAL_UNITS.get(character, unit)) < unit:
            if not digit and (size, total, group) != (10, 0, 0):
                return None
            group += (digit or 1) * size  # 拾元 is ten
            unit, digit = size, 0
        elif (size := _CAPITAL_GROUPS.get(character, groups)) < groups:
            total += (group + digit) * size
            unit, groups, group, digit = 10**4, size, 0, 0
        else:
            return None
    if digit and text[-2:-1] and text[-2] not in "拾零〇":
        return None
    return total + group + digit
