"""Invented income proofs (收入证明): as a letter and as a filled-in form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from examples.documents.sheet import GREY, Sheet

LAYOUTS = ("letter", "form")

_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_UNITS = ("", "拾", "佰", "仟")
_GROUPS = ("", "万", "亿")


def in_capitals(cents: int) -> str:
    """Return an amount in cents as banks write it: 12000.50 yuan is 壹万贰仟元伍角整.

    Raises:
        ValueError: Negative, or a trillion yuan and more.
    """
    yuan, rest = divmod(cents, 100)
    if cents < 0 or yuan >= 10**12:
        raise ValueError(f"cannot write {cents} cents in capitals")
    written = ""
    gap = False  # a zero is pending between two digits
    for place in range(len(str(yuan)) - 1, -1, -1):
        digit = yuan // 10**place % 10
        if digit:
            written += (_DIGITS[0] if gap and written else "") + _DIGITS[digit] + _UNITS[place % 4]
            gap = False
        else:
            gap = True
        if place % 4 == 0 and yuan // 10**place % 10_000:
            written += _GROUPS[place // 4]
    written = (written or _DIGITS[0]) + "元"
    jiao, fen = divmod(rest, 10)
    if jiao:
        written += _DIGITS[jiao] + "角"
    if fen:
        written += ("" if jiao else _DIGITS[0]) + _DIGITS[fen] + "分"
    return written if fen else written + "整"


@dataclass(frozen=True)
class IncomeProof:
    """What an employer says about a person's income; ``monthly_income`` in cents."""

    name: str
    id_number: str
    employer: str
    position: str
    monthly_income: int
    issue_date: date

    def fields(self) -> dict[str, str | float]:
        """The fields as the contract names them."""
        return {
            "name": self.name,
            "id_number": self.id_number,
            "employer": self.employer,
            "position": self.position,
            "monthly_income": self.monthly_income / 100,
            "issue_date": self.issue_date.isoformat(),
        }


def sheet_of(proof: IncomeProof, layout: str) -> Sheet:
    """Return the proof as ``letter`` or ``form``.

    Raises:
        ValueError: Unknown layout.
    """
    if layout == "letter":
        return _letter(proof)
    if layout == "form":
        return _form(proof)
    raise ValueError(f"no layout {layout}; there are {LAYOUTS}")


def _chinese_date(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"


def _letter(proof: IncomeProof) -> Sheet:
    sheet = Sheet(595, 660)
    sheet.text(297, 84, "收入证明", 30, font="bold", anchor="m", tracking=10)
    body = (
        (92, f"兹证明{proof.name}（身份证号：{proof.id_number}）"),
        (60, f"系我单位正式员工，现任{proof.position}一职，已连续工作三年以上。"),
        (60, f"近一年平均月收入（税后）为人民币{proof.monthly_income / 100:,.2f}元，"),
        (60, f"大写：{in_capitals(proof.monthly_income)}。"),
        (92, "我单位对上述内容的真实性负责。本证明仅供申请贷款使用，"),
        (60, "不作为任何形式的担保。"),
        (92, "特此证明。"),
    )
    for number, (x, text) in enumerate(body):
        sheet.text(x, 160 + 38 * number, text, 16, font="serif")
    sheet.text(292, 478, f"单位名称：{proof.employer}", 16, font="serif")
    sheet.text(292, 514, "（单位盖章）", 16, font="serif")
    sheet.text(292, 550, f"日期：{_chinese_date(proof.issue_date)}", 16, font="serif")
    sheet.seal(508, 520, 40)
    sheet.text(297, 632, "样张：内容纯属虚构", 11, colour=GREY, anchor="m")
    return sheet


def _form(proof: IncomeProof) -> Sheet:
    sheet = Sheet(595, 560)
    sheet.text(297, 64, "员工收入证明表", 26, font="bold", anchor="m")
    rows = (
        ("姓名", proof.name),
        ("身份证号码", proof.id_number),
        ("工作单位", proof.employer),
        ("职务", proof.position),
        ("月收入（元）", f"{proof.monthly_income / 100:,.2f}"),
        ("月收入（大写）", in_capitals(proof.monthly_income)),
        ("开具日期", proof.issue_date.isoformat()),
    )
    top, left, middle, right, step = 96, 50, 190, 545, 42
    for number, (label, value) in enumerate(rows):
        y = top + step * number
        sheet.rectangle(left, y, middle, y + step, fill=(236, 240, 244), outline=GREY)
        sheet.rectangle(middle, y, right, y + step, outline=GREY)
        sheet.text((left + middle) / 2, y + 27, label, 15, anchor="m")
        sheet.text(middle + 16, y + 27, value, 15)
    sheet.text(60, 428, "以上情况属实，仅供办理贷款业务使用。", 14)
    sheet.text(60, 470, "经办人：示例丁", 14)
    sheet.text(290, 470, "单位公章：", 14)
    sheet.seal(430, 470, 42)
    sheet.text(297, 540, "样张：内容纯属虚构", 11, colour=GREY, anchor="m")
    return sheet
