"""Bank statements: a head of labels, then a table; what both say is held against each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge.documents.extraction import SURE, Field, Problem, problem
from edge.documents.headings import columns_of, whole_headings
from edge.documents.id_number import checksum_fits
from edge.documents.labels import mended
from edge.documents.layout import Flow, Form, Row, field_of, place_of
from edge.documents.normalise import DATE, parse_date
from edge.documents.table import entries_of, unread_rows, values_of

KIND = "bank_statement"
_TANGLED = 0.2  # of the rows incomplete: cells of one row have come to another

# 开户银行 and the like are labels, not banks
_BANK = r"(?!开户|发卡|对方|本银|我行)([\u4e00-\u9fff]{2,14}?(?:银行|信用社|信用合作社)|微信支付|支付宝)"
_TIME = r"(?:\d{2}:\d{2}(?::\d{2})?)?"
_PERIOD = rf"({DATE}){_TIME}\s*(?:起|[(（][^)）\n]{{0,6}}[)）])?\s*[-~至到]+\s*({DATE})"
# 兹证明:示例甲(居民身份证...)在其微信号:...中的交易明细
_CERTIFIED = r"兹证明:?\s*([\u4e00-\u9fff·•]{2,25})[(（]"
_LABELS = {
    "account_name": (
        *("户名", "账户名称", "账户名", "客户姓名", "客户名称", "户主", "户主姓名", "姓名", "账户户名", "持卡人"),
        *("客户名", "账号名称", "持卡人姓名"),
    ),
    "account_number": (
        *("账号", "卡号", "账户号码", "客户账号", "账号/卡号", "卡号/账号", "账户账号", "银行卡号", "交易卡号", "账户"),
        *("交易账号", "借记卡号", "查询账号", "查询卡号", "账(卡)号", "卡(账)号", "账户/卡号", "账号卡号", "账户卡号"),
    ),
    "period_from": ("起始日期", "开始日期", "起始日", "查询起日", "起始时间", "开始时间", "起日"),
    "period_to": ("截止日期", "终止日期", "结束日期", "截止日", "查询止日", "截止时间", "结束时间", "止日"),
}
_PATTERNS = {
    # OCR reads the dot in names of other peoples as a stroke or a point
    "account_name": r"([\u4e00-\u9fff](?:[\u4e00-\u9fff·•]|[.-](?=[\u4e00-\u9fff])){1,24})",
    "account_number": r"([\d*](?: ?[\d*]){7,29})",
    "period_from": rf"({DATE})",
    "period_to": rf"({DATE})",
}
_ALL_LABELS = (*(label for labels in _LABELS.values() for label in labels), "币种", "开户行", "证件号码", "起止日期")


def read_fields(rows: Sequence[Row]) -> dict[str, Field]:
    """Find the fields of the head and the rows of the table."""
    rows = whole_headings(rows)
    first_table = next((index for index, row in enumerate(rows) if columns_of(row)), len(rows))
    head = mended(rows[:first_table], _ALL_LABELS)
    flow = Flow(head)
    fields: dict[str, Field] = {}
    if match := flow.search(_BANK):
        fields["bank"] = flow.field(match, 1, match[1])
    form = Form(head, _ALL_LABELS)
    for name, pattern in _PATTERNS.items():
        if found := form.find(_LABELS[name], pattern):
            value = found[0][1].replace(" ", "")
            if name == "account_name":
                value = re.sub("[.-]", "·", value)
            fields[name] = field_of(parse_date(value) if name.startswith("period") else value, found[1])
    if "account_name" not in fields and (match := flow.search(_CERTIFIED)):
        fields["account_name"] = flow.field(match, 1, match[1])
    numbers = [
        number for number in re.findall(r"(?<![\d*])\d{12,23}(?![\dXx])", flow.text) if not checksum_fits(number)
    ]
    if "account_number" not in fields and len(numbers) == 1:  # its label was misread; nothing else is so long
        match = flow.search(rf"({numbers[0]})")
        assert match is not None
        fields["account_number"] = flow.field(match, 1, match[1])
    fields |= _period(flow, Flow(rows[first_table:]))
    if entries := entries_of(rows[first_table:]):
        cells = [[piece for cell in entry.cells.values() for piece in cell] for entry in entries]
        days = [fields[name].value for name in ("period_from", "period_to") if name in fields]
        values = values_of(entries, (days[0], days[1]) if len(days) == 2 else None)
        whole = field_of(_signed(values), [piece for pieces in cells for piece in pieces])
        places, sureness = tuple(map(place_of, cells)), tuple(entry.sureness() for entry in entries)
        fields["rows"] = replace(whole, places=places, sureness=sureness)
    return {name: field for name, field in fields.items() if field.value is not None}


def _period(head: Flow, table: Flow) -> dict[str, Field]:
    """Two days that a word or a stroke joins, above the table or else below it; or two in one line above it."""
    for flow, pattern in ((head, _PERIOD), (table, _PERIOD), (head, rf"({DATE})[^\d\n]{{0,16}}({DATE})")):
        match = flow.search(pattern)
        days = [parse_date(day) for day in match.groups()] if match else []
        if match and None not in days and sorted(map(str, days)) == days:
            return {
                name: flow.field(match, group, days[group - 1])
                for group, name in ((1, "period_from"), (2, "period_to"))
            }
    return {}


def _signed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put back a minus that OCR overlooked, the smallest of signs, where both balances say it to the cent.

    Only money in becomes money out, and only on papers that have signs; digits are never mended.
    """
    if not any((row["amount"] or 0) < 0 for row in rows):
        return rows
    for before, index in _unbalanced(rows):
        row = rows[index]
        if row["amount"] > 0 and _adds_up(rows[before], row | {"amount": -row["amount"]}):
            row["amount"] = -row["amount"]
    return rows


