"""Bank statements in the styles of other banks: columns, orders, signs and papers that the demonstration never draws.

A style is a list of columns and a few words; every bank, person and movement is invented.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np

from benchmarks.scoring_styles import MARK, Styles, yuan
from examples.documents.sheet import GREY, Colour, Sheet
from examples.documents.statement import Row, Statement


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        role: date, booked, summary, counterparty, amount, out, in, flag, balance, number or currency.
        heading: Its title; a slash parts two lines.
        width: Share of the table.
        align: l, m or r.
        wrap: Characters of a line where long texts go on below, 0 for never.
    """

    role: str
    heading: str
    width: float
    align: str = "l"
    wrap: int = 0


@dataclass(frozen=True)
class Style:
    """How one bank prints.

    Attributes:
        columns: From left to right.
        head: Lines above the table; names of fields in braces.
        day: How a date is written.
        size: Of the page, in points.
        font: Of the body.
        print_size: Of the body, in points.
        grid: ``full``, ``rows``, ``stripes`` or ``none``.
        flags: Words for money out and in where a column says it.
        centred: Whether cells stand in the middle of rows that others make higher.
        newest_first: Order of the rows.
        marked: Amounts have no sign but DR or CR behind them.
        sums: Every page has its head, a balance carried over and a sum of its own.
    """

    columns: tuple[Column, ...]
    head: tuple[str, ...]
    day: Callable[[date], str]
    size: tuple[float, float] = (595, 842)
    font: str = "regular"
    print_size: float = 10
    grid: str = "rows"
    flags: tuple[str, str] = ("借", "贷")
    centred: bool = False
    newest_first: bool = False
    marked: bool = False
    sums: bool = False


_BANKS = {
    "flagged_landscape": Style(
        (
            Column("number", "序号", 0.06, "m"),
            Column("date", "交易时间", 0.13),
            Column("summary", "交易类型", 0.13),
            Column("flag", "借贷标志", 0.09, "m"),
            Column("amount", "交易金额", 0.14, "r"),
            Column("balance", "账户余额", 0.15, "r"),
            Column("counterparty", "对方名称", 0.30),
        ),
        ("!{bank}个人账户交易流水", "客户姓名：{name}|卡号：{number}", "查询时段：{begin} 至 {end}|币种：人民币"),
        lambda day: day.isoformat(),
        size=(842, 595),
        grid="full",
    ),
    "balance_before_amount": Style(
        (
            Column("date", "记账日期", 0.14),
            Column("currency", "币种", 0.09),
            Column("balance", "余额", 0.18, "r"),
            Column("amount", "发生额", 0.18, "r"),
            Column("summary", "摘要", 0.16),
            Column("counterparty", "交易对手", 0.25, wrap=7),
        ),
        ("!{bank}", "!活期账户历史明细清单", "户    名：{name}", "账    号：{number}", "日期范围：{begin}-{end}"),
        lambda day: f"{day:%Y%m%d}",
        font="serif",
        grid="none",
    ),
    "debit_credit_grid": Style(
        (
            Column("date", "交易日期", 0.14, "m"),
            Column("summary", "摘要", 0.13, "m"),
            Column("out", "借方发生额", 0.16, "r"),
            Column("in", "贷方发生额", 0.16, "r"),
            Column("balance", "余额", 0.16, "r"),
            Column("counterparty", "对方户名", 0.25, "m", wrap=5),
        ),
        ("!{bank}对账单", "账户名称：{name}|账户号码：{number}", "起始日期：{begin}|截止日期：{end}"),
        lambda day: f"{day:%Y.%m.%d}",
        grid="full",
        centred=True,
    ),
    "income_first": Style(
        (
            Column("date", "记账日", 0.15),
            Column("summary", "业务摘要", 0.16),
            Column("counterparty", "对方信息", 0.23),
            Column("in", "收入(元)", 0.15, "r"),
            Column("out", "支出(元)", 0.15, "r"),
            Column("balance", "账户结余", 0.16, "r"),
        ),
        ("!{bank}", "!账户流水明细", "姓名：{name}|账户：{number}", "交易日期：{begin}~{end}"),
        lambda day: f"{day:%Y-%m-%d}",
        font="serif",
        print_size=10.5,
        grid="stripes",
    ),
    "two_line_headings": Style(
        (
            Column("date", "交易/日期", 0.13, "m"),
            Column("counterparty", "对方/户名", 0.24, wrap=6),
            Column("summary", "交易/摘要", 0.14, "m"),
            Column("flag", "收/支", 0.08, "m"),
            Column("amount", "交易/金额", 0.19, "r"),
            Column("balance", "账户/余额", 0.22, "r"),
        ),
        ("!{bank}客户交易清单", "账户名：{name}", "账号：{number}|打印区间：{begin}—{end}"),
        lambda day: f"{day:%Y/%m/%d}",
        grid="rows",
        flags=("支出", "收入"),
        centred=True,
    ),
    "newest_first": Style(
        (
            Column("date", "入账日期", 0.15),
            Column("amount", "金额", 0.17, "r"),
            Column("balance", "联机余额", 0.18, "r"),
            Column("summary", "交易摘要", 0.20, "m"),
            Column("counterparty", "对手信息", 0.30),
        ),
        ("!{bank}交易流水证明", "客户名称：{name}|客户账号：{number}", "起止时间：{begin}至{end}"),
        lambda day: day.isoformat(),
        size=(842, 595),
        font="serif",
        print_size=11,
        grid="none",
        newest_first=True,
    ),
    "made_and_booked": Style(
        (
            Column("number", "序号", 0.06, "m"),
            Column("booked", "记账日期", 0.12, "m"),
            Column("date", "交易日期", 0.12, "m"),
            Column("currency", "币种", 0.07, "m"),
            Column("amount", "交易金额", 0.14, "r"),
            Column("balance", "本次余额", 0.15, "r"),
            Column("summary", "交易摘要", 0.12),
            Column("counterparty", "对方账户名", 0.22, wrap=8),
        ),
        ("!{bank}", "!个人账户交易明细（存折）", "户主姓名：{name}|账户账号：{number}", "查询区间：{begin}至{end}"),
        lambda day: day.isoformat(),
        size=(842, 595),
        font="serif",
        grid="rows",
    ),
    "paid_and_received": Style(
        (
            Column("date", "日期", 0.15, "m"),
            Column("summary", "用途", 0.14, "m"),
            Column("in", "存入", 0.15, "r"),
            Column("out", "支取", 0.15, "r"),
            Column("balance", "余额", 0.17, "r"),
            Column("counterparty", "对方姓名", 0.24, "m", wrap=6),
        ),
        ("!{bank}储蓄账户流水", "客户姓名：{name}", "银行卡号：{number}", "开始日期：{begin}|结束日期：{end}"),
        lambda day: f"{day.year}年{day.month:02d}月{day.day:02d}日",
        grid="full",
        centred=True,
    ),
    "debit_marks": Style(
        (
            Column("date", "交易时间", 0.15),
            Column("counterparty", "对方名称", 0.27),
            Column("summary", "业务类型", 0.15),
            Column("amount", "发生金额", 0.20, "r"),
            Column("balance", "账面余额", 0.23, "r"),
        ),
        ("!{bank}个人客户流水单", "客户名称：{name}", "交易账号：{number}", "起始时间：{begin}|截止时间：{end}"),
        lambda day: day.isoformat(),
        font="serif",
        grid="rows",
        marked=True,
    ),
    "page_sums": Style(
        (
            Column("date", "入账日期", 0.14),
            Column("summary", "摘要说明", 0.14),
            Column("out", "转出", 0.16, "r"),
            Column("in", "转入", 0.16, "r"),
            Column("balance", "结余", 0.16, "r"),
            Column("counterparty", "收付款人", 0.24, wrap=7),
        ),
        ("!{bank}分户账明细", "户名：{name}|账户/卡号：{number}", "查询日期：{begin} 至 {end}|打印人：样例"),
        lambda day: f"{day:%Y.%m.%d}",
        size=(842, 595),
        grid="stripes",
        sums=True,
    ),
}


