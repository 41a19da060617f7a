"""Bank statements: a head of labels, then a table; what both say is held against each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge.documents.extraction import Field, Problem, problem
from edge.documents.layout import Flow, Form, Row, field_of, place_of
from edge.documents.normalise import DATE, parse_date
from edge.documents.table import columns_of, entries_of, unread_rows, whole_headings

KIND = "bank_statement"

_BANK = r"([\u4e00-\u9fff]{2,14}?(?:银行|信用社|信用合作社))"
_LABELS = {
    "account_name": (
        *("户名", "账户名称", "账户名", "客户姓名", "客户名称", "户主", "户主姓名", "姓名", "账户户名", "持卡人"),
        *("客户名", "账号名称", "持卡人姓名"),
    ),
    "account_number": (
        *("账号", "卡号", "账户号码", "客户账号", "账号/卡号", "卡号/账号", "账户账号", "银行卡号", "交易卡号", "账户"),
        *("交易账号", "借记卡号", "查询账号", "查询卡号", "账(卡)号"),
    ),
    "period_from": ("起始日期", "开始日期", "起始日", "查询起日"),
    "period_to": ("截止日期", "终止日期", "结束日期", "截止日", "查询止日"),
}
_PATTERNS = {
    "account_name": r"([\u4e00-\u9fff·•]{2,25})",
    "account_number": r"([\d*](?: ?[\d*]){7,29})",
    "period_from": rf"({DATE})",
    "period_to": rf"({DATE})",
}
_ALL_LABELS = (*(label for labels in _LABELS.values() for label in labels), "币种", "开户行", "证件号码", "起止日期")


def read_fields(rows: Sequence[Row]) -> dict[str, Field]:
    """Find the fields of the head and the rows of the table."""
    rows = whole_headings(rows)
    first_table = next((index for index, row in enumerate(rows) if columns_of(row)), len(rows))
    flow = Flow(rows[:first_table])
    fields: dict[str, Field] = {}
    if match := flow.search(_BANK):
        fields["bank"] = flow.field(match, 1, match[1])
    form = Form(rows[:first_table], _ALL_LABELS)
    for name, pattern in _PATTERNS.items():
        if found := form.find(_LABELS[name], pattern):
            value = found[0][1].replace(" ", "")
            fields[name] = field_of(parse_date(value) if name.startswith("period") else value, found[1])
    numbers = re.findall(r"(?<![\d*])\d{12,23}(?!\d)", flow.text)
    if "account_number" not in fields and len(numbers) == 1:  # its label was misread; nothing else is so long
        match = flow.search(rf"({numbers[0]})")
        assert match is not None
        fields["account_number"] = flow.field(match, 1, match[1])
    if period := flow.search(rf"({DATE})[^\d\n]{{0,16}}({DATE})"):
        for name, group in (("period_from", 1), ("period_to", 2)):
            if day := parse_date(period[group]):
                fields[name] = flow.field(period, group, day)
    if entries := entries_of(rows[first_table:]):
        cells = [[piece for cell in entry.cells.values() for piece in cell] for entry in entries]
        whole = field_of(_signed([entry.value() for entry in entries]), [piece for pieces in cells for piece in pieces])
        fields["rows"] = replace(whole, places=tuple(place_of(pieces) for pieces in cells))
    return {name: field for name, field in fields.items() if field.value is not None}


def _signed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put back a minus that OCR overlooked, the smallest of signs, where both balances say it to the cent.

    Only money in becomes money out, and only on papers that have signs; digits are never mended.
    """
    if not any((row["amount"] or 0) < 0 for row in rows):
        return rows
    wrong = _unbalanced(rows)
    for index in wrong:
        row = rows[index]
        turned = row | {"amount": -row["amount"]}
        if row["amount"] > 0 and index not in _unbalanced([*rows[:index], turned, *rows[index + 1 :]]):
            row["amount"] = turned["amount"]
    return rows


def check(fields: dict[str, Field], paper: Sequence[Row]) -> list[Problem]:
    """Compare the table with itself, with its period, and with what else on the paper looks like a movement."""
    rows = fields["rows"].value if "rows" in fields else []
    problems = []
    if unread := unread_rows(paper, len(rows)):
        problems.append(problem(KIND, "rows_unread", "rows", count=unread))
    incomplete = [index for index, row in enumerate(rows) if None in (row["date"], row["amount"], row["balance"])]
    if incomplete:
        problems.append(problem(KIND, "row_incomplete", "rows", rows=incomplete))
    if wrong := _unbalanced(rows):
        problems.append(problem(KIND, "balance_mismatch", "rows", rows=wrong))
    if "period_from" in fields and "period_to" in fields:
        begin, end = fields["period_from"].value, fields["period_to"].value
        outside = [index for index, row in enumerate(rows) if row["date"] and not begin <= row["date"] <= end]
        if outside:
            problems.append(problem(KIND, "row_outside_period", "rows", rows=outside))
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
