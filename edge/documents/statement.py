"""Bank statements: a head of labels, then a table over one or more pages.

Columns are known by the words in their heading, in any order; cells belong to the column that they line up with. Money
out is negative, whether the paper signs it or gives it a column of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.documents.extraction import Field, Problem, problem, rows_text
from edge.documents.layout import Flow, Piece, Row, field_of, one_of
from edge.documents.normalise import DATE, parse_amount, parse_date

KIND = "bank_statement"

# heading to column; "" is a column that nobody asked for, known so that its cells do not land in another
_HEADINGS = {
    "date": ("交易日期", "记账日期", "入账日期", "交易时间", "日期"),
    "summary": ("交易摘要", "摘要", "交易类型", "业务类型", "交易说明"),
    "counterparty": ("对方户名", "对方名称", "对方姓名", "交易对方", "交易对手", "商户名称", "对方"),
    "amount": ("交易金额", "发生额", "金额"),
    "out": ("支出金额", "支出", "借方发生额", "借方金额", "借方", "转出", "取出"),
    "in": ("收入金额", "收入", "贷方发生额", "贷方金额", "贷方", "转入", "存入"),
    "balance": ("账户余额", "联机余额", "当前余额", "余额"),
    "": (
        "对方账号",
        "对方账户",
        "对方卡号",
        "币种",
        "序号",
        "交易渠道",
        "渠道",
        "交易地点",
        "备注",
        "附言",
        "流水号",
        "凭证号",
    ),
}
_ROLES = {heading: role for role, headings in _HEADINGS.items() for heading in headings}
_HEADING = re.compile("|".join(sorted(_ROLES, key=len, reverse=True)))
_MOST_COLUMNS = 40
_NUMBERS = ("amount", "out", "in", "balance")
_TEXTS = ("summary", "counterparty")
_CENTS = re.compile(r"[+-]?¥?\d[\d,.]{0,20}\.\d{2}(?!\d)")


@dataclass(frozen=True)
class _Column:
    role: str
    left: float
    right: float

    def apart(self, piece: Piece) -> float:
        """How badly ``piece`` lines up, whichever way the column is aligned."""
        centre = abs(piece.left + piece.right - self.left - self.right) / 2
        return min(abs(piece.left - self.left), abs(piece.right - self.right), centre)


@dataclass
class _Entry:
    """One movement while its cells are gathered."""

    cells: dict[str, list[Piece]] = field(default_factory=dict)

    def text(self, role: str) -> str:
        return "".join(piece.text for piece in self.cells.get(role, []))

    def amount(self, role: str) -> float | None:
        return parse_amount(self.text(role)) if role in self.cells else None

    def value(self) -> dict[str, Any]:
        amount = self.amount("amount")
        if amount is None:
            out, into = self.amount("out"), self.amount("in")
            if out and not into:
                amount = -abs(out)
            elif into and not out:
                amount = abs(into)
        return {
            "date": parse_date(self.text("date")),
            "summary": self.text("summary"),
            "counterparty": self.text("counterparty"),
            "amount": amount,
            "balance": self.amount("balance"),
        }


def read_fields(rows: Sequence[Row]) -> dict[str, Field]:
    """Find the fields of the head and the rows of the table."""
    first_table = next((index for index, row in enumerate(rows) if _columns(row)), len(rows))
    flow = Flow(rows[:first_table])
    fields: dict[str, Field] = {}
    patterns = {
        "bank": r"([\u4e00-\u9fff]{2,14}?(?:银行|信用社|信用合作社))",
        "account_name": one_of("户名", "账户名称", "账户名", "客户姓名", "客户名称", "户主", "姓名")
        + r"\s*:?\s*([\u4e00-\u9fff·•]{2,25})",
        "account_number": one_of("账号", "卡号", "账户号码", "客户账号") + r"\s*:?\s*([\d*]{8,30})",
    }
    for name, pattern in patterns.items():
        if match := flow.search(pattern):
            fields[name] = flow.field(match, 1, match[1])
    if period := flow.search(rf"({DATE})[^\d\n]{{1,16}}({DATE})"):
        for name, group in (("period_from", 1), ("period_to", 2)):
            if day := parse_date(period[group]):
                fields[name] = flow.field(period, group, day)
    if entries := _entries(rows[first_table:]):
        pieces = [piece for entry in entries for cell in entry.cells.values() for piece in cell]
        fields["rows"] = field_of([entry.value() for entry in entries], pieces)
    return fields


def check(fields: dict[str, Field]) -> list[Problem]:
    """Compare the table with itself and with its period."""
    if "rows" not in fields:
        return []
    rows = fields["rows"].value
    problems = []
    incomplete = [index for index, row in enumerate(rows) if None in (row["date"], row["amount"], row["balance"])]
    if incomplete:
        problems.append(problem(KIND, "row_incomplete", "rows", rows=rows_text(incomplete)))
    if wrong := _unbalanced(rows):
        problems.append(problem(KIND, "balance_mismatch", "rows", rows=rows_text(wrong)))
    if "period_from" in fields and "period_to" in fields:
        begin, end = fields["period_from"].value, fields["period_to"].value
        outside = [index for index, row in enumerate(rows) if row["date"] and not begin <= row["date"] <= end]
        if outside:
            problems.append(problem(KIND, "row_outside_period", "rows", rows=rows_text(outside)))
    return problems


def _unbalanced(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Rows whose balance is not the one before plus their amount; the newest may stand first or last."""

    def wrong(order: Sequence[int]) -> list[int]:
        found = []
        for before, index in zip(order, order[1:], strict=False):
            values = (rows[before]["balance"], rows[index]["amount"], rows[index]["balance"])
            if None not in values:
                cents = [round(value * 100) for value in values]
                if cents[0] + cents[1] != cents[2]:
                    found.append(index)
        return sorted(found)

    oldest_first = range(len(rows))
    return min(wrong(oldest_first), wrong(oldest_first[::-1]), key=len)


