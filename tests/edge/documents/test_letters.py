"""Income proofs in two languages, and letters that begin with who certifies; all invented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge.documents.bilingual import is_label
from edge.documents.extract import extract
from edge.documents.layout import ReadPage
from runtime.ocr.line import Line

Build = Callable[..., ReadPage]
NUMBER = "999999199003070012"
EXPECTED: dict[str, Any] = {
    "name": "示例甲",
    "id_number": NUMBER,
    "employer": "样例（虚构）科技有限公司",
    "position": "软件工程师",
    "monthly_income": 12000.5,
    "issue_date": "2026-11-16",
}
LABELS = (
    *(("姓名", "Name", "示例甲"), ("证件号码", "ID No.", NUMBER), ("任职公司", "Employer", EXPECTED["employer"])),
    *(("职位", "Position", "软件工程师"), ("月收入（人民币）", "Monthly Income (CNY)", "12,000.50")),
    ("签发日期", "Date of Issue", "2026-11-16"),
)


def values(*pages: ReadPage) -> dict[str, Any]:
    return {name: field.value for name, field in extract("income_proof", pages).fields.items()}


def grid(*, value_down: float, value_right: float) -> list[Any]:
    cells: list[Any] = [(300, 40, "收入证明")]
    for place, (label, english, value) in enumerate(LABELS):
        y = 120 + 90 * place
        cells += [(100, y, label), (100, y + 26, english), (100 + value_right, y + value_down, value)]
    return cells


@pytest.mark.parametrize("turn", [0.0, 2.0])
@pytest.mark.parametrize(("down", "right"), [(13, 300), (0, 300), (54, 0)], ids=["beside both", "beside", "below"])
def test_a_label_over_its_english_is_one_label(page: Build, down: float, right: float, turn: float) -> None:
    assert values(page(*grid(value_down=down, value_right=right), turn=turn)) == EXPECTED


def test_an_empty_cell_beside_a_label_in_two_languages_is_missing(page: Build) -> None:
    cells = [cell for cell in grid(value_down=13, value_right=300) if cell[2] not in ("示例甲", "软件工程师")]
    extraction = extract("income_proof", [page(*cells)])
    assert [(each.code, each.field) for each in extraction.problems] == [
        ("missing_field", "name"),
        ("missing_field", "position"),
    ]


def test_an_english_label_far_from_its_own_is_no_value(page: Build) -> None:
    cells = [
        (300, 40, "收入证明"),
        (100, 100, "职位"),
        (400, 100, "Position"),
        (100, 200, "月收入"),
        (400, 200, "9000"),
    ]
    assert "position" not in values(page(*cells))
    assert [is_label(text) for text in ("Job Title", "ID No.", "Date of lssue", "Manager")] == [True, True, True, False]


@pytest.mark.parametrize(
    "opening",
    [
        "兹证明：本单位在职人员{name}，身份证号码为",
        "兹证明我单位员工{name}，身份证号",
        "兹证明：我司正式员工{name}同志，身份证号码",
        "兹证明{name}先生（身份证号",
        "特证明：本公司职工{name}，性别男，身份证号",
    ],
)
@pytest.mark.parametrize("name", ["示例甲", "示甲", "示例古丽·样例江"])
def test_a_letter_that_begins_with_the_employer_names_him_and_the_employee(
    page: Build, opening: str, name: str
) -> None:
    cells = [
        (300, 60, "证明"),
        (140, 140, EXPECTED["employer"] + opening.format(name=name)),
        (100, 180, f"{NUMBER}，任软件工程师，其最近三个月的月平均收入为￥12,000.50元"),
        (100, 220, "整，该收入已扣除个人所得税。"),
        (500, 340, "（此处加盖公章）"),
        (500, 380, "2026.11.16"),
    ]
    assert values(page(*cells)) == {**EXPECTED, "name": name}


def test_who_certifies_is_nobody_s_name(page: Build) -> None:
    for words in ("本单位", "我单位", "本单位在职人员", "我司员工", "贵行"):
        cells = [(300, 60, "收入证明"), (140, 140, f"兹证明：{words}，身份证号码为{NUMBER}，月收入9000元。")]
        assert "name" not in values(page(*cells))


def test_quotes_that_ocr_makes_of_a_colon_are_no_part_of_an_employer(page: Build) -> None:
    cells = [(300, 60, "收入证明"), (100, 100, "用人单位」样例科技有限公司"), (100, 140, "月收入：9000元")]
    assert values(page(*cells))["employer"] == "样例科技有限公司"


@pytest.mark.parametrize(
    "day", ["二〇二六年十一月十四日", "二○二六年十一月十四日", "二O二六年十一月 十四 日", "二0二六年 十一月十四日"]
)
def test_a_date_in_characters_is_read_however_its_zero_is_written(page: Build, day: str) -> None:
    assert values(page((300, 60, "收入证明"), (400, 300, day)))["issue_date"] == "2026-11-14"


def test_a_date_in_pieces_is_read_only_where_no_stroke_can_be_lost_between_them(page: Build) -> None:
    title = (300, 60, "收入证明")
    close = page(title, (400, 300, "二〇二六年十"), (522, 300, "一"), (544, 300, "月十四日"))
    assert values(close)["issue_date"] == "2026-11-14"
    lost = extract("income_proof", [page(title, (400, 300, "二〇二六年十"), (544, 300, "月十四日"))])
    assert ("missing_field", "issue_date") in [(each.code, each.field) for each in lost.problems]
    stroke = Line("一", 1.0, ((522.0, 309.0), (541.0, 309.0), (541.0, 311.0), (522.0, 311.0)))  # as in a text layer
    pieces = page(title, (400, 300, "二〇二六年十"), (544, 300, "月十四日"))
    assert values(replace(pieces, lines=(*pieces.lines, stroke)))["issue_date"] == "2026-11-14"


@pytest.mark.parametrize(
    ("said", "several"),
    [
        ("2024年月收入为9,000元，2025年月收入为10,000元", True),
        ("税前月收入15,000元，税后月收入12,300元", True),
        ("年收入为180,000元，2024年年收入为150,000元", True),
        ("年收入为180,000元，月收入为15,000元", False),
        ("月基本工资9,000元，月绩效工资3,000元，月收入合计12,000元", False),
        ("月收入为9,000元，工资卡号6200000000000000", False),
        ("月收入为9,000元（大写：玖仟元整），每月工资于15日发放", False),
    ],
)
def test_several_incomes_are_said_and_none_is_taken_silently(page: Build, said: str, several: bool) -> None:
    cells = [(300, 60, "收入证明"), (140, 140, f"兹证明示例甲（身份证号：{NUMBER}），"), (100, 180, said + "。")]
    problems = extract("income_proof", [page(*cells)]).problems
    assert ("several_amounts" in [each.code for each in problems]) == several
