"""Statements with columns in any order, one or two columns of money, one or two pages; all invented."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.documents.extract import extract
from edge.documents.extraction import Extraction
from edge.documents.layout import ReadPage
from runtime.images import load_pages
from runtime.ocr.line import Line

Build = Callable[..., ReadPage]
SAMPLE = Path(__file__).parents[3] / "examples" / "application"
HEAD = [
    (300, 20, "样例银行账户交易明细"),
    (40, 60, "户名：示例甲"),
    (300, 60, "账号：9999990000123456789"),
    (40, 90, "起止日期：2026-01-01 至 2026-03-31"),
]
ROWS = [
    {"date": "2026-01-03", "summary": "工资", "counterparty": "样例公司", "amount": 8000.0, "balance": 9000.0},
    {"date": "2026-01-05", "summary": "房租", "counterparty": "房东示例庚", "amount": -2600.0, "balance": 6400.0},
    {"date": "2026-02-01", "summary": "消费", "counterparty": "", "amount": -0.5, "balance": 6399.5},
    {"date": "2026-03-02", "summary": "利息", "counterparty": "样例银行", "amount": 1.25, "balance": 6400.75},
]
TITLES = {
    "date": "交易日期",
    "summary": "摘要",
    "counterparty": "对方户名",
    "amount": "交易金额",
    "out": "支出",
    "in": "收入",
    "balance": "余额",
    "channel": "交易渠道",
}
SIGNED = ("date", "summary", "counterparty", "amount", "balance")
TWO_COLUMNS = ("date", "summary", "counterparty", "out", "in", "balance")
NUMBERS = ("amount", "out", "in", "balance")


def shown(row: dict[str, Any], column: str) -> str:
    if column == "channel":
        return "网银"
    if column in ("out", "in"):
        fits = row["amount"] is not None and (row["amount"] < 0) == (column == "out")
        return f"{abs(row['amount']):,.2f}" if fits else ""
    value = row[column]
    if column in NUMBERS:
        return "" if value is None else f"{value:,.2f}"
    return str(value)


def table(build: Build, columns: Sequence[str], rows: Sequence[dict[str, Any]], top: float = 140) -> ReadPage:
    """A page with a table: texts begin where their heading begins, numbers end where it ends."""
    lines = []
    for index, column in enumerate(columns):
        x = 130.0 * index + (120 if column in NUMBERS else 10)
        cells = [(x, top, TITLES[column])]
        cells += [(x, top + 30 * number, shown(row, column)) for number, row in enumerate(rows, start=1)]
        lines += build(*(cell for cell in cells if cell[2]), right=column in NUMBERS).lines
    return ReadPage(tuple(lines), 900, 1200)


def statement(build: Build, *tables: ReadPage) -> Extraction:
    head = build(*HEAD)
    first = ReadPage(head.lines + tables[0].lines, 900, 1200)
    return extract("bank_statement", [first, *tables[1:]])


def codes(extraction: Extraction) -> list[str]:
    return [each.code for each in extraction.problems]


@pytest.mark.parametrize("columns", [SIGNED, TWO_COLUMNS], ids=["signed", "two columns"])
def test_a_statement_is_read(page: Build, columns: Sequence[str]) -> None:
    extraction = statement(page, table(page, columns, ROWS))
    assert {name: field.value for name, field in extraction.fields.items()} == {
        "bank": "样例银行",
        "account_name": "示例甲",
        "account_number": "9999990000123456789",
        "period_from": "2026-01-01",
        "period_to": "2026-03-31",
        "rows": ROWS,
    }
    assert extraction.problems == ()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(columns=st.permutations([*SIGNED, "channel"]) | st.permutations(TWO_COLUMNS))
def test_columns_may_stand_in_any_order(page: Build, columns: list[str]) -> None:
    assert statement(page, table(page, columns, ROWS)).value("rows") == ROWS


def test_rows_go_on_on_the_next_page_with_or_without_headings(page: Build) -> None:
    again = table(page, TWO_COLUMNS, ROWS[2:], top=60)
    bare = ReadPage(tuple(line for line in again.lines if line.box[0][1] > 60), 900, 1200)
    for second in (again, bare):
        extraction = statement(page, table(page, TWO_COLUMNS, ROWS[:2]), second)
        rows = extraction.fields["rows"]
        assert (rows.page, rows.box[0][1], rows.box[2][1]) == (0, 170, 220)
        assert extraction.value("rows") == ROWS
        assert extraction.problems == ()


def test_the_next_page_may_order_its_columns_anew(page: Build) -> None:
    second = table(page, ("balance", "counterparty", "date", "amount", "summary"), ROWS[2:], top=60)
    assert statement(page, table(page, SIGNED, ROWS[:2]), second).value("rows") == ROWS


def test_the_newest_row_may_stand_first(page: Build) -> None:
    extraction = statement(page, table(page, SIGNED, ROWS[::-1]))
    assert extraction.value("rows") == ROWS[::-1]
    assert extraction.problems == ()


def test_a_balance_that_does_not_follow_is_named_by_its_row(page: Build) -> None:
    rows = [*ROWS[:2], ROWS[2] | {"amount": -1.5}, ROWS[3]]
    problems = statement(page, table(page, SIGNED, rows)).problems
    assert [(each.code, each.field) for each in problems] == [("balance_mismatch", "rows")]
    assert "第 3 行" in problems[0].text


def test_a_sum_that_is_broken_where_digits_were_hard_to_read_accuses_nobody(page: Build) -> None:
    rows = [*ROWS[:2], ROWS[2] | {"amount": -1.5}, ROWS[3]]
    drawn = table(page, SIGNED, rows)
    for unsure in ("-1.50", "6,400.00", "6,399.50"):  # the amount, and the balances before and after it
        lines = tuple(replace(line, confidence=0.85) if line.text == unsure else line for line in drawn.lines)
        problems = statement(page, ReadPage(lines, 900, 1200)).problems
        assert [(each.code, each.rows) for each in problems] == [("balance_unsure", (2,))]
    lines = tuple(replace(line, confidence=0.85) if line.text == "消费" else line for line in drawn.lines)
    assert codes(statement(page, ReadPage(lines, 900, 1200))) == ["balance_mismatch"]


def test_a_cell_that_was_not_read_is_none_and_a_problem(page: Build) -> None:
    rows = [*ROWS[:2], ROWS[2] | {"amount": None}, ROWS[3]]
    for columns in (SIGNED, TWO_COLUMNS):
        extraction = statement(page, table(page, columns, rows))
        assert extraction.value("rows")[2]["amount"] is None
        assert codes(extraction) == ["row_incomplete"]


def test_rows_outside_the_period_are_a_problem(page: Build) -> None:
    rows = [*ROWS[:3], ROWS[3] | {"date": "2026-04-02"}]
    assert codes(statement(page, table(page, SIGNED, rows))) == ["row_outside_period"]


def test_what_ocr_ran_together_is_taken_apart(page: Build) -> None:
    drawn = table(page, SIGNED, ROWS)
    extra = page((10, 290, "2026-03-05 09:12:00"), (140, 290, "取现")).lines
    numbers = page((640, 290, "-0.75 6,400.00"), right=True).lines
    rows = statement(page, ReadPage(drawn.lines + extra + numbers, 900, 1200)).value("rows")
    assert rows[4] == {
        "date": "2026-03-05", "summary": "取现", "counterparty": "", "amount": -0.75, "balance": 6400.0
    }  # fmt: skip


def test_a_text_on_two_lines_is_one_cell_and_a_footer_is_none(page: Build) -> None:
    drawn = table(page, SIGNED, ROWS)
    footers = [(10, 304, "支出合计：2,600.50")], [(140, 304, "说明：以上仅供参考")], [(140, 340, "以上仅供参考")]
    for footer in footers:
        rest = page((270, 282, "营业部"), *footer).lines
        rows = statement(page, ReadPage(drawn.lines + rest, 900, 1200)).value("rows")
        assert [row["counterparty"] for row in rows[2:]] == ["", "样例银行营业部"]
        assert [row["summary"] for row in rows[2:]] == ["消费", "利息"]


def test_a_column_of_words_says_which_way_money_went(page: Build) -> None:
    titles, flags = TITLES | {"flag": "借贷标志"}, {True: "借", False: "贷"}
    lines = []
    for index, column in enumerate(("date", "summary", "flag", "amount", "balance", "counterparty")):
        x = 130.0 * index + (120 if column in NUMBERS else 10)
        cells = [(x, 140.0, titles[column])]
        for number, row in enumerate(ROWS, start=1):
            text = flags[row["amount"] < 0] if column == "flag" else shown(row, column)
            cells.append((x, 140.0 + 30 * number, text.lstrip("-") if column == "amount" else text))
        lines += page(*(cell for cell in cells if cell[2]), right=column in NUMBERS).lines
    extraction = statement(page, ReadPage(tuple(lines), 900, 1200))
    assert extraction.value("rows") == ROWS
    unread = tuple(line for line in lines if line.text != "借")
    assert [row["amount"] for row in statement(page, ReadPage(unread, 900, 1200)).value("rows")] == [
        row["amount"] if row["amount"] > 0 else -row["amount"] for row in ROWS
    ]
    misread = tuple(replace(line, text="惜") if line.text == "借" else line for line in lines)
    assert codes(statement(page, ReadPage(misread, 900, 1200))) == ["row_incomplete"]


def test_a_heading_may_stand_on_two_lines(page: Build) -> None:
    drawn = table(page, SIGNED, ROWS)
    heads = {"交易日期", "交易金额", "对方户名", "摘要", "余额"}
    rest = tuple(line for line in drawn.lines if line.text not in heads)
    upper = [(10, 112, "交易"), (140, 112, "业务"), (270, 112, "对方"), (460, 112, "交易"), (590, 112, "账户")]
    lower = [(10, 136, "日期"), (140, 136, "摘要"), (270, 136, "户名"), (460, 136, "金额"), (590, 136, "余额")]
    extraction = statement(page, ReadPage(page(*upper, *lower).lines + rest, 900, 1200))
    assert extraction.value("rows") == ROWS


def test_long_names_in_the_middle_of_their_rows_are_not_shared_out_to_the_neighbours(page: Build) -> None:
    head = table(page, SIGNED, []).lines
    lines, names = [], ["样例物流服务部虚构分公司", "房东示例庚", "虚构速贷网络小额贷款公司"]
    for number, name in enumerate(names):
        y = 200.0 + 70 * number
        balance = f"{1000 - 10 * number:,.2f}"
        lines += page((10, y, f"2026-02-0{number + 1}"), (140, y, "转账")).lines
        lines += page((510, y, "-10.00"), (640, y, balance), right=True).lines
        parts = [name[:6], name[6:]] if len(name) > 6 else [name]
        lines += page(*((270, y + 26 * (i - (len(parts) - 1) / 2), part) for i, part in enumerate(parts))).lines
    extraction = statement(page, ReadPage(head + tuple(lines), 900, 1200))
    assert [row["counterparty"] for row in extraction.value("rows")] == names


def test_an_overlooked_minus_is_put_back_where_both_balances_say_so(page: Build) -> None:
    rows = [*ROWS[:2], ROWS[2] | {"amount": 0.5}, ROWS[3]]
    extraction = statement(page, table(page, SIGNED, rows))
    assert extraction.value("rows") == ROWS
    assert extraction.problems == ()


def test_money_in_is_never_made_of_money_out_nor_a_digit_mended(page: Build) -> None:
    for amount in (-1.25, 1.35):
        rows = [*ROWS[:3], ROWS[3] | {"amount": amount}]
        extraction = statement(page, table(page, SIGNED, rows))
        assert extraction.value("rows")[3]["amount"] == amount
        assert codes(extraction) == ["balance_mismatch"]


def test_a_digit_that_two_boxes_share_is_read_once(page: Build) -> None:
    head = table(page, ("date", "amount", "summary", "counterparty", "balance"), ROWS).lines
    doubled = page((242, 290, "2取现")).lines
    row = page((10, 290, "2026-03-05")).lines + page((250, 290, "-6,400.72"), (640, 290, "0.03"), right=True).lines
    rows = statement(page, ReadPage(head + row + doubled, 900, 1200)).value("rows")
    assert (rows[4]["summary"], rows[4]["amount"]) == ("取现", -6400.72)


def bare(drawn: ReadPage) -> tuple[Line, ...]:
    """The lines of a table without its heading."""
    return tuple(line for line in drawn.lines if line.box[0][1] > 140)


def test_five_thousand_rows_are_read_and_a_broken_one_is_pointed_at(page: Build) -> None:
    pages, balance, number = [], 100_000_000, 0
    for index in range(125):
        rows = []
        for _ in range(40):
            number += 1
            balance -= 101
            shown_balance = balance + (5 if number == 4_321 else 0)
            rows.append(ROWS[1] | {"amount": -1.01, "balance": shown_balance / 100, "date": "2026-02-01"})
        drawn = table(page, SIGNED, rows)
        pages.append(drawn if index == 0 else ReadPage(bare(drawn), 900, 1200))
    begin = time.process_time()
    extraction = statement(page, *pages)
    assert time.process_time() - begin < 10  # 2 s here
    assert len(extraction.value("rows")) == 5_000
    (problem,) = extraction.problems
    assert problem.rows == (4_320, 4_321)
    assert problem.place is not None
    assert problem.place.page == 108


def test_a_balance_that_is_carried_over_is_no_movement(page: Build) -> None:
    opening = {"date": "2026-01-01", "summary": "期初余额", "counterparty": "", "amount": None, "balance": 1000.0}
    extraction = statement(page, table(page, SIGNED, [opening, *ROWS]))
    assert extraction.value("rows") == ROWS
    assert extraction.problems == ()


def test_rows_under_a_heading_that_was_not_understood_are_not_lost_in_silence(page: Build) -> None:
    first = ReadPage(bare(table(page, SIGNED, ROWS[:2])), 900, 1200)
    extraction = statement(page, first, table(page, SIGNED, ROWS[2:]))
    assert extraction.value("rows") == ROWS[2:]
    assert [(each.code, each.text) for each in extraction.problems] == [
        ("rows_unread", "另有 2 行像是交易，但未能读懂")
    ]
    alone = statement(page, first)
    assert set(codes(alone)) == {"missing_field", "rows_unread"}


def test_the_last_word_of_a_heading_may_stand_alone_on_its_line(page: Build) -> None:
    drawn = table(page, SIGNED, ROWS)
    rest = tuple(line for line in drawn.lines if line.text != "余额")
    extraction = statement(page, ReadPage(rest + page((600, 162, "余额")).lines, 900, 1200))
    assert extraction.value("rows") == ROWS


def test_a_number_whose_label_was_misread_is_found_by_its_length(page: Build) -> None:
    head = page((40, 30, "样例银行"), (300, 60, "长号：9999990000123456789"), (40, 60, "户名：示例甲"))
    extraction = extract("bank_statement", [ReadPage(head.lines + table(page, SIGNED, ROWS).lines, 900, 1200)])
    assert extraction.value("account_number") == "9999990000123456789"


def test_the_sample_statement_is_read_from_its_text_layer() -> None:
    pages = list(load_pages((SAMPLE / "statement.pdf").read_bytes()))
    assert all(page.lines is not None for page in pages)
    extraction = extract("bank_statement", [ReadPage(page.lines or (), page.width, page.height) for page in pages])
    documents = json.loads((SAMPLE / "truth.json").read_text(encoding="utf-8"))["documents"]
    expected = next(each["fields"] for each in documents if each["kind"] == "bank_statement")
    assert {name: field.value for name, field in extraction.fields.items()} == expected
    assert extraction.problems == ()
