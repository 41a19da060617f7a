"""Copies of cards with what they are for written across them; all invented."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge.documents.extract import extract
from edge.documents.layout import ReadPage
from edge.documents.watermark import without_written_over
from runtime.ocr.line import Line

Build = Callable[..., ReadPage]
NUMBER = "999999199003070012"
CARD = [
    *((60, 60, "姓名"), (140, 60, "示例甲"), (60, 110, "性别"), (140, 110, "男"), (220, 110, "民族"), (300, 110, "汉")),
    *((60, 160, "出生"), (140, 160, "1990年3月7日"), (60, 210, "住址"), (140, 210, "样例省示例市虚构区假想")),
    *((140, 242, "路18号2单元303室"), (60, 340, "公民身份号码"), (240, 340, NUMBER)),
    *((200, 500, "中华人民共和国"), (200, 540, "居民身份证"), (120, 620, "签发机关 示例市公安局虚构分局")),
    (120, 670, "有效期限2021.03.15-2041.03.15"),
]


def without(*texts: str) -> list[Any]:
    return [cell for cell in CARD if cell[2] not in texts]


def across(page: ReadPage, x: float, y: float, text: str, angle: float = -12.0) -> ReadPage:
    """The page with a line aslant, which begins at ``x``, ``y``."""
    right, down = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    long = 20.0 * len(text)
    end = (x + long * right, y + long * down)
    box = ((x, y), end, (end[0] - 20 * down, end[1] + 20 * right), (x - 20 * down, y + 20 * right))
    return replace(page, lines=(*page.lines, Line(text, 0.99, box)))


def found(page: ReadPage) -> tuple[dict[str, Any], list[tuple[str, str | None]]]:
    extraction = extract("id_card", [page])
    values = {name: field.value for name, field in extraction.fields.items()}
    return values, [(each.code, each.field) for each in extraction.problems]


@pytest.mark.parametrize("text", ["仅供样例贷款申请使用", "样例贷款甲乙丙丁"])
def test_a_line_across_the_card_is_no_value_and_takes_none(page: Build, text: str) -> None:
    whole = page(*CARD)
    for angle in (-12.0, 12.0):
        assert found(across(whole, 140, 272, text, angle)) == found(whole)
    turned = page(*CARD, turn=90.0)
    assert found(across(turned, 650, 350, text, 78.0)) == found(turned)
    level = found(across(whole, 140, 272, "样例贷款甲乙丙丁", 0.0))
    assert level[0]["address"].endswith("样例贷款甲乙丙丁")  # as any line of the card


def test_a_name_whose_label_is_covered_stands_above_the_sex(page: Build) -> None:
    values, problems = found(page(*without("姓名")))
    assert (values["name"], problems) == ("示例甲", [])


def test_words_of_a_watermark_are_no_part_of_a_name_and_make_it_doubtful(page: Build) -> None:
    cells = [(x, y, "示甲请使用" if text == "示例甲" else text) for x, y, text in CARD]
    field = extract("id_card", [page(*cells)]).fields["name"]
    assert (field.value, field.confidence) == ("示甲", 0.5)
    assert [without_written_over(name) for name in ("示例甲", "示甲仅供贷款", "使用")] == ["示例甲", "示甲", "使用"]


@pytest.mark.parametrize("last", ["路18号2单", "路18号2单元", "路18号2单元3", "路18号楼", "路18号（假想"])
def test_an_address_without_its_last_line_is_said_to_be_unfinished(page: Build, last: str) -> None:
    cells = [(x, y, last if text.startswith("路18号") else text) for x, y, text in CARD]
    values, problems = found(page(*cells))
    assert values["address"].endswith(last)
    assert problems == [("unfinished", "address")]


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("id_card", ("中华人民共和国机动车驾驶证", "姓名示例甲", "性别男", "出生日期1990-03-07", "住址样例省示例市")),
        ("id_card", ("常住人口登记卡", "姓名示例甲", "性别男", "民族汉", f"公民身份证件编号{NUMBER}")),
        ("id_card", ("样例省居住证", "姓名示例甲", "性别男", "民族汉", "住址样例省示例市", f"公民身份号码{NUMBER}")),
        ("income_proof", ("在读证明", f"兹证明示例甲，身份证号{NUMBER}，系我校学生。", "虚构大学", "2026年10月9日")),
    ],
)
def test_other_papers_are_called_so(page: Build, kind: str, texts: tuple[str, ...]) -> None:
    problems = extract(kind, [page(*((60, 60 + 50 * place, text) for place, text in enumerate(texts)))]).problems
    assert [each.code for each in problems] == ["wrong_kind"]


def test_a_copy_for_a_residence_permit_is_still_a_card(page: Build) -> None:
    front = [cell for cell in CARD if cell[1] < 400]
    assert "wrong_kind" not in [code for code, _ in found(across(page(*front), 60, 380, "仅供办理居住证使用"))[1]]
