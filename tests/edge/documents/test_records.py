"""Income proofs that are tables or an office's records: payslips, a record of taxes; all invented."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.documents.extract import extract
from edge.documents.layout import ReadPage

Build = Callable[..., ReadPage]
SLIP = ("姓名", "工号", "岗位", "出勤", "基本工资", "应发工资", "社保", "实发工资")
PAID = ("示例甲", "A17", "会计", "26", "9300", "10500.00", "840.00", "9660.00")
NUMBER = "999999199003070012"


def slips(page: Build) -> ReadPage:
    cells: list[tuple[float, float, str]] = []
    for top, month in ((40, 7), (240, 8)):
        cells.append((200, top, f"样例科技有限公司2026年{month}月工资条"))
        cells += [(10 + 98 * index, top + 50, text) for index, text in enumerate(SLIP)]
        cells += [(10 + 98 * index, top + 90, text) for index, text in enumerate(PAID)]
    cells += [(10, 440, f"身份证号：{NUMBER}"), (500, 520, "样例科技有限公司"), (500, 560, "2026年9月7日")]
    return page(*cells)


def test_a_payslip_is_read_by_its_columns(page: Build) -> None:
    proof = extract("income_proof", [slips(page)])
    assert {name: field.value for name, field in proof.fields.items()} == {
        "name": "示例甲",
        "id_number": NUMBER,
        "employer": "样例科技有限公司",
        "position": "会计",
        "monthly_income": 10500.0,
        "issue_date": "2026-09-07",
    }


def test_figures_of_a_row_that_run_together_are_no_id_number(page: Build) -> None:
    figures = [(10 + 62 * index, 60, text) for index, text in enumerate(("26", "9300", "1000", "200", "105000"))]
    proof = page(
        (200, 20, "收入证明"), *figures, (10, 120, f"员工示例甲身份证号：{NUMBER}"), (10, 160, "月收入：12000元")
    )
    assert extract("income_proof", [proof]).value("id_number") == NUMBER


def test_what_is_called_an_id_number_is_one_though_its_check_character_is_wrong(page: Build) -> None:
    wrong = NUMBER[:-1] + "3"
    proof = page(
        (200, 20, "收入证明"), (10, 60, f"编号 {NUMBER}"), (10, 120, f"员工示例甲（身份证号：{wrong}）月收入12000元")
    )
    extraction = extract("income_proof", [proof])
    assert extraction.value("id_number") == wrong
    assert "id_checksum" in {each.code for each in extraction.problems}


@pytest.mark.parametrize("issued", ["开具时间：2026年10月14日", "开具时间：章"])
def test_a_record_of_taxes_employs_nobody_and_a_day_in_its_table_is_not_its_own(page: Build, issued: str) -> None:
    record = page(
        *((250, 20, "个人所得税纳税记录"), (10, 60, "纳税人名称：示例甲"), (330, 60, f"身份证件号码：{NUMBER}")),
        *((640, 60, "金额单位：元"), (10, 100, "申报日期"), (150, 100, "实缴金额"), (290, 100, "所得项目")),
        *((430, 100, "入库日期"), (640, 100, "入库税务机关")),
        *((10, 140, "2026.09.14"), (150, 140, "183.25"), (290, 140, "工资薪金所得"), (430, 140, "2026.09.15")),
        *((600, 140, "虚构市税务局"), (10, 240, "开具机关（盖章）：虚构市税务局"), (10, 280, issued)),
    )
    fields = extract("income_proof", [record]).fields
    assert fields["name"].value == "示例甲"
    assert "employer" not in fields
    assert "monthly_income" not in fields
    assert [fields[name].value for name in fields if name == "issue_date"] == (
        ["2026-10-14"] if "2026" in issued else []
    )


@pytest.mark.parametrize("label", ["职务", "职务/职称"])
def test_a_label_may_say_two_things(page: Build, label: str) -> None:
    proof = page((200, 20, "收入证明"), (10, 60, "姓名"), (150, 60, "示例甲"), (300, 60, label), (500, 60, "会计"))
    assert extract("income_proof", [proof]).value("position") == "会计"


def test_a_comma_that_is_dust_does_not_hide_a_position(page: Build) -> None:
    proof = page(
        (200, 20, "收入证明"), (10, 60, "兹证明示例甲系我单位正式员工,现担任"), (560, 60, ","), (590, 60, "会计职务。")
    )
    assert extract("income_proof", [proof]).value("position") == "会计"


def test_a_cooperative_is_a_bank(page: Build) -> None:
    statement = page((200, 20, "样例县农村信用合作联社"), (200, 60, "客户存款对账单"), (10, 100, "户名：示例甲"))
    assert extract("bank_statement", [statement]).value("bank") == "样例县农村信用合作联社"


@pytest.mark.parametrize(
    ("words", "accused"), [("壹拾肆万肆仟元整", False), ("壹万贰仟元整", False), ("壹万伍仟元整", True)]
)
def test_words_may_state_the_years_income(page: Build, words: str, accused: bool) -> None:
    proof = page((200, 20, "收入证明"), (10, 60, f"示例甲年收入人民币{words}，折合月收入12000元"))
    assert ("capitals_mismatch" in {each.code for each in extract("income_proof", [proof]).problems}) == accused


def test_a_record_of_social_insurance_names_an_id_number_and_is_no_id_card(page: Build) -> None:
    record = page(
        *((200, 20, "社会保险个人参保缴费证明"), (10, 60, "姓名：示例甲"), (600, 60, "性别：男")),
        *((200, 60, f"社会保障号码（公民身份号码）：{NUMBER}"), (10, 100, "现参保单位：样例科技有限公司")),
        *((10, 140, "缴费年月"), (150, 140, "单位名称"), (430, 140, "缴费基数"), (560, 140, "个人缴费")),
        *((10, 180, "202608"), (150, 180, "样例科技有限公司"), (430, 180, "9600.00"), (560, 180, "768.00")),
    )
    proof = extract("income_proof", [record])
    assert "wrong_kind" not in {each.code for each in proof.problems}
    assert (proof.value("id_number"), proof.value("employer")) == (NUMBER, "样例科技有限公司")
    assert proof.value("monthly_income") is None  # what is paid on is last year's average, not what is earned now


def test_a_hospitals_table_of_pay_gives_a_title_and_neither_a_column_nor_a_unit(page: Build) -> None:
    columns = ("月份", "岗位工资", "薪级工资", "绩效工资", "应发合计")
    letter = page(
        *((200, 20, "工资收入证明"), (10, 60, f"兹有我院职工示例甲（公民身份号码：{NUMBER}），所在科室：内")),
        (10, 90, "科，职称：主治医师，近三个月工资收入情况如下（单位：元）："),
        *((10 + 150 * index, 130, text) for index, text in enumerate(columns)),
        *((10 + 150 * index, 160, text) for index, text in enumerate(("2026年8月", "2340", "1170", "3120", "7800"))),
        *((10, 200, "以上情况属实，特此证明。"), (400, 300, "样例县医院")),
    )
    fields = extract("income_proof", [letter]).fields
    assert (fields["position"].value, fields["employer"].value) == ("主治医师", "样例县医院")


def test_a_table_of_pay_without_a_position_names_none(page: Build) -> None:
    columns = ("月份", "岗位工资", "绩效工资", "应发合计")
    letter = page(
        *((200, 20, "收入证明"), (10, 60, "兹证明示例甲从事本岗位工作11年，收入如下（单位：元）：")),
        *((10 + 150 * index, 130, text) for index, text in enumerate(columns)),
        *((10 + 150 * index, 160, text) for index, text in enumerate(("2026年8月", "2340", "3120", "5460"))),
    )
    fields = extract("income_proof", [letter]).fields
    assert not {"position", "employer"} & fields.keys()


@pytest.mark.parametrize(("label", "number"), [("编号：", None), ("", "9998711829535403403")])
def test_a_long_number_with_another_label_is_no_account(page: Build, label: str, number: str | None) -> None:
    cells = ("交易日期", "摘要", "交易金额", "余额", "2026-08-01", "工资", "100.00", "300.00")
    table = [(10 + 150 * (index % 4), 90 + 40 * (index // 4), text) for index, text in enumerate(cells)]
    statement = page((200, 20, "交易明细"), (10, 50, f"{label}9998711829535403403"), *table)
    assert extract("bank_statement", [statement]).value("account_number") == number