def draw(account: Statement, rng: np.random.Generator, style: Style) -> list[Sheet]:
    """The pages of ``account`` in one style."""
    width, height = style.size
    left, right = 36 + float(rng.uniform(-6, 6)), width - 36
    step = style.print_size * 2.1
    pages: list[Sheet] = []
    rows = list(account.rows[::-1] if style.newest_first else account.rows)
    while rows:
        sheet = Sheet(width, height)
        y = _head(sheet, account, style, left, right) if style.sums or not pages else 60.0
        sheet.text(right, height - 16, MARK, 9, colour=GREY, anchor="r")
        sheet.text(left, height - 16, f"第{len(pages) + 1}页", 9, colour=GREY)
        y = _headings(sheet, style, left, right, y, step)
        drawn: list[Row] = []
        if style.sums and pages:
            first = rows[0]
            carried = {
                "date": style.day(first.day),
                "summary": "承前页",
                "balance": yuan(first.balance - first.amount),
            }
            y = _cells(sheet, carried, style, left, right, y, step)
        while rows and y + _row_height(rows[0], style, step) < height - (80 if style.sums else 40):
            drawn.append(rows.pop(0))
            y = _row(sheet, drawn[-1], style, left, right, y, step, len(drawn) % 2 == 1)
        if style.sums:
            out, into = (
                sum(abs(row.amount) for row in drawn if (row.amount > 0) == wanted) for wanted in (False, True)
            )
            total = {"summary": "本页小计", "out": yuan(out), "in": yuan(into), "balance": yuan(drawn[-1].balance)}
            _cells(sheet, total, style, left, right, y, step)
        pages.append(sheet)
    return pages


