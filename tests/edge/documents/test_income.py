"""Income proofs as letters and as forms, all invented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge.documents.extract import extract
from edge.documents.layout import ReadPage

Build = Callable[..., ReadPage]
NUMBER = "999999199003070012"
EXPECTED: dict[str, Any] = {
    "name": "示例甲",
    "id_number": NUMBER,
    "employer": "样例科技有限公司",
    "position": "软件工程师",
    "monthly_income": 12000.5,
    "issue_date": "2026-11-16",
}
LETTER = [
    (300, 60, "收入证明"),
    (140, 140, f"兹证明示例甲（身份证号：{NUMBER})"),
    (100, 180, "系我单位正式员工，现任软件工程师一职，已连续工作三年。"),
    (100, 220, "近一年平均月收入（税后）为人民币12,000.50元,"),
    (100, 260, "大写：壹万贰仟元伍角整。"),
    (140, 300, "特此证明。"),
    (400, 400, "单位名称：样例科技有限公司"),
    (600, 420, "样章"),
    (400, 440, "日期：2026年11月16日"),
]
FORM = [
    (300, 60, "员工收入证明表"),
    (100, 120, "姓名"),
    (260, 120, "示例甲"),
    (100, 160, "身份证号码"),
    (260, 160, NUMBER),
    (100, 200, "工作单位"),
    (260, 200, "样例科技有限公司"),
    (100, 240, "职务"),
    (260, 240, "软件工程师"),
    (100, 280, "月收入（元）"),
    (260, 280, "12,000.50"),
    (100, 320, "月收入（大写）"),
    (260, 320, "壹万贰仟元伍角整"),
    (100, 360, "开具日期"),
    (260, 360, "2026-11-16"),
]
UNLABELLED = [
    (300, 60, "收入证明"),
    (140, 140, f"兹证明示例甲先生，身份证号{NUMBER}，在我公司担任软件工"),
    (100, 180, "程师，月工资为￥12000.50元整。"),
    (140, 220, "特此证明。"),
    (400, 300, "样例科技有限公司"),
    (400, 340, "2026.11.16"),
]


@pytest.mark.parametrize("cells", [LETTER, FORM, UNLABELLED], ids=["letter", "form", "letter without labels"])
@pytest.mark.parametrize("turn", [0.0, 2.0])
def test_every_field_of_each_layout_is_read(page: Build, cells: list[Any], turn: float) -> None:
    extraction = extract("income_proof", [page(*cells, turn=turn)])
    assert {name: field.value for name, field in extraction.fields.items()} == EXPECTED
    assert extraction.problems == ()


def changed(cells: list[Any], old: str, new: str) -> list[Any]:
    return [(x, y, text.replace(old, new)) for x, y, text in cells]


@pytest.mark.parametrize("cells", [LETTER, FORM], ids=["letter", "form"])
def test_digits_and_capitals_that_differ_are_a_problem(page: Build, cells: list[Any]) -> None:
    problems = extract("income_proof", [page(*changed(cells, "12,000.50", "72,000.50"))]).problems
    assert [(each.code, each.field) for each in problems] == [("capitals_mismatch", "monthly_income")]
    assert "72,000.50" in problems[0].text
    assert "12,000.50" in problems[0].text


def test_capitals_that_make_no_number_are_a_problem(page: Build) -> None:
    problems = extract("income_proof", [page(*changed(LETTER, "伍角整", "伍整"))]).problems
    assert [each.code for each in problems] == ["capitals_unreadable"]


def test_an_ambiguous_income_is_missing_not_guessed(page: Build) -> None:
    extraction = extract("income_proof", [page(*changed(FORM, "12,000.50", "1.234"))])
    assert extraction.value("monthly_income") is None
    assert [(each.code, each.field) for each in extraction.problems] == [("missing_field", "monthly_income")]


def test_a_yearly_income_is_not_taken_for_a_monthly_one(page: Build) -> None:
    cells = changed(changed(LETTER, "平均月收入", "总收入"), "12,000.50", "144,006.00")
    assert extract("income_proof", [page(*cells)]).value("monthly_income") is None


def test_a_comma_after_the_amount_is_no_part_of_it(page: Build) -> None:
    assert extract("income_proof", [page(*changed(LETTER, "元,", ","))]).value("monthly_income") == 12000.5


NOTICE = [
    (300, 60, "收入证明"),
    (140, 140, f"兹有我单位员工示例甲（身份证号码：{NUMBER}），现担任软件工"),
    (100, 180, "程师职务，月均税后收入为人民币（大写）壹万贰仟元伍角整"),
    (100, 220, "（￥12,000.50）。"),
    (400, 300, "单位（公章）：样例科技有限公司"),
    (400, 340, "2026年11月16日"),
]
FOUR_IN_A_ROW = [
    (300, 60, "在职及收入情况表"),
    *((60, 140, "姓名"), (200, 140, "示例甲"), (440, 140, "性别"), (580, 140, "男")),
    *((60, 180, "证件类型"), (200, 180, "居民身份证"), (440, 180, "证件号码"), (580, 180, NUMBER)),
    *((60, 220, "工作单位"), (200, 220, "样例科技有限公司"), (440, 220, "所任职务"), (580, 220, "软件工程师")),
    *((60, 260, "月均收入（元）"), (250, 260, "12,000.50"), (440, 260, "大写"), (520, 260, "壹万贰仟元伍角整")),
    *((60, 300, "联系电话"), (200, 300, "无"), (440, 300, "填表日期"), (580, 300, "2026/11/16")),
]
BELOW = [
    (60, 60, "收入证明"),
    *((60, 120, "姓名"), (400, 120, "身份证号"), (60, 150, "示例甲"), (400, 150, NUMBER)),
    *((60, 220, "工作单位"), (400, 220, "岗位"), (60, 250, "样例科技有限公司"), (400, 250, "软件工程师")),
    *((60, 320, "月收入（税前）"), (400, 320, "开具日期"), (60, 350, "12,000.50元"), (400, 350, "2026-11-16")),
]


@pytest.mark.parametrize("cells", [NOTICE, FOUR_IN_A_ROW, BELOW], ids=["notice", "four in a row", "below"])
@pytest.mark.parametrize("turn", [0.0, 2.0])
def test_other_employers_forms_are_read_too(page: Build, cells: list[Any], turn: float) -> None:
    extraction = extract("income_proof", [page(*cells, turn=turn)])
    assert {name: field.value for name, field in extraction.fields.items()} == EXPECTED
    assert extraction.problems == ()


def test_an_empty_cell_is_missing_and_the_next_label_is_no_value(page: Build) -> None:
    cells = [cell for cell in FOUR_IN_A_ROW if cell[2] not in ("示例甲", "样例科技有限公司")]
    extraction = extract("income_proof", [page(*cells)])
    assert [each.field for each in extraction.problems] == ["name", "employer"]


def test_ten_thousands_are_yuan_and_no_capitals(page: Build) -> None:
    extraction = extract("income_proof", [page(*changed(UNLABELLED, "￥12000.50元整", "1.2万元"))])
    assert extraction.value("monthly_income") == 12000.0
    assert extraction.problems == ()


@pytest.mark.parametrize("said", ["年薪144,000元,月均12000元", "其工资12,000.00元/月,按时发放"])
def test_an_income_by_the_month_is_found_wherever_the_month_stands(page: Build, said: str) -> None:
    cells = changed(UNLABELLED, "月工资为￥12000.50元整", said)
    assert extract("income_proof", [page(*cells)]).value("monthly_income") == 12000.0


def test_a_number_that_goes_on_on_the_next_line_is_one_number(page: Build) -> None:
    first, rest = f"兹证明示例甲先生，身份证号{NUMBER[:11]}", f"{NUMBER[11:]}，在我公司担任软件工"
    cells = [(300, 60, "收入证明"), (140, 140, first), (100, 180, rest), (100, 220, "程师，月工资为￥12000.50元整。")]
    field = extract("income_proof", [page(*cells)]).fields["id_number"]
    assert field.value == NUMBER
    assert (field.box[0][1], field.box[2][1]) == (140, 200)


def test_a_number_whose_check_character_is_wrong_is_a_problem(page: Build) -> None:
    wrong = NUMBER[:-1] + ("0" if NUMBER[-1] != "0" else "1")
    problems = extract("income_proof", [page(*changed(FORM, NUMBER, wrong))]).problems
    assert [(each.code, each.field) for each in problems] == [("id_checksum", "id_number")]
    assert problems[0].place is not None


def test_a_letter_that_begins_with_the_name_is_read_and_its_other_days_are_not_its_own(page: Build) -> None:
    cells = [
        (300, 60, "在职及收入证明"),
        (100, 100, "致：样例银行"),
        (140, 140, f"示例甲，男，身份证号码{NUMBER}，于2016年5月6日入职本公"),
        (100, 180, "司，岗位为软件工程师。该员工上一年度年收入共计人民币144,006元，月均"),
        (100, 220, "收入1.20万元。"),
        (140, 260, "本证明仅用于该员工办理个人贷款，不作他用。"),
        (400, 340, "样例科技有限公司"),
    ]
    extraction = extract("income_proof", [page(*cells)])
    assert {name: field.value for name, field in extraction.fields.items()} == {
        name: EXPECTED[name] for name in ("name", "id_number", "employer", "position")
    } | {"monthly_income": 12000.0}
    assert [(each.code, each.field) for each in extraction.problems] == [("missing_field", "issue_date")]
    dated = extract("income_proof", [page(*cells, (400, 380, "出具日期：二〇二六年十一月十六日"))])
    assert dated.value("issue_date") == "2026-11-16"


def test_underlines_and_dust_are_no_part_of_a_value(page: Build) -> None:
    cells = changed(changed(FORM, "软件工程师", "_软件工程师_"), "样例科技有限公司", "（样例科技有限公司")
    extraction = extract("income_proof", [page(*cells)])
    assert (extraction.value("position"), extraction.value("employer")) == ("软件工程师", "样例科技有限公司")


def test_an_amount_in_capitals_alone_is_the_income(page: Build) -> None:
    cells = changed(UNLABELLED, "￥12000.50元整", "人民币壹万贰仟元伍角整")
    assert extract("income_proof", [page(*cells)]).value("monthly_income") == 12000.5


@pytest.mark.parametrize("whole", ["月总收入12000.50元", "月收入12000.50元", "月实发薪酬12000.50元"])
def test_a_part_of_the_income_is_not_the_income(page: Build, whole: str) -> None:
    cells = changed(UNLABELLED, "月工资为￥12000.50元整", f"月基本工资5000元，月绩效工资3000元，{whole}")
    assert extract("income_proof", [page(*cells)]).value("monthly_income") == 12000.5


def test_the_office_that_signs_is_not_the_employer(page: Build) -> None:
    cells = [*UNLABELLED[:-1], (400, 320, "人力资源部（盖章）"), UNLABELLED[-1]]
    assert extract("income_proof", [page(*cells)]).value("employer") == "样例科技有限公司"


def test_a_label_with_a_misread_character_is_a_label(page: Build) -> None:
    misread = {"开具日期": "开其日期", "身份证号码": "身份正号码"}
    cells = [(x, y, misread.get(text, text)) for x, y, text in FORM]
    extraction = extract("income_proof", [page(*cells)])
    assert {name: field.value for name, field in extraction.fields.items()} == EXPECTED


def test_a_yearly_average_is_no_misread_monthly_one(page: Build) -> None:
    cells = [(x, y, "年均收入" if text == "月收入（元）" else text) for x, y, text in FORM if "大写" not in text]
    assert extract("income_proof", [page(*cells)]).value("monthly_income") is None


@pytest.mark.parametrize(
    "said",
    [
        "兹证明，示例甲（男，身份证号码：{number}）为我公司正式员工，现任软件工程师一职，其每月税前工资为人民币12,000.50元。",
        "示例甲同志自2018年3月1日至今在我单位任软件工程师职务，身份证号码{number}，月平均收入（含奖金）12000.50元。",
        "本公司在此证明示例甲（身份证号：{number}）2018年入职，任职软件工程师，月薪（税前）为RMB 12,000.50元。",
        "示例甲，女，1990年3月7日出生，身份证号：{number}，系样例科技有限公司员工，职务为软件工程师，税后月收入为12000.50元。",
        "致样例银行：兹证明我司职工示例甲女士，公民身份号码为{number}，在我司担任软件工程师，月均收入壹万贰仟元伍角整（¥12,000.50）。",
    ],
)
def test_letters_in_other_words_are_read(page: Build, said: str) -> None:
    text = said.format(number=NUMBER)
    lines = [
        (60 if start else 100, 100 + 40 * start // 34, text[start : start + 34]) for start in range(0, len(text), 34)
    ]
    signed = [(500, 400, "样例科技有限公司（盖章）"), (500, 440, "2026年11月16日")]
    extraction = extract("income_proof", [page((400, 40, "收入证明"), *lines, *signed)])
    assert {name: field.value for name, field in extraction.fields.items()} == EXPECTED


@pytest.mark.parametrize("end", ["1.2万\n元。", "1.2\n万元。", "1\n.2万元。", "12,0\n00.00元。", "12000\n元。"])
def test_an_amount_that_a_line_break_parts_is_whole(page: Build, end: str) -> None:
    first, second = end.split("\n")
    cells = [(300, 60, "收入证明"), (100, 140, "兹证明示例甲在我公司担任会计，月均收入" + first), (100, 180, second)]
    assert extract("income_proof", [page(*cells)]).value("monthly_income") == 12000.0


def test_an_income_that_feeds_nobody_is_implausible(page: Build) -> None:
    cells = [cell for cell in changed(FORM, "12,000.50", "12.00") if "壹" not in cell[2]]
    assert [(each.code, each.field) for each in extract("income_proof", [page(*cells)]).problems] == [
        ("implausible", "monthly_income")
    ]
