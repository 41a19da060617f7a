"""Statements as apps and old printers make them; all invented."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.documents.extract import extract
from edge.documents.extraction import Extraction
from edge.documents.layout import ReadPage

Build = Callable[..., ReadPage]
HEAD = [
    (300, 20, "样例银行账户交易明细"),
    (40, 50, "户名：示例甲"),
    (300, 50, "账号：9999990000123456789"),
    (40, 80, "起止日期：2025-12-01至2026-02-28"),
]
TITLES = [
    (10, 140, "交易日期"),
    (140, 140, "摘要"),
    (270, 140, "对方户名"),
    (460, 140, "交易金额"),
    (640, 140, "账户余额"),
]
PAY = [
    (10, 170, "2026-01-03"),
    (140, 170, "工资"),
    (270, 170, "样例公司"),
    (460, 170, "8,000.00"),
    (640, 170, "9,000.00"),
]
RENT = [
    *((10, 200, "2026-01-05"), (140, 200, "房租"), (270, 200, "房东示例庚"), (460, 200, "-2,600.00")),
    (640, 200, "6,400.00"),
]
PAID = {"date": "2026-01-03", "summary": "工资", "counterparty": "样例公司", "amount": 8000.0, "balance": 9000.0}
RENTED = {"date": "2026-01-05", "summary": "房租", "counterparty": "房东示例庚", "amount": -2600.0, "balance": 6400.0}


def read(build: Build, *pages: list[tuple[float, float, str]]) -> Extraction:
    return extract("bank_statement", [build(*cells) for cells in pages])


def swapped(cells: list[tuple[float, float, str]], texts: dict[str, str]) -> list[tuple[float, float, str]]:
    return [(x, y, texts.get(text, text)) for x, y, text in cells]


def test_heads_that_return_sums_and_balances_carried_over_are_no_movements(page: Build) -> None:
    sums = [(140, 230, "本页小计"), (460, 230, "5,400.00"), (640, 230, "6,400.00"), (300, 290, "第1页/共2页")]
    sums += [(10, 260, "本期借方累计"), (460, 260, "2,600.00"), (640, 260, "8,000.00")]
    carried = [(10, 170, "2026-01-05"), (140, 170, "承前页"), (640, 170, "6,400.00")]
    again = [(x, y + 30, text) for x, y, text in [*PAY, *RENT]]
    again = swapped(again, {"9,000.00": "14,400.00", "6,400.00": "11,800.00"})
    total = [(10, 290, "2026-01-05"), (140, 290, "本期合计"), (460, 290, "10,800.00"), (640, 290, "11,800.00")]
    printed = [(10, 320, "打印日期"), (140, 320, "2026-03-01")]
    extraction = read(page, [*HEAD, *TITLES, *PAY, *RENT, *sums], [*HEAD, *TITLES, *carried, *again, *total, *printed])
    assert extraction.value("rows") == [PAID, RENTED, PAID | {"balance": 14400.0}, RENTED | {"balance": 11800.0}]
    assert extraction.problems == ()


@pytest.mark.parametrize(("first", "second"), [("01-03", "01-05"), ("1月3日", "1月5日"), ("01/03", "01/05")])
def test_a_date_without_its_year_has_the_one_of_the_period(page: Build, first: str, second: str) -> None:
    rows = swapped([*PAY, *RENT], {"2026-01-03": first, "2026-01-05": second})
    extraction = read(page, [*HEAD, *TITLES, *rows])
    assert extraction.value("rows") == [PAID, RENTED]
    assert extraction.problems == ()


def test_a_date_whose_year_nothing_tells_is_not_read(page: Build) -> None:
    rows = swapped([*PAY, *RENT], {"2026-01-05": "01-05"})
    extraction = read(page, [*HEAD[:3], *TITLES, *rows])
    assert extraction.value("rows") == [PAID, RENTED | {"date": None}]
    assert "row_incomplete" in [each.code for each in extraction.problems]


@pytest.mark.parametrize(
    ("paid", "rented"),
    [
        ("8,000.00CR", "2,600.00DR"),
        ("8,000.0OCR", "2,600.00ODR"),
        ("8,0O0.00", "-2,600.0O"),
        ("8,000.00", "(2,600.00)"),
        ("8,000.00", "（2,600.00）"),
        ("收入8,000.00", "支出2,600.00"),
        ("8,000.00", "2,600.00-"),
        ("+8,000.00", "一2,600.00"),
    ],
)
def test_money_out_is_told_however_accountants_write_it(page: Build, paid: str, rented: str) -> None:
    rows = swapped([*PAY, *RENT], {"8,000.00": paid, "-2,600.00": rented})
    extraction = read(page, [*HEAD, *TITLES, *rows])
    assert extraction.value("rows") == [PAID, RENTED]
    assert extraction.problems == ()


def test_a_date_may_be_printed_once_for_all_rows_of_a_day(page: Build) -> None:
    third = [(x, y + 60, text) for x, y, text in swapped(PAY[1:], {"9,000.00": "14,400.00"})]
    rows = [*PAY, *RENT[1:], *third]
    extraction = read(page, [*HEAD, *TITLES, *rows])
    dates = [row["date"] for row in extraction.value("rows")]
    assert dates == ["2026-01-03"] * 3
    assert extraction.problems == ()


def test_a_row_whose_date_was_not_read_is_not_lost(page: Build) -> None:
    more = [
        (x, y + 60, text) for x, y, text in swapped([*PAY, *RENT], {"9,000.00": "14,400.00", "6,400.00": "11,800.00"})
    ]
    rows = [cell for cell in [*PAY, *RENT, *more] if cell[:2] != (10, 200)]
    extraction = read(page, [*HEAD, *TITLES, *rows])
    assert [row["date"] for row in extraction.value("rows")] == ["2026-01-03", "2026-01-03", "2026-01-03", "2026-01-05"]
    apart = swapped(rows, {"2026-01-03": "2026-01-02"})[:5] + rows[5:]
    extraction = read(page, [*HEAD, *TITLES, *apart])
    assert [row["date"] for row in extraction.value("rows")] == ["2026-01-02", None, "2026-01-03", "2026-01-05"]
    assert [(each.code, each.rows) for each in extraction.problems] == [("row_incomplete", (1,))]


def test_a_day_and_its_time_without_a_space_are_told_apart(page: Build) -> None:
    rows = swapped([*PAY, *RENT], {"2026-01-03": "2026-01-0309:12:00", "2026-01-05": "2026-01-05 10:00"})
    assert read(page, [*HEAD, *TITLES, *rows]).value("rows") == [PAID, RENTED]


def test_an_apps_list_has_no_balances_and_that_is_said_once(page: Build) -> None:
    head = [
        (300, 20, "微信支付交易明细证明"),
        (40, 50, "兹证明：示例甲（居民身份证：999999199003070012），在其微信号：shili_jia中的交易明细信息如下："),
        (40, 80, "交易明细对应时间段：2025-12-01 00:00:00至2026-02-28 23:59:59"),
    ]
    columns = ["交易单号", "交易时间", "交易类型", "收/支/其他", "交易方式", "金额(元)", "交易对方", "商户单号"]
    xs = [10, 170, 290, 400, 510, 600, 700, 860]
    lines = [
        ["1000050001202601", "2026-01-03", "转账", "收入", "/", "300.00", "样例乙", "10000500"],
        ["4200002345202601", "2026-01-05", "商户消费", "支出", "零钱", "35.50", "示例超市", "20260105"],
        ["1000070001202601", "2026-01-09", "零钱提现", "其他", "示例银行", "100.00", "/", "/"],
    ]
    cells = [*head, *((x, 140, title) for x, title in zip(xs, columns, strict=True))]
    for number, line in enumerate(lines):
        cells += [(x, 170 + 40 * number, text) for x, text in zip(xs, line, strict=True)]
    extraction = read(page, cells)
    assert extraction.value("account_name") == "示例甲"
    assert extraction.value("bank") == "微信支付"
    assert (extraction.value("period_from"), extraction.value("period_to")) == ("2025-12-01", "2026-02-28")
    assert [(row["date"], row["summary"], row["counterparty"], row["amount"]) for row in extraction.value("rows")] == [
        ("2026-01-03", "转账", "样例乙", 300.0),
        ("2026-01-05", "商户消费", "示例超市", -35.5),
        ("2026-01-09", "零钱提现", "/", None),
    ]
    assert [(each.code, each.field, each.rows) for each in extraction.problems] == [
        ("missing_field", "account_number", ()),
        ("no_balance", "rows", ()),
        ("row_incomplete", "rows", (2,)),
    ]


def test_columns_that_nobody_knows_keep_their_cells_to_themselves(page: Build) -> None:
    odd = [(760, 140, "回单编码"), (760, 170, "55.20"), (760, 200, "18.30")]
    extraction = read(page, [*HEAD, *TITLES, *PAY, *RENT, *odd])
    assert extraction.value("rows") == [PAID, RENTED]


def test_of_two_columns_for_one_thing_the_more_telling_one_is_taken(page: Build) -> None:
    more = [
        (760, 140, "备注"),
        (760, 170, "一月"),
        (760, 200, "一月"),
        (900, 140, "记账日期"),
        (900, 170, "2026-01-04"),
    ]
    extraction = read(page, [*HEAD, *TITLES, *PAY, *RENT, *more])
    assert extraction.value("rows") == [PAID, RENTED]


def test_a_heading_with_a_misread_character_is_a_heading(page: Build) -> None:
    titles = swapped(TITLES, {"账户余额": "账户余颔", "交易日期": "交易曰期"})
    assert read(page, [*HEAD, *titles, *PAY, *RENT]).value("rows") == [PAID, RENTED]
    short = swapped(TITLES, {"账户余额": "余颔"})
    assert read(page, [*HEAD, *short, *PAY, *RENT]).value("rows") == [PAID, RENTED]


def test_a_text_layer_whose_cells_touch_is_taken_apart_at_the_headings(page: Build) -> None:
    joined = [
        (140, 170, "工资         样例公司"),
        (10, 170, "2026-01-03"),
        (460, 170, "8,000.00"),
        (640, 170, "9,000.00"),
    ]
    assert read(page, [*HEAD, *TITLES, *joined, *RENT]).value("rows") == [PAID, RENTED]


def test_the_day_of_printing_is_no_part_of_the_period(page: Build) -> None:
    head = [*HEAD[:3], (40, 80, "打印日期：2026-03-01"), (300, 80, "起止日期：2025-12-01至2026-02-28")]
    extraction = read(page, [*head, *TITLES, *PAY, *RENT])
    assert (extraction.value("period_from"), extraction.value("period_to")) == ("2025-12-01", "2026-02-28")


def test_a_label_says_where_the_account_is_kept_and_is_no_bank(page: Build) -> None:
    head = [(300, 20, "个人账户交易明细"), (40, 110, "开户银行：示例商业银行"), *HEAD[1:]]
    assert read(page, [*head, *TITLES, *PAY, *RENT]).value("bank") == "示例商业银行"


def test_headings_that_return_in_english_are_no_cells(page: Build) -> None:
    xs = (10, 150, 290, 400, 560, 700)
    titles = zip(xs, ("交易日期", "交易类型", "借贷", "交易金额", "余额", "对方户名"), strict=True)
    english = zip(xs, ("Trans Date", "Type", "Dc Flg", "Trans Amt", "Balance", "Payee Name"), strict=True)
    lines = (
        ("2026-01-03", "工资", "贷 Cr", "8,000.00", "9,000.00", "样例公司"),
        (
            *("2026-01-05", "房租", "借 Dr", "2,600.00", "6,400.00"),
            "房东示例庚",
        ),
    )
    cells = [*HEAD, *((x, 140, text) for x, text in titles), *((x, 162, text) for x, text in english)]
    for number, line in enumerate(lines):
        cells += [(x, 200 + 30 * number, text) for x, text in zip(xs, line, strict=True)]
    extraction = read(page, cells)
    assert extraction.value("rows") == [PAID, RENTED]
    assert extraction.problems == ()


@pytest.mark.parametrize("with_number", ["6222****1234/样例公司", "样例公司 6222****1234", "6222020200001234 样例公司"])
def test_the_number_of_a_counterpartys_account_is_no_part_of_its_name(page: Build, with_number: str) -> None:
    titles = [cell for cell in TITLES if cell[2] != "对方户名"] + [(760, 140, "对方账号与户名")]
    rows = [(760, y, text) if x == 270 else (x, y, text) for x, y, text in [*PAY, *RENT]]
    extraction = read(page, [*HEAD, *titles, *swapped(rows, {"样例公司": with_number})])
    assert [row["counterparty"] for row in extraction.value("rows")] == ["样例公司", "房东示例庚"]


@pytest.mark.parametrize("half", ["-2,600.0", "2,600.0DR", "2,60000", "-2,600,000.0"])
def test_an_amount_that_lost_a_character_is_not_read_and_goes_nowhere_else(page: Build, half: str) -> None:
    extraction = read(page, [*HEAD, *TITLES, *swapped([*PAY, *RENT], {"-2,600.00": half})])
    assert extraction.value("rows") == [PAID, RENTED | {"amount": None}]
    assert [(each.code, each.rows) for each in extraction.problems] == [("row_incomplete", (1,))]


def test_amounts_under_a_heading_that_was_not_read_are_not_taken_for_the_other_way(page: Build) -> None:
    titles = [*TITLES[:3], (400, 140, "支出"), (520, 140, "收入"), TITLES[4]]
    rows = [(400 if text == "-2,600.00" else 500 if text == "8,000.00" else x, y, text) for x, y, text in [*PAY, *RENT]]
    rows = swapped(rows, {"-2,600.00": "2,600.00"})
    assert read(page, [*HEAD, *titles, *rows]).value("rows") == [PAID, RENTED]
    one_lost = [cell for cell in titles if cell[2] != "支出"]
    extraction = read(page, [*HEAD, *one_lost, *rows])
    assert extraction.value("rows") == [PAID, RENTED | {"amount": None}]
    assert [(each.code, each.rows) for each in extraction.problems] == [("row_incomplete", (1,))]


def test_a_row_that_comes_as_two_is_one(page: Build) -> None:
    slanted = [(x, y + (14 if x > 400 else 0), text) for x, y, text in RENT]
    extraction = read(page, [*HEAD, *TITLES, *PAY, *slanted])
    assert extraction.value("rows") == [PAID, RENTED]
    assert extraction.problems == ()


def test_days_in_the_wrong_order_are_no_period(page: Build) -> None:
    head = [*HEAD[:3], (40, 80, "打印于2026-03-01"), (300, 80, "2025-12-01")]
    assert read(page, [*head, *TITLES, *PAY, *RENT]).value("period_from") is None


def test_a_footer_that_begins_where_a_cell_does_is_wider_and_no_part_of_it(page: Build) -> None:
    footer = (140, 224, "本明细仅供参考以银行账务为准共两笔")
    assert read(page, [*HEAD, *TITLES, *PAY, *RENT, footer]).value("rows") == [PAID, RENTED]
