"""Invented bank statements: one layout with a signed amount, one with columns for money out and money in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from examples.documents.sheet import GREY, Sheet

LAYOUTS = ("signed", "two_columns")

_WIDTH = 595  # A4 in points
_LEFT, _RIGHT = 40, 555
_ROW = 20.5
_FIRST_TABLE, _NEXT_TABLE = 172, 84  # where the table begins on the first and on a further page


@dataclass(frozen=True)
class Row:
    """One movement; cents, money out negative, ``balance`` after it."""

    day: date
    summary: str
    counterparty: str
    amount: int
    balance: int


@dataclass(frozen=True)
class Statement:
    """A statement of account."""

    bank: str
    account_name: str
    account_number: str
    period_from: date
    period_to: date
    rows: tuple[Row, ...]

    def fields(self) -> dict[str, object]:
        """The fields as the contract names them."""
        return {
            "bank": self.bank,
            "account_name": self.account_name,
            "account_number": self.account_number,
            "period_from": self.period_from.isoformat(),
            "period_to": self.period_to.isoformat(),
            "rows": [
                {
                    "date": row.day.isoformat(),
                    "summary": row.summary,
                    "counterparty": row.counterparty,
                    "amount": row.amount / 100,
                    "balance": row.balance / 100,
                }
                for row in self.rows
            ],
        }


def _yuan(cents: int) -> str:
    return f"{cents / 100:,.2f}"


def sheets_of(statement: Statement, layout: str, *, rows_per_page: int = 28, cut: bool = False) -> list[Sheet]:
    """Return the pages.

    Args:
        statement: What to draw.
        layout: ``signed`` or ``two_columns``.
        rows_per_page: At most 28 fit A4.
        cut: End each page below its last row (a picture of part of a page) rather than at A4's end.

    Raises:
        ValueError: Unknown layout.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"no layout {layout}; there are {LAYOUTS}")
    chunks = [statement.rows[i : i + rows_per_page] for i in range(0, len(statement.rows), rows_per_page)]
    pages = []
    for number, rows in enumerate(chunks, start=1):
        top = _FIRST_TABLE if number == 1 else _NEXT_TABLE
        sheet = Sheet(_WIDTH, top + _ROW * (len(rows) + 1) + 60 if cut else 842)
        if number == 1:
            _head(sheet, statement, layout)
        sheet.text(_LEFT, top - 14, "样张：内容纯属虚构", 9, colour=GREY)
        sheet.text(_RIGHT, top - 14, f"第{number}页/共{len(chunks)}页", 9, colour=GREY, anchor="r")
        _table(sheet, rows, layout, top)
        if number == len(chunks):
            _foot(sheet, statement, top + _ROW * (len(rows) + 1) + 30)
        pages.append(sheet)
    return pages


def _head(sheet: Sheet, statement: Statement, layout: str) -> None:
    period = (statement.period_from, statement.period_to)
    if layout == "signed":
        sheet.text(_WIDTH / 2, 58, f"{statement.bank}账户交易明细", 19, font="bold", anchor="m")
        sheet.text(_LEFT, 98, f"户名：{statement.account_name}", 11)
        sheet.text(_LEFT + 260, 98, f"账号：{statement.account_number}", 11)
        sheet.text(_LEFT, 122, f"起止日期：{period[0].isoformat()}至{period[1].isoformat()}", 11)
        sheet.text(_LEFT + 370, 122, "币种：人民币", 11)
    else:
        sheet.rectangle(_LEFT, 36, _RIGHT, 70, fill=(38, 84, 124))
        sheet.text(_LEFT + 14, 60, statement.bank, 17, font="bold", colour=(255, 255, 255))
        sheet.text(_RIGHT - 14, 59, "个人活期账户对账单", 14, colour=(255, 255, 255), anchor="r")
        sheet.text(_LEFT, 96, f"账户名称：{statement.account_name}", 11)
        sheet.text(_LEFT, 118, f"卡号：{statement.account_number}", 11)
        dates = "-".join(f"{day:%Y%m%d}" for day in period)
        sheet.text(_LEFT + 290, 96, f"查询期间：{dates}", 11)
        sheet.text(_LEFT + 290, 118, "币种：人民币", 11)


def _table(sheet: Sheet, rows: tuple[Row, ...], layout: str, top: float) -> None:
    if layout == "signed":
        columns = [("交易日期", _LEFT + 8, "l"), ("摘要", 122, "l"), ("对方户名", 215, "l")]
        columns += [("交易金额", 460, "r"), ("账户余额", _RIGHT - 8, "r")]
    else:
        columns = [("日期", _LEFT + 8, "l"), ("摘要", 112, "l"), ("交易对方", 192, "l")]
        columns += [("支出", 400, "r"), ("收入", 475, "r"), ("余额", _RIGHT - 8, "r")]
        sheet.rectangle(_LEFT, top, _RIGHT, top + _ROW, fill=(222, 231, 239))
    sheet.line(_LEFT, top, _RIGHT, top, width=0.8)
    for title, x, anchor in columns:
        sheet.text(x, top + 14.5, title, 10, font="bold", anchor=anchor)
    sheet.line(_LEFT, top + _ROW, _RIGHT, top + _ROW, width=0.8)
    for number, row in enumerate(rows, start=1):
        y = top + _ROW * number
        cells = [row.day.isoformat() if layout == "signed" else f"{row.day:%Y/%m/%d}", row.summary, row.counterparty]
        if layout == "signed":
            cells.append(_yuan(row.amount))
        else:
            cells += [_yuan(-row.amount), ""] if row.amount < 0 else ["", _yuan(row.amount)]
        cells.append(_yuan(row.balance))
        for cell, (_, x, anchor) in zip(cells, columns, strict=True):
            if cell:
                sheet.text(x, y + 14.5, cell, 10, anchor=anchor)
        sheet.line(_LEFT, y + _ROW, _RIGHT, y + _ROW, colour=(205, 208, 212), width=0.5)


def _foot(sheet: Sheet, statement: Statement, y: float) -> None:
    out = -sum(row.amount for row in statement.rows if row.amount < 0)
    into = sum(row.amount for row in statement.rows if row.amount > 0)
    sheet.text(_LEFT, y, f"支出合计：{_yuan(out)}", 10)
    sheet.text(_LEFT + 180, y, f"收入合计：{_yuan(into)}", 10)
    sheet.text(_LEFT + 360, y, f"期末余额：{_yuan(statement.rows[-1].balance)}", 10)
