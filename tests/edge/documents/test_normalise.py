"""Dates, amounts and capitals are read or not read, never guessed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.documents.normalise import DATE, day_in_period, half_width, parse_amount, parse_capitals, parse_date
from examples.documents.income import in_capitals


@pytest.mark.parametrize(
    "text",
    [
        "二〇二六年一月三日",
        "二零二六年一月三日",
        "2026年1月3日",
        "2026-01-03",
        "2026.1.3",
        "2026/01/03",
        "20260103",
        "２０２６年１月３日",
        "2026 年 1 月 3 日",
    ],
)
def test_every_way_of_writing_a_day_gives_the_same_date(text: str) -> None:
    assert parse_date(text) == "2026-01-03"


@pytest.mark.parametrize(
    ("text", "day"), [("二〇二五年十月二十一日", "2025-10-21"), ("二○一九年十二月三十日", "2019-12-30")]
)
def test_days_in_characters_are_read(text: str, day: str) -> None:
    assert parse_date(text) == day


def test_a_time_right_behind_a_day_is_no_part_of_it() -> None:
    assert re.findall(DATE, "2026-01-0309:12:00 2026010309:12") == ["2026-01-03", "20260103"]
    assert re.findall(DATE, "2026-01-031") == []


def test_a_day_without_its_year_takes_the_one_that_the_period_leaves() -> None:
    assert day_in_period("12-31", "2025-11-01", "2026-01-31") == "2025-12-31"
    assert day_in_period("1月3日", "2025-11-01", "2026-01-31") == "2026-01-03"
    assert day_in_period("02-28", "2025-11-01", "2026-01-31") is None
    assert day_in_period("01-03", "2025-01-01", "2026-01-31") is None
    assert day_in_period("02-30", "2025-01-01", "2026-12-31") is None


@pytest.mark.parametrize("text", ["2026年2月30日", "二〇二六年二月三十日", "2026-13-01", "2026-01", "", "12345"])
def test_what_is_no_day_is_none(text: str) -> None:
    assert parse_date(text) is None


@pytest.mark.parametrize(
    ("text", "yuan"),
    [
        ("12,000.00", 12000.0),
        ("￥１２，０００．００元", 12000.0),
        ("人民币12000元", 12000.0),
        ("1.2万元", 12000.0),
        ("-35.50", -35.5),
        ("（35.50）", -35.5),
        ("一35.50", -35.5),
        ("+8", 8.0),
        ("12.000.00", 12000.0),
        ("1,234,567.8", 1234567.8),
        ("1,234,56", 1234.56),
        ("0.00", 0.0),
        ("35.50DR", -35.5),
        ("35.50 贷", 35.5),
        ("35.50-", -35.5),
        ("支出35.50", -35.5),
        ("支出:-35.50", -35.5),
        ("收入：¥35.50", 35.5),
    ],
)
def test_amounts_are_read(text: str, yuan: float) -> None:
    assert parse_amount(text) == yuan


@pytest.mark.parametrize(
    "text", ["1.234", "12,00.00", "", "-", "无", "1.2.3", "12-3", "+8DR", "-8CR", "支出", "99999999901234567890X"]
)
def test_an_amount_that_could_be_two_things_is_none(text: str) -> None:
    assert parse_amount(text) is None


@given(st.integers(0, 10**12 - 1))
def test_capitals_give_back_the_amount_that_was_written(cents: int) -> None:
    assert parse_capitals(in_capitals(cents)) == cents / 100


@pytest.mark.parametrize(
    ("text", "yuan"), [("壹万贰仟圆正", 12000.0), ("拾元整", 10.0), ("叁佰〇伍元零贰分", 305.02), ("伍千元", 5000.0)]
)
def test_other_spellings_of_capitals_are_read(text: str, yuan: float) -> None:
    assert parse_capitals(text) == yuan


@pytest.mark.parametrize(
    "text",
    ["壹万贰仟", "一万元", "壹元贰", "", "壹贰万元整", "壹仟零拾元整", "壹万伍元整", "贰佰叁仟元整", "壹万贰万元整"],
)
def test_capitals_that_do_not_parse_are_none(text: str) -> None:
    assert parse_capitals(text) is None


@given(st.text(max_size=30))
def test_half_width_keeps_every_character_in_its_place(text: str) -> None:
    assert len(half_width(text)) == len(text)
