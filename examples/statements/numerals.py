"""Sums of money and small numbers, the many ways people write them."""

from __future__ import annotations

from random import Random

DIGITS = "零一二三四五六七八九"
BANKER_FORMS = str.maketrans("一二三四五六七八九十百千万", "壹贰叁肆伍陆柒捌玖拾佰仟萬")


def hanzi(number: int) -> str:
    """Read a whole number below 100 million aloud: 12000 is 一万二千.

    Raises:
        ValueError: ``number`` is out of range.
    """
    if not 0 < number < 10**8:
        raise ValueError(f"hanzi reads 1 to 99999999, not {number}")
    if number >= 10_000:
        high, low = divmod(number, 10_000)
        return hanzi(high) + "万" + (("零" if low < 1000 else "") + hanzi(low) if low else "")
    text, gap = "", False
    for value, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = number // value % 10
        if digit:
            text += ("零" if gap and text else "") + DIGITS[digit] + unit
        gap = not digit
    return text.removeprefix("一") if text.startswith("一十") else text


def spoken(number: int) -> str:
    """Read a number as people say prices, the last unit left out: 12000 is 一万二, 8600 is 八千六."""
    text = hanzi(number)
    if len(text) >= 4 and text[-1] in "千百十" and text[-3] in "万千百":
        return text[:-1]
    return text


def money(rng: Random, yuan: int) -> str:
    """Write a sum in one of the notations seen on forms and in chats: 5万, 五万块, 50000元, 5w, 伍万元整."""
    if yuan >= 10_000 and yuan % 1000 == 0:
        ten_thousands = f"{yuan / 10_000:g}"
        ways = [f"{ten_thousands}万"] * 5 + [f"{ten_thousands}万元"] * 2 + [f"{ten_thousands}w", f"{ten_thousands}W"]
    else:
        ways = [str(yuan)] * 3 + [f"{yuan}元"] * 3 + [f"{yuan}块"]
        ways += [f"{yuan / 1000:g}千", f"{yuan / 1000:g}k"] if yuan >= 1000 and yuan % 100 == 0 else []
    aloud = hanzi(yuan)
    ways += [spoken(yuan)] * 5 + [f"{aloud}块", f"{aloud}块钱", f"{aloud}元", f"{yuan}元", str(yuan), f"{yuan:,}元"]
    ways += [f"人民币{yuan}元", aloud.translate(BANKER_FORMS) + "元整"]
    ways += [rng.choice(("大概", "差不多", "约")) + spoken(yuan)]
    return rng.choice(ways)


def count(rng: Random, low: int, high: int) -> str:
    """Write a whole number between ``low`` and ``high``, in digits or in characters."""
    number = rng.randint(low, high)
    return str(number) if rng.random() < 0.5 else hanzi(number)