def _columns(row: Row) -> list[_Column]:
    """The columns that ``row`` heads; none if it is no heading."""
    found = [(piece, match) for piece in row for match in _HEADING.finditer(piece.text)]
    roles = {_ROLES[match[0]] for _, match in found}
    if not {"date", "balance"} <= roles or not roles & {"amount", "out", "in"} or len(found) > _MOST_COLUMNS:
        return []
    parts = [(_ROLES[match[0]], piece.part(*match.span())) for piece, match in found]
    return [_Column(role, part.left, part.right) for role, part in parts]


def _entries(rows: Sequence[Row]) -> list[_Entry]:
    entries: list[_Entry] = []
    columns: list[_Column] = []
    previous: Row = ()
    for row in rows:
        if heading := _columns(row):
            columns, previous = heading, ()
            continue
        cells: dict[str, list[Piece]] = {}
        for piece in (token for whole in row for token in _tokens(whole)):
            role = _role(piece, columns)
            cells.setdefault(role, []).append(piece)
        cells.pop("", None)
        if "date" in cells:
            entries.append(_Entry(cells))
            previous = row
        elif entries and previous and _continues(row, previous, cells, columns):
            for role, pieces in cells.items():
                entries[-1].cells.setdefault(role, []).extend(pieces)
            previous = row
        else:
            previous = ()
    return entries


def _tokens(piece: Piece) -> list[Piece]:
    """Split what OCR ran together: a date and the word after it, one amount and the next."""
    cuts = [0]
    if (match := re.match(DATE, piece.text)) and match.end() < len(piece.text):
        cuts.append(match.end())
    amounts = list(_CENTS.finditer(piece.text))
    cuts += [match.start() for match in amounts if match.start() > cuts[-1]]
    parts = [piece.part(*span) for span in zip(cuts, [*cuts[1:], len(piece.text)], strict=True)]
    times = re.compile(r"\s*\d{1,2}:\d{2}(:\d{2})?\s*")
    return [part for part in parts if part.text.strip() and not times.fullmatch(part.text)]


def _role(piece: Piece, columns: Sequence[_Column]) -> str:
    if re.fullmatch(rf"\s*{DATE}\s*", piece.text):
        wanted: tuple[str, ...] = ("date",)
    elif _CENTS.search(piece.text) or (parse_amount(piece.text) is not None):
        wanted = (*_NUMBERS, "")
    else:
        wanted = (*_TEXTS, "")
    able = [column for column in columns if column.role in wanted]
    return min(able, key=lambda column: column.apart(piece)).role if able else ""


def _continues(row: Row, previous: Row, cells: dict[str, list[Piece]], columns: Sequence[_Column]) -> bool:
    """Whether ``row`` is the second line of texts too long for their cell, and no footer."""
    if not cells or set(cells) - set(_TEXTS) or row[0].page != previous[0].page:
        return False
    close = min(piece.top for piece in row) - max(piece.bottom for piece in previous) < 0.5 * row[0].height
    aligned = all(
        abs(piece.left - column.left) < 1.5 * piece.height
        for role, pieces in cells.items()
        for piece in pieces[:1]
        for column in columns
        if column.role == role
    )
    return close and aligned and not any(":" in piece.text for piece in row)
