"""Cells of a statement that OCR ran together, and names that it parts; all invented."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.documents.extract import extract
from edge.documents.layout import ReadPage

Build = Callable[..., ReadPage]
HEADING = [(60, 200, "交易日期"), (200, 200, "金额"), (300, 200, "余额"), (400, 200, "对方单位"), (660, 200, "用途")]


def test_a_long_counterparty_does_not_swallow_the_summary_beside_it(page: Build) -> None:
    cells = [
        (60, 60, "示例银行交易明细"),
        *HEADING,
        *(
            (60, 240, "2026-10-01"),
            (200, 240, "-10.00"),
            (300, 240, "90.00"),
            (400, 240, "样例省示例市虚构区假想路店缴费"),
        ),
        *(
            (60, 300, "2026-10-02"),
            (200, 300, "-10.00"),
            (300, 300, "80.00"),
            (400, 300, "虚构缴费"),
            (660, 300, "消费"),
        ),
    ]
    rows = extract("bank_statement", [page(*cells)]).value("rows")
    assert [(row["counterparty"], row["summary"]) for row in rows] == [
        ("样例省示例市虚构区假想路店", "缴费"),
        ("虚构缴费", "消费"),
    ]


@pytest.mark.parametrize("dot", "·•-.")
def test_the_dot_in_a_name_is_understood_as_whatever_it_was_read(page: Build, dot: str) -> None:
    cells = [
        (60, 60, "示例银行交易明细"),
        (60, 100, f"户名：示例古丽{dot}样例江"),
        (60, 140, "账号：6200000000000000000"),
    ]
    name = extract("bank_statement", [page(*cells, *HEADING)]).value("account_name")
    assert name.replace("•", "·") == "示例古丽·样例江"


@pytest.mark.parametrize(("unread", "code"), [(0, "balance_mismatch"), (2, "balance_unsure")])
def test_a_broken_sum_among_rows_that_were_not_read_whole_accuses_nobody(page: Build, unread: int, code: str) -> None:
    cells = [(60, 60, "示例银行交易明细"), *HEADING]
    for place, balance in enumerate((90, 80, 75, 60, 50, 40)):  # the third one is wrong, and so the fourth
        y = 240 + 40 * place
        cells += [(60, y, f"2026-10-0{place + 1}"), (300, y, f"{balance}.00"), (660, y, "消费")]
        if place < 6 - unread:
            cells.append((200, y, "-10.00"))
    assert code in [each.code for each in extract("bank_statement", [page(*cells)]).problems]
