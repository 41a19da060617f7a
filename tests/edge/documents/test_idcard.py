"""Identity cards in several shapes, all invented."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.documents.extract import extract
from edge.documents.layout import ReadPage

Build = Callable[..., ReadPage]
NUMBER = "999999199003070012"
FRONT = [
    (60, 60, "姓名示例甲"),
    (60, 110, "性别男"),
    (200, 110, "民族汉"),
    (60, 160, "出生1990年3月7日"),
    (60, 210, "住址样例省示例市虚构区假想"),
    (100, 242, "路18号2单元303室"),
    (60, 340, "公民身份号码"),
    (240, 340, NUMBER),
]
BACK = [
    (200, 500, "中华人民共和国"),
    (200, 540, "居民身份证"),
    (120, 620, "签发机关 示例市公安局虚构分局"),
    (120, 670, "有效期限2021.03.15-2041.03.15"),
]
EXPECTED = {
    "name": "示例甲",
    "sex": "男",
    "ethnicity": "汉",
    "birth_date": "1990-03-07",
    "address": "样例省示例市虚构区假想路18号2单元303室",
    "id_number": NUMBER,
    "issuing_authority": "示例市公安局虚构分局",
    "valid_from": "2021-03-15",
    "valid_until": "2041-03-15",
}


def values(*pages: ReadPage) -> dict[str, object]:
    return {name: field.value for name, field in extract("id_card", pages).fields.items()}


@pytest.mark.parametrize("turn", [0.0, 2.5, -4.0, 180.0])
def test_both_sides_in_one_picture(page: Build, turn: float) -> None:
    built = page(*FRONT, *BACK, turn=turn)
    assert values(built) == EXPECTED
    assert extract("id_card", [built]).problems == ()


def test_labels_apart_from_their_values(page: Build) -> None:
    texts = {
        60: ((60, "姓 名"), (150, "示例甲")),
        110: ((60, "性别"), (150, "男"), (220, "民族"), (300, "汉")),
        160: ((60, "出生"), (150, "1990"), (200, "年"), (240, "3"), (260, "月"), (290, "7"), (310, "日")),
        210: ((60, "住址"), (150, "样例省示例市虚构区假想")),
        242: ((150, "路18号2单元303室"),),
    }
    cells = [(x, y, text) for y, row in texts.items() for x, text in row] + FRONT[6:] + BACK
    assert values(page(*cells)) == EXPECTED


def test_sides_next_to_each_other_do_not_mix(page: Build) -> None:
    back = [(x + 440, y - 410, text) for x, y, text in BACK]
    assert values(page(*FRONT, *back)) == EXPECTED


def test_the_number_right_below_the_address_is_no_part_of_it(page: Build) -> None:
    cells = [*FRONT[:6], (100, 276, f"公民身份号码{NUMBER}"), *BACK]
    assert values(page(*cells)) == EXPECTED


def test_sides_on_two_pages_count_as_one_card(page: Build) -> None:
    extraction = extract("id_card", [page(*FRONT), page(*BACK)])
    assert {name: field.value for name, field in extraction.fields.items()} == EXPECTED
    assert extraction.fields["valid_until"].page == 1


def test_the_front_alone_misses_what_stands_on_the_back(page: Build) -> None:
    problems = extract("id_card", [page(*FRONT)]).problems
    assert [(each.code, each.field) for each in problems] == [
        ("missing_field", name) for name in ("issuing_authority", "valid_from", "valid_until")
    ]


def test_a_card_for_good_has_the_last_day_of_the_calendar(page: Build) -> None:
    assert values(page(*FRONT, *BACK[:-1], (120, 670, "有效期限 2021.03.15-长期")))["valid_until"] == "9999-12-31"


@pytest.mark.parametrize(
    ("old", "new", "code", "field"),
    [
        (NUMBER, "999999199003070013", "id_checksum", "id_number"),
        ("出生1990年3月7日", "出生1990年3月8日", "birth_date_mismatch", "birth_date"),
        ("性别男", "性别女", "sex_mismatch", "sex"),
    ],
)
def test_a_card_that_contradicts_itself_is_a_problem(page: Build, old: str, new: str, code: str, field: str) -> None:
    cells = [(x, y, new if text == old else text) for x, y, text in FRONT + BACK]
    problems = extract("id_card", [page(*cells)]).problems
    assert [(each.code, each.field) for each in problems] == [(code, field)]


def test_the_box_of_a_value_leaves_its_label_out(page: Build) -> None:
    box = extract("id_card", [page(*FRONT, *BACK)]).fields["name"].box
    assert box[0] == pytest.approx((100, 60))
    assert box[2] == pytest.approx((160, 80))


def test_dust_before_a_value_and_a_lost_character_of_a_label_cost_no_field(page: Build) -> None:
    front = [(60, 60, "名 示例甲"), (60, 110, "别"), (120, 110, "男"), (200, 110, "族 汉")]
    front += [(60, 160, "出生］1990年3月7日間"), (60, 210, "住址"), (130, 210, "丿样例省示例市虚构区假想")]
    front += [(130, 242, "路18号2单元303室"), *FRONT[6:]]
    assert values(page(*front, *BACK)) == EXPECTED


def test_what_no_card_says_is_a_problem(page: Build) -> None:
    old = {"民族汉": "民族议", "签发机关 示例市公安局虚构分局": "签发机关 示例市虚构分局"}
    old["有效期限2021.03.15-2041.03.15"] = "有效期限2021.03.15-2047.03.15"
    cells = [(x, y, old.get(text, text)) for x, y, text in FRONT + BACK]
    problems = extract("id_card", [page(*cells)]).problems
    assert [(each.code, each.field) for each in problems] == [
        ("implausible", name) for name in ("ethnicity", "issuing_authority", "valid_until")
    ]


def test_a_name_whose_characters_stand_apart_is_one_name(page: Build) -> None:
    cells = [(60, 60, "姓 名"), (150, 60, "示"), (210, 60, "甲"), *FRONT[1:], *BACK]
    assert values(page(*cells))["name"] == "示甲"


@pytest.mark.parametrize("number", ["9999999199003070012", "999999919900307001X"])  # one 9 too many
def test_a_number_with_a_character_too_many_is_not_read_and_accuses_nobody(page: Build, number: str) -> None:
    result = extract("id_card", [page(*FRONT[:-1], (240, 340, number), *BACK)])
    assert "id_number" not in result.fields
    assert [(each.code, each.field) for each in result.problems] == [("missing_field", "id_number")]


def test_cards_of_two_people_whose_numbers_cannot_be_read_are_several(page: Build) -> None:
    cells = [
        (60, 60, "姓名示例甲"),
        (60, 110, "性别男"),
        (60, 300, "姓名样例乙"),
        (60, 350, "性别女"),
        (60, 400, "民族汉"),
    ]
    assert [each.code for each in extract("id_card", [page(*cells)]).problems] == ["several_papers"]


def test_misread_labels_and_a_birth_date_without_one_cost_no_field(page: Build) -> None:
    misread = {"公民身份号码": "公民身份号玛", "签发机关 示例市公安局虚构分局": "签发机美 示例市公安局虚构分局"}
    misread |= {"出生1990年3月7日": "1990年3月7日", "姓名示例甲": "姓名館 示例甲"}
    cells = [(x, y, misread.get(text, text)) for x, y, text in FRONT + BACK]
    assert values(page(*cells)) == EXPECTED


def test_a_value_that_was_not_read_is_not_taken_from_the_next_row(page: Build) -> None:
    cells = [(x, y, "民族" if text == "民族汉" else text) for x, y, text in FRONT + BACK]
    assert [(each.code, each.field) for each in extract("id_card", [page(*cells)]).problems] == [
        ("missing_field", "ethnicity")
    ]