def check(fields: dict[str, Field], paper: Sequence[Row]) -> list[Problem]:
    """Compare the table with itself, with its period, and with what else on the paper looks like a movement."""
    rows = fields["rows"].value if "rows" in fields else []
    problems = []
    if unread := unread_rows(paper, len(rows)):
        problems.append(problem(KIND, "rows_unread", "rows", count=unread))
    balanced = any(row["balance"] is not None for row in rows)
    if rows and not balanced:  # as apps print them: nothing to add up
        problems.append(problem(KIND, "no_balance", "rows"))
    needed = ("date", "amount", "balance") if balanced else ("date", "amount")
    incomplete = [index for index, row in enumerate(rows) if any(row[name] is None for name in needed)]
    if incomplete:
        problems.append(problem(KIND, "row_incomplete", "rows", rows=incomplete))
    pairs, sureness = _unbalanced(rows), fields["rows"].sureness if rows else ()
    # where rows were not read whole, or many of them, their neighbours may not be what they seem either
    tangled = set(range(len(rows))) if len(incomplete) > _TANGLED * len(rows) else set(incomplete)
    unsure = [
        index
        for before, index in pairs
        if {before, index} & tangled or sureness and min(sureness[before], sureness[index]) < SURE
    ]
    if wrong := [index for _, index in pairs if index not in unsure]:
        problems.append(problem(KIND, "balance_mismatch", "rows", rows=wrong))
    if unsure:
        problems.append(problem(KIND, "balance_unsure", "rows", rows=unsure))
    if "period_from" in fields and "period_to" in fields:
        begin, end = fields["period_from"].value, fields["period_to"].value
        outside = [index for index, row in enumerate(rows) if row["date"] and not begin <= row["date"] <= end]
        if outside:
            problems.append(problem(KIND, "row_outside_period", "rows", rows=outside))
    return problems


def _unbalanced(rows: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Rows, each behind the one before it, whose balance is not that one's plus their amount.

    The newest may stand first or last.
    """

    def wrong(order: Sequence[int]) -> list[tuple[int, int]]:
        pairs = zip(order, order[1:], strict=False)
        return sorted((pair for pair in pairs if not _adds_up(rows[pair[0]], rows[pair[1]])), key=lambda pair: pair[1])

    oldest_first = range(len(rows))
    return min(wrong(oldest_first), wrong(oldest_first[::-1]), key=len)


def _adds_up(before: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether the balance before and the amount make the balance, to the cent, or one of them was not read."""
    values = (before["balance"], row["amount"], row["balance"])
    if None in values:
        return True
    cents = [round(value * 100) for value in values]
    return bool(cents[0] + cents[1] == cents[2])
