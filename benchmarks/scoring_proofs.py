"""Income proofs as other employers write them: letters, grids, lists; all invented, none known to the demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from benchmarks.scoring_styles import Styles, begun, ended, yuan
from examples.documents.income import IncomeProof, in_capitals
from examples.documents.sheet import GREY, Sheet

_NUMERALS = "〇一二三四五六七八九"


def _in_characters(day: date) -> str:
    """二〇二六年十一月三日."""

    def small(number: int) -> str:
        tens, ones = divmod(number, 10)
        return ("" if tens < 2 else _NUMERALS[tens]) + ("十" if tens else "") + (_NUMERALS[ones] if ones else "")

    return "".join(_NUMERALS[int(digit)] for digit in str(day.year)) + f"年{small(day.month)}月{small(day.day)}日"


def _chinese(day: date) -> str:
    return f"{day.year}年{day.month:02d}月{day.day:02d}日"


def _paragraph(sheet: Sheet, text: str, x: float, y: float, *, width: int, size: float, font: str) -> float:
    """Set ``text`` in lines of ``width`` Chinese characters, the first one indented; returns where the next begins."""
    lines, room = [""], width - 2.0
    for character in text:
        needed = 0.56 if character.isascii() else 1.0
        if room < needed and character not in "，。；：）":
            lines.append("")
            room = float(width)
        lines[-1] += character
        room -= needed
    for number, line in enumerate(lines):
        sheet.text(x + (2 * size if number == 0 else 0), y + 2.2 * size * number, line, size, font=font)
    return y + 2.2 * size * len(lines)


def notice_letter(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """兹有..., the amount in capitals first and in digits behind it."""
    sheet = begun(595, 760, "收 入 证 明", 96, 28, "serif_bold")
    x, size = 64 + float(rng.uniform(-6, 6)), 15.5
    year = proof.issue_date.year - int(rng.integers(2, 9))
    text = (
        f"兹有我单位员工{proof.name}（身份证号码：{proof.id_number}），自{year}年5月起在我单位工作，"
        f"现担任{proof.position}职务，月均税后收入为人民币（大写）{in_capitals(proof.monthly_income)}"
        f"（￥{yuan(proof.monthly_income)}）。"
    )
    y = _paragraph(sheet, text, x, 160, width=30, size=size, font="serif")
    y = _paragraph(sheet, "特此证明。", x, y, width=30, size=size, font="serif")
    sheet.text(310, y + 70, f"单位（公章）：{proof.employer}", size, font="serif")
    sheet.text(310, y + 108, _chinese(proof.issue_date), size, font="serif")
    sheet.seal(480, y + 80, 40)
    return ended(sheet, 735)


def grid_of_four(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """A grid with two labels and two values in every row."""
    sheet = begun(842, 480, "在职及收入情况表", 60, 24)
    rows = (
        ("姓名", proof.name, "性别", "男" if int(proof.id_number[16]) % 2 else "女"),
        ("证件类型", "居民身份证", "证件号码", proof.id_number),
        ("工作单位", proof.employer, "所任职务", proof.position),
        ("月均收入（元）", yuan(proof.monthly_income), "大写", in_capitals(proof.monthly_income)),
        ("联系电话", "无", "填表日期", f"{proof.issue_date:%Y/%m/%d}"),
    )
    _grid(sheet, rows, (50, 180, 400, 520, 800), 90 + float(rng.uniform(-5, 5)), 46, 14)
    sheet.text(60, 390, "本单位保证以上内容属实。", 14)
    sheet.seal(690, 400, 40)
    return ended(sheet, 460)


def _grid(
    sheet: Sheet, rows: Sequence[Sequence[str]], edges: Sequence[float], top: float, step: float, size: float
) -> None:
    for number, row in enumerate(rows):
        y = top + step * number
        for left, right, text in zip(edges, edges[1:], row, strict=False):
            sheet.rectangle(left, y, right, y + step, outline=(90, 90, 96))
            sheet.text(left + 10, y + step / 2 + 0.36 * size, text, size)


def stacked_labels(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """Small grey labels with their values below them, two beside each other."""
    sheet = Sheet(560, 620)
    sheet.text(50, 70, "收入证明", 26, font="bold")
    cells = (
        ("姓名", proof.name, "身份证号", proof.id_number),
        ("工作单位", proof.employer, "岗位", proof.position),
        ("月收入（税前）", f"{yuan(proof.monthly_income)} 元", "开具日期", proof.issue_date.isoformat()),
    )
    top = 130 + float(rng.uniform(-6, 6))
    for number, (one, first, two, second) in enumerate(cells):
        y = top + 110 * number
        for x, label, value in ((50, one, first), (300, two, second)):
            sheet.text(x, y, label, 12, colour=GREY)
            sheet.text(x, y + 30, value, 17)
        sheet.line(50, y + 52, 510, y + 52, colour=(215, 215, 215))
    sheet.text(50, 470, "特此证明，仅供申请贷款使用。", 14)
    sheet.seal(430, 510, 40)
    return ended(sheet, 600)


def in_ten_thousands(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """A short letter that says 1.2万元; the amount is exact, since it is given in whole hundreds."""
    sheet = begun(595, 600, "工作收入证明", 90, 26)
    x = 60 + float(rng.uniform(-6, 6))
    text = (
        f"兹证明{proof.name}同志，身份证号{proof.id_number}，系{proof.employer}在职员工，任{proof.position}，"
        f"月工资收入约{proof.monthly_income / 1_000_000:.2f}万元。"
    )
    y = _paragraph(sheet, text, x, 150, width=29, size=16, font="regular")
    y = _paragraph(sheet, "特此证明", x, y, width=29, size=16, font="regular")
    sheet.text(330, y + 60, proof.employer, 16)
    sheet.text(330, y + 96, f"{proof.issue_date:%Y.%m.%d}", 16)
    sheet.seal(440, y + 60, 40)
    return ended(sheet, 580)


def to_the_bank(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """Landscape, addressed to a bank, a yearly sum beside the monthly one."""
    sheet = begun(842, 560, "在职收入证明", 76, 26, "serif_bold", tracking=6)
    x = 80 + float(rng.uniform(-8, 8))
    sheet.text(x, 130, "致：样例银行", 15, font="serif")
    text = (
        f"我司员工{proof.name}，身份证件号码为{proof.id_number}，现于{proof.employer}任职，职位为{proof.position}。"
        f"该员工年收入为人民币{yuan(12 * proof.monthly_income)}元，折合每月收入人民币{yuan(proof.monthly_income)}元"
        f"（大写：{in_capitals(proof.monthly_income)}）。我司对以上内容负责。"
    )
    y = _paragraph(sheet, text, x, 168, width=44, size=15, font="serif")
    sheet.text(520, y + 60, f"单位名称（盖章）：{proof.employer}", 15, font="serif")
    sheet.text(520, y + 96, f"出具日期：{_chinese(proof.issue_date)}", 15, font="serif")
    sheet.seal(720, y + 60, 40)
    return ended(sheet, 540)


def numbered(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """A numbered list with colons, in bold serifs."""
    sheet = begun(595, 680, "职工收入证明书", 90, 26, "serif_bold")
    items = (
        f"1、职工姓名：{proof.name}",
        f"2、身份证号码：{proof.id_number}",
        f"3、所在单位：{proof.employer}",
        f"4、担任职务：{proof.position}",
        f"5、税后月薪：人民币 {yuan(proof.monthly_income)} 元",
        f"6、大写金额：{in_capitals(proof.monthly_income)}",
        f"7、出具日期：{_chinese(proof.issue_date)}",
    )
    x = 80 + float(rng.uniform(-8, 8))
    for number, item in enumerate(items):
        sheet.text(x, 160 + 46 * number, item, 16, font="serif_bold")
    sheet.text(x, 520, "以上情况真实，如有虚假愿承担责任。", 14, font="serif")
    sheet.seal(440, 560, 42)
    return ended(sheet, 660)


def right_aligned(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """Labels that end at one edge, values that begin at the next, thin lines below the values."""
    sheet = begun(595, 620, "个人收入证明", 80, 26, tracking=3)
    middle = 210 + float(rng.uniform(-10, 10))
    rows = (
        ("员工姓名", proof.name),
        ("身份证件号码", proof.id_number),
        ("公司名称", proof.employer),
        ("职位", proof.position),
        ("月平均收入", f"￥{yuan(proof.monthly_income)}"),
        ("人民币大写", in_capitals(proof.monthly_income)),
        ("证明日期", _chinese(proof.issue_date)),
    )
    for number, (label, value) in enumerate(rows):
        y = 140 + 52 * number
        sheet.text(middle, y, label, 15, anchor="r", font="bold")
        sheet.text(middle + 30, y, value, 16, font="serif")
        sheet.line(middle + 24, y + 10, 540, y + 10, width=0.7)
    sheet.seal(460, 540, 40)
    return ended(sheet, 600)


def with_remarks(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """A grid of three columns under headings: item, content, remark."""
    sheet = begun(595, 640, "员工薪资收入证明", 70, 24, "serif_bold")
    rows = (
        ("项目", "内容", "备注"),
        ("员工姓名", proof.name, ""),
        ("证件号码", proof.id_number, "居民身份证"),
        ("任职单位", proof.employer, "在职"),
        ("工作岗位", proof.position, ""),
        ("税后月工资", f"￥{yuan(proof.monthly_income)}", "近六个月平均"),
        ("大写", in_capitals(proof.monthly_income), ""),
        ("出具时间", _chinese(proof.issue_date), ""),
    )
    _grid(sheet, rows, (40, 160, 440, 560), 100 + float(rng.uniform(-6, 6)), 44, 15)
    sheet.text(60, 520, "用人单位声明：以上属实。", 14, font="serif")
    sheet.seal(450, 540, 40)
    return ended(sheet, 620)


def plain_letter(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """本公司职员..., no label anywhere, the company above its date."""
    sheet = begun(620, 640, "证  明", 90, 30)
    year = proof.issue_date.year - int(rng.integers(2, 9))
    text = (
        f"兹证明{proof.name}先生/女士（公民身份号码{proof.id_number}）为{proof.employer}正式员工，于{year}年3月入职，"
        f"目前担任{proof.position}一职，每月工资收入为￥{yuan(proof.monthly_income)}元，"
        f"合计大写{in_capitals(proof.monthly_income)}。本证明有效期三十天。"
    )
    y = _paragraph(sheet, text, 70 + float(rng.uniform(-8, 8)), 160, width=29, size=16.5, font="regular")
    sheet.text(340, y + 70, f"{proof.employer}（盖章）", 16)
    sheet.text(340, y + 106, _chinese(proof.issue_date), 16)
    sheet.seal(470, y + 110, 40)
    return ended(sheet, 620)


def bilingual(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """Labels in Chinese and English, a colon behind both, values underlined."""
    sheet = begun(640, 660, "收入证明 CERTIFICATE OF INCOME", 74, 21)
    rows = (
        ("员工姓名 Employee Name：", proof.name),
        ("身份证号码 ID Number：", proof.id_number),
        ("用人单位 Employer：", proof.employer),
        ("现任职务 Position：", proof.position),
        ("税后月薪 Monthly Salary：", f"CNY {yuan(proof.monthly_income)}"),
        ("出具日期 Date：", proof.issue_date.isoformat()),
    )
    x = 60 + float(rng.uniform(-8, 8))
    for number, (label, value) in enumerate(rows):
        y = 140 + 56 * number
        sheet.text(x, y, label, 14.5, font="serif")
        sheet.text(x + 230, y, value, 15.5)
        sheet.line(x + 222, y + 8, 590, y + 8, width=0.6)
    sheet.seal(500, 520, 40)
    return ended(sheet, 630)


def name_first(proof: IncomeProof, rng: np.random.Generator) -> list[Sheet]:
    """A letter that begins with the name, the amount in capitals before its digits, its date in characters."""
    sheet = begun(600, 700, "在职收入证明", 90, 26, "serif_bold", tracking=4)
    year = proof.issue_date.year - int(rng.integers(2, 9))
    text = (
        f"{proof.name}，{'男' if int(proof.id_number[16]) % 2 else '女'}，身份证号{proof.id_number}，自{year}年6月1日"
        f"起就职于{proof.employer}，现任{proof.position}，月工资人民币{in_capitals(proof.monthly_income)}，"
        f"小写￥{yuan(proof.monthly_income)}元。该员工工作表现良好，合同期至{year + 9}年5月31日。"
    )
    y = _paragraph(sheet, text, 66 + float(rng.uniform(-8, 8)), 160, width=29, size=16, font="serif")
    sheet.text(330, y + 70, proof.employer, 16, font="serif")
    sheet.text(330, y + 104, "人力资源部（章）", 16, font="serif")
    sheet.text(330, y + 138, _in_characters(proof.issue_date), 16, font="serif")
    sheet.seal(500, y + 40, 40)
    return ended(sheet, 680)


STYLES: Styles[IncomeProof] = {
    "notice letter": notice_letter,
    "grid of four": grid_of_four,
    "stacked labels": stacked_labels,
    "in ten thousands": in_ten_thousands,
    "to the bank": to_the_bank,
    "numbered": numbered,
    "right aligned": right_aligned,
    "with remarks": with_remarks,
    "plain letter": plain_letter,
    "bilingual": bilingual,
    "name first": name_first,
}
HELD_OUT = frozenset({"bilingual", "name first"})
