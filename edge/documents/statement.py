"""Bank statements: a head of labels, then a table; what both say is held against each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rapidfuzz.distance import Levenshtein

from edge.documents.extraction import SURE, Field, Problem, problem
from edge.documents.headings import columns_of, whole_headings
from edge.documents.id_number import checksum_fits
from edge.documents.labels import mended
from edge.documents.layout import Flow, Form, Row, field_of, place_of
from edge.documents.normalise import AMOUNT, DATE, parse_amount, parse_date
from edge.documents.table import Entry, Period, entries_of, unread_rows, values_of

KIND = "bank_statement"
_TANGLED = 0.2  # of the rows incomplete: cells of one row have come to another

# 开户银行 and the like are labels, not banks
_BANK = (
    r"(?!开户|发卡|对方|本银|我行)([\u4e00-\u9fff]{2,14}?(?:银行|信用社|信用合作社|信用合作联社|信用联社|合作联社)"
    r"|微信支付|支付宝)"
)
_INTO, _OUT_OF = "(?:收入|存入|转入|贷方)", "(?:支出|支取|转出|借方)"
_SUM = r"(?:金额|发生额)?(?:合计|总计|总额|累计)[^\d\n]{0,8}"
_COUNTED = r":? *\d{1,6} *笔[,:]? *"  # 收入:3笔1.00元
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
    rows = _headed_first(whole_headings(rows))
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
    long = r"(?<![\d*])(?<!(?:编|单|证|水)号:)(?<!(?:编|单|证|水)号)\d{12,23}(?![\dXx])"  # 编号 and the like
    numbers = [number for number in re.findall(long, flow.text) if not checksum_fits(number)]
    if "account_number" not in fields and len(numbers) == 1:  # its label was misread; nothing else is so long
        match = flow.search(rf"({numbers[0]})")
        assert match is not None
        fields["account_number"] = flow.field(match, 1, match[1])
    fields |= _period(flow, Flow(rows[first_table:]))
    if entries := entries_of(rows[first_table:]):
        days = [fields[name].value for name in ("period_from", "period_to") if name in fields]
        entries, values = _in_order(entries, (days[0], days[1]) if len(days) == 2 else None)
        cells = [[piece for cell in entry.cells.values() for piece in cell] for entry in entries]
        whole = field_of(_signed(values), [piece for pieces in cells for piece in pieces])
        places, sureness = tuple(map(place_of, cells)), tuple(entry.sureness() for entry in entries)
        fields["rows"] = replace(whole, places=places, sureness=sureness)
    return {name: field for name, field in fields.items() if field.value is not None}


def _headed_first(rows: list[Row]) -> list[Row]:
    """The rows with pages that hold rows alone behind those with a heading, as where they were scanned in any order."""
    headed = {row[0].page for row in rows if columns_of(row)}
    labelled = {piece.page for row in rows for piece in row if re.search(r"[\u4e00-\u9fff]\s*:", piece.text)}
    if not headed:
        return rows
    return sorted(rows, key=lambda row: row[0].page < min(headed) and row[0].page not in labelled)


def _in_order(entries: list[Entry], period: Period) -> tuple[list[Entry], list[dict[str, Any]]]:
    """The entries and their values; pages scanned in any order stand by their days, if balances add up better so."""
    rows = values_of(entries, period)
    pages: dict[int, list[Entry]] = {}
    for entry in entries:
        pages.setdefault(entry.row[0].page, []).append(entry)
    if len(pages) < 2 or not _unbalanced(rows):
        return entries, rows
    first = {page: next((day for each in of if (day := each.day(period))), "") for page, of in pages.items()}
    for falling in (False, True):
        ordered = sorted(pages, key=first.__getitem__, reverse=falling)
        again = [each for page in ordered for each in pages[page]]
        if len(_unbalanced(values := values_of(again, period))) < len(_unbalanced(rows)):
            entries, rows = again, values
    return entries, rows


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
    problems += _names(paper)
    pairs, sureness = _unbalanced(rows), fields["rows"].sureness if rows else ()
    # where rows were not read whole, or many of them, their neighbours may not be what they seem either
    tangled = set(range(len(rows))) if len(incomplete) > _TANGLED * len(rows) else set(incomplete)
    unsure = [
        index
        for before, index in pairs
        if {before, index} & tangled or sureness and min(sureness[before], sureness[index]) < SURE
    ]
    # one balance with a digit more or less, where those around it fit each other: a stamp over it, nobody gains by it
    alone = {index for _, index in pairs if sureness[index] < 1.0 and _fits_without(rows, index)}
    unsure += [index for before, index in pairs if {before, index} & alone and index not in unsure]
    if wrong := [index for _, index in pairs if index not in unsure]:
        problems.append(problem(KIND, "balance_mismatch", "rows", rows=wrong))
    if unsure:
        problems.append(problem(KIND, "balance_unsure", "rows", rows=sorted(unsure)))
    if rows and min(sureness) >= SURE and all(each.code == "no_balance" for each in problems):
        own = {place.page for place in fields["rows"].places}  # an income proof in the same file has totals too
        problems += _totals(rows, [row for row in paper if row[0].page in own])
    if "period_from" in fields and "period_to" in fields:
        begin, end = fields["period_from"].value, fields["period_to"].value
        outside = [index for index, row in enumerate(rows) if row["date"] and not begin <= row["date"] <= end]
        if outside:
            problems.append(problem(KIND, "row_outside_period", "rows", rows=outside))
    return problems


def _names(paper: Sequence[Row]) -> list[Problem]:
    """Whether pages bear different names of an account, in more than a character that may have been misread."""
    found: dict[str, float] = {}
    for page in dict.fromkeys(row[0].page for row in paper):
        rows = [row for row in paper if row[0].page == page and not columns_of(row)]
        if told := Form(rows, _ALL_LABELS).find(_LABELS["account_name"], _PATTERNS["account_name"]):
            name = re.sub("[.-]", "·", told[0][1])
            found[name] = max(found.get(name, 0.0), field_of(name, told[1]).confidence)
    sure = [name for name, confidence in found.items() if confidence >= SURE]
    if not any(Levenshtein.distance(one, other) > 1 for one in sure for other in sure):
        return []
    return [problem(KIND, "several_accounts", "account_name", names="、".join(sure))]


def _totals(rows: Sequence[dict[str, Any]], paper: Sequence[Row]) -> list[Problem]:
    """What the paper itself says came in and went out altogether, against its rows.

    A total of each page or of each month is told several times; only what is told once is of the whole.
    """
    flow = Flow(paper)
    for words, sign in ((_INTO, 1), (_OUT_OF, -1)):
        pattern = rf"(?<![\u4e00-\u9fff]){words}(?:{_SUM}({AMOUNT})|{_COUNTED}({AMOUNT})(?=元))"
        told = list(re.finditer(pattern, flow.text))
        if len(told) != 1:
            continue
        total = flow.field(told[0], told[0].lastindex or 1, parse_amount(told[0][told[0].lastindex or 1]))
        moved = sum(round(sign * row["amount"] * 100) for row in rows if sign * row["amount"] > 0)
        if total.confidence >= SURE and total.value is not None and round(abs(total.value) * 100) != moved:
            return [problem(KIND, "total_mismatch", "rows", total=abs(total.value), moved=moved / 100)]
    return []


def _unbalanced(rows: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Rows, each behind the one before it, whose balance is not that one's plus their amount.

    The newest may stand first or last.
    """

    def wrong(order: Sequence[int]) -> list[tuple[int, int]]:
        pairs = zip(order, order[1:], strict=False)
        return sorted((pair for pair in pairs if not _adds_up(rows[pair[0]], rows[pair[1]])), key=lambda pair: pair[1])

    oldest_first = range(len(rows))
    return min(wrong(oldest_first), wrong(oldest_first[::-1]), key=len)


def _fits_without(rows: Sequence[dict[str, Any]], index: int) -> bool:
    """Whether the balances before and behind a row fit each other by both amounts, the newest first or last."""
    if not 0 < index < len(rows) - 1:
        return False
    for before, row, after in (rows[index - 1 : index + 2], rows[index - 1 : index + 2][::-1]):
        values = (before["balance"], row["amount"], after["amount"], after["balance"])
        if None not in values and round(sum(values[:3]) * 100) == round(values[3] * 100):
            return len(f"{row['balance']:.0f}") != len(f"{before['balance'] + row['amount']:.0f}")
    return False


def _adds_up(before: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether the balance before and the amount make the balance, to the cent, or one of them was not read."""
    values = (before["balance"], row["amount"], row["balance"])
    if None in values:
        return True
    cents = [round(value * 100) for value in values]
    return bool(cents[0] + cents[1] == cents[2])