def _head(sheet: Sheet, account: Statement, style: Style, left: float, right: float) -> float:
    values = {
        "bank": account.bank,
        "name": account.account_name,
        "number": account.account_number,
        "begin": style.day(account.period_from),
        "end": style.day(account.period_to),
    }
    y = 46.0
    for line in style.head:
        text = line.format(**values)
        if text.startswith("!"):
            sheet.text((left + right) / 2, y, text[1:], 18, font="bold", anchor="m")
            y += 28
            continue
        parts = text.split("|")
        for index, part in enumerate(parts):
            sheet.text(left + index * (right - left) / len(parts), y, part, 11, font=style.font)
        y += 22
    return y + 4


def _edges(style: Style, left: float, right: float) -> list[float]:
    edges = [left]
    for column in style.columns:
        edges.append(edges[-1] + column.width * (right - left))
    return edges


def _cell(sheet: Sheet, text: str, span: tuple[float, float], y: float, column: Column, style: Style) -> None:
    begin, end = span
    x = {"l": begin + 5, "m": (begin + end) / 2, "r": end - 5}[column.align]
    sheet.text(x, y, text, style.print_size, font=style.font, anchor=column.align)


def _cells(
    sheet: Sheet, texts: dict[str, str], style: Style, left: float, right: float, y: float, step: float
) -> float:
    """One row that is no movement."""
    edges = _edges(style, left, right)
    for column, begin, end in zip(style.columns, edges, edges[1:], strict=False):
        if text := texts.get(column.role):
            _cell(sheet, text, (begin, end), y + step / 2 + 0.36 * style.print_size, column, style)
    return y + step


def _headings(sheet: Sheet, style: Style, left: float, right: float, y: float, step: float) -> float:
    edges = _edges(style, left, right)
    height = step * (1.6 if any("/" in column.heading and column.role != "flag" for column in style.columns) else 1.0)
    if style.grid in ("full", "stripes"):
        sheet.rectangle(left, y, right, y + height, fill=(228, 232, 238), outline=GREY)
    for column, begin, end in zip(style.columns, edges, edges[1:], strict=False):
        parts = [column.heading] if column.role == "flag" else column.heading.split("/")
        for index, part in enumerate(parts):
            middle = y + height / 2 + (index - (len(parts) - 1) / 2) * style.print_size * 1.25
            _cell(sheet, part, (begin, end), middle + 0.36 * style.print_size, column, style)
    if style.grid != "none":
        sheet.line(left, y + height, right, y + height, width=0.8)
    return y + height


def _texts(row: Row, style: Style) -> list[list[str]]:
    texts = {
        "date": style.day(row.day),
        "booked": style.day(row.day),
        "summary": row.summary,
        "counterparty": row.counterparty,
        "amount": f"{row.amount / 100:,.2f}",
        "out": f"{-row.amount / 100:,.2f}" if row.amount < 0 else "",
        "in": f"{row.amount / 100:,.2f}" if row.amount > 0 else "",
        "flag": style.flags[row.amount > 0],
        "balance": f"{row.balance / 100:,.2f}",
        "currency": "人民币",
        "number": "",
    }
    if any(column.role == "flag" for column in style.columns):
        texts["amount"] = texts["amount"].lstrip("-")
    if style.marked:
        texts["amount"] = texts["amount"].lstrip("-") + ("DR" if row.amount < 0 else "CR")
    cells = []
    for column in style.columns:
        text, wrap = texts[column.role], column.wrap
        cells.append([text[i : i + wrap] for i in range(0, len(text), wrap)] if wrap else [text])
    return cells


def _row_height(row: Row, style: Style, step: float) -> float:
    return step + (max(map(len, _texts(row, style))) - 1) * style.print_size * 1.3


def _row(
    sheet: Sheet, row: Row, style: Style, left: float, right: float, y: float, step: float, striped: bool
) -> float:
    height, edges = _row_height(row, style, step), _edges(style, left, right)
    if style.grid == "stripes" and striped:
        stripe: Colour = (243, 245, 248)
        sheet.rectangle(left, y, right, y + height, fill=stripe)
    for column, lines, begin, end in zip(style.columns, _texts(row, style), edges, edges[1:], strict=False):
        if style.grid == "full":
            sheet.rectangle(begin, y, end, y + height, outline=(150, 150, 156), width=0.6)
        first = y + step / 2
        if style.centred:
            first = y + height / 2 - (len(lines) - 1) / 2 * style.print_size * 1.3
        for number, text in enumerate(lines):
            if text:
                middle = first + number * style.print_size * 1.3
                _cell(sheet, text, (begin, end), middle + 0.36 * style.print_size, column, style)
    if style.grid == "rows":
        sheet.line(left, y + height, right, y + height, colour=(200, 200, 204), width=0.5)
    return y + height


STYLES: Styles[Statement] = {name.replace("_", " "): partial(draw, style=style) for name, style in _BANKS.items()}
HELD_OUT = frozenset({"debit marks", "page sums"})
