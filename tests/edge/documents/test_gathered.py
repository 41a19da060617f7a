"""Papers as people gather them: several in one file, pages in any order, of two accounts; all invented."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from edge.documents.extract import extract
from edge.documents.layout import ReadPage

Build = Callable[..., ReadPage]
LETTER = [
    (300, 40, "收入证明"),
    (40, 90, "虚构银行股份有限公司："),
    (40, 130, "示例甲，男，身份证号999999199003070012，为我单位员工，现任会计职务，"),
    (40, 170, "平均每月收入12000元。特此证明。"),
    (400, 300, "样例科技有限公司"),
    (400, 340, "2026年10月9日"),
]
HEAD = [(300, 20, "样例银行交易明细"), (40, 60, "户名：示例甲"), (300, 60, "账号：9999990000123456789")]
PERIOD = (40, 90, "起止日期：2026-08-01 至 2026-10-31")
COLUMNS = [
    (40, 130, "交易日期"),
    (200, 130, "摘要"),
    (340, 130, "交易金额"),
    (500, 130, "余额"),
    (640, 130, "对方户名"),
]
ROWS = [
    ("2026-08-03", "工资", "8,000.00", "9,000.00"),
    ("2026-08-09", "房租", "-2,600.00", "6,400.00"),
    ("2026-09-01", "消费", "-0.50", "6,399.50"),
    ("2026-09-03", "工资", "8,000.00", "14,399.50"),
]


def lines(rows: Sequence[Sequence[str]], top: float = 170) -> list[tuple[float, float, str]]:
    lefts = (40, 200, 340, 500)
    return [
        (x, top + 40 * index, text)
        for index, row in enumerate(rows)
        for x, text in zip(lefts, row, strict=True)
        if text
    ]


def dates(values: Sequence[dict[str, object]]) -> list[object]:
    return [row["date"] for row in values]


def codes(pages: Sequence[ReadPage]) -> set[str]:
    return {each.code for each in extract("bank_statement", pages).problems}


def test_two_papers_in_one_file_are_each_read_from_their_own_pages(page: Build) -> None:
    pages = [page(*LETTER), page(*HEAD, PERIOD, *COLUMNS, *lines(ROWS))]
    proof, statement = extract("income_proof", pages), extract("bank_statement", pages)
    assert (proof.value("name"), proof.value("monthly_income")) == ("示例甲", 12000.0)
    assert statement.value("bank") == "样例银行"  # not the one that the letter is addressed to
    assert statement.fields["bank"].page == 1
    assert (proof.problems, statement.problems) == ((), ())


def test_pages_in_the_wrong_order_are_put_right_by_their_days(page: Build) -> None:
    early = page(*HEAD, PERIOD, *COLUMNS, *lines(ROWS[:2]))
    late = page(*HEAD, PERIOD, *COLUMNS, *lines(ROWS[2:]))
    statement = extract("bank_statement", [late, early])
    assert dates(statement.value("rows")) == [row[0] for row in ROWS]
    assert [place.page for place in statement.fields["rows"].places] == [1, 1, 0, 0]
    assert statement.problems == ()


def test_a_page_without_a_heading_may_come_before_the_one_that_has_it(page: Build) -> None:
    early, late = page(*HEAD, PERIOD, *COLUMNS, *lines(ROWS[:2])), page(*lines(ROWS[2:], 40))
    statement = extract("bank_statement", [late, early])
    assert dates(statement.value("rows")) == [row[0] for row in ROWS]
    assert (statement.value("account_name"), statement.problems) == ("示例甲", ())


def test_pages_of_another_account_are_named(page: Build) -> None:
    own = page(*HEAD, PERIOD, *COLUMNS, *lines(ROWS[:2]))
    other = page((300, 20, "样例银行交易明细"), (40, 60, "户名：虚构乙"), *COLUMNS, *lines(ROWS[2:]))
    assert codes([own, other]) == {"several_accounts"}
    misread = page((300, 20, "样例银行交易明细"), (40, 60, "户名：示例申"), *COLUMNS, *lines(ROWS[2:]))
    assert codes([own, misread]) == set()


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        ("收入合计：16,000.00 支出合计：2,600.50", set()),
        ("收入合计：46,000.00 支出合计：2,600.50", {"total_mismatch"}),
        ("收入合计：16,000.00 支出合计：600.50", {"total_mismatch"}),
        ("收入：2笔46000.00元", {"total_mismatch"}),
        ("收入：2笔16000.00元", set()),
    ],
)
def test_a_total_that_the_rows_do_not_make_is_named(page: Build, total: str, expected: set[str]) -> None:
    assert codes([page(*HEAD, PERIOD, *COLUMNS, *lines(ROWS), (40, 400, total))]) == expected


def test_totals_of_each_page_are_no_total_of_the_whole(page: Build) -> None:
    first = page(*HEAD, PERIOD, *COLUMNS, *lines(ROWS[:2]), (40, 400, "收入合计：8,000.00"))
    second = page(*COLUMNS, *lines(ROWS[2:]), (40, 400, "收入合计：8,000.00"))
    assert codes([first, second]) == set()


def test_a_total_accuses_nobody_where_digits_were_hard_to_read(page: Build) -> None:
    drawn = page(*HEAD, PERIOD, *COLUMNS, *lines(ROWS), (40, 400, "收入合计：46,000.00"))
    for unsure in ("收入合计：46,000.00", "8,000.00"):
        faint = tuple(replace(line, confidence=0.85) if line.text == unsure else line for line in drawn.lines)
        assert codes([replace(drawn, lines=faint)]) == set()


@pytest.mark.parametrize(("confidence", "code"), [(0.99, "balance_unsure"), (1.0, "balance_mismatch")])
def test_one_balance_beneath_a_stamp_accuses_nobody_unless_it_is_text(
    page: Build, confidence: float, code: str
) -> None:
    rows = [*ROWS[:2], (*ROWS[2][:3], "36,399.50"), ROWS[3]]
    drawn = page(*HEAD, PERIOD, *COLUMNS, *lines(rows), confidence=confidence)
    assert codes([drawn]) == {code}


def test_years_of_two_digits_are_those_of_the_period(page: Build) -> None:
    rows = [(row[0][2:], *row[1:]) for row in ROWS]
    assert dates(extract("bank_statement", [page(*HEAD, PERIOD, *COLUMNS, *lines(rows))]).value("rows")) == [
        row[0] for row in ROWS
    ]
    assert dates(extract("bank_statement", [page(*HEAD, *COLUMNS, *lines(rows))]).value("rows")) == [None] * 4


def test_numbers_line_up_with_a_heading_and_its_unit(page: Build) -> None:
    heading = [
        (40, 130, "日期"),
        (200, 130, "摘要"),
        (300, 130, "支出（元）"),
        (432, 130, "存入（元）"),
        (580, 130, "余额"),
    ]
    rows = [(40, 170, "20260803"), (200, 170, "缴费"), (375, 170, "9.57"), (580, 170, "990.43")]
    value = extract("bank_statement", [page(*HEAD, PERIOD, *heading, *rows)]).value("rows")
    assert [row["amount"] for row in value] == [-9.57]


def test_a_date_above_the_time_belongs_to_the_row_between_them(page: Build) -> None:
    cells = [
        (40, 158, "2026-08-03"),
        (40, 180, "16:21:21"),
        (200, 170, "工资"),
        (340, 169, "8,000.00"),
        (500, 169, "9,000.00"),
    ]
    value = extract("bank_statement", [page(*HEAD, PERIOD, *COLUMNS, *cells)]).value("rows")
    assert [(row["date"], row["amount"]) for row in value] == [("2026-08-03", 8000.0)]


def test_a_total_of_another_paper_is_not_the_statements(page: Build) -> None:
    other = page((40, 40, "收入纳税明细"), (40, 80, "收入合计：46,000.00元"))
    assert codes([other, page(*HEAD, PERIOD, *COLUMNS, *lines(ROWS))]) == set()
