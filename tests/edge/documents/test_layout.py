"""Rows are found on turned pages, and every character keeps its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edge.documents.layout import Flow, ReadPage, rows_of

Build = Callable[..., ReadPage]


@pytest.mark.parametrize("turn", [0.0, 3.0, -5.0, 90.0, 180.0])
def test_rows_are_the_same_however_the_page_lies(page: Build, turn: float) -> None:
    cells = [
        (x, y, f"{word}{word}{word}")
        for y, words in ((100, "甲乙丙"), (140, "丁戊己"), (180, "庚辛壬"))
        for x, word in zip((60, 300, 620), words, strict=True)
    ]
    rows = rows_of([page(*cells[::-1], turn=turn)])
    assert [[piece.text[0] for piece in row] for row in rows] == [list("甲乙丙"), list("丁戊己"), list("庚辛壬")]


def test_pages_follow_each_other(page: Build) -> None:
    rows = rows_of([page((10, 500, "第一页")), page((10, 10, "第二页"))])
    assert [(row[0].text, row[0].page) for row in rows] == [("第一页", 0), ("第二页", 1)]


def test_pieces_above_each_other_are_two_rows(page: Build) -> None:
    assert len(rows_of([page((100, 100, "单位名称"), (104, 122, "单位盖章"))])) == 2


def test_pieces_a_line_apart_are_two_rows_even_side_by_side(page: Build) -> None:
    assert len(rows_of([page((100, 100, "单位名称"), (300, 122, "单位盖章"))])) == 2


def test_a_stamp_over_a_line_is_a_row_of_its_own(page: Build) -> None:
    rows = rows_of([page((100, 100, "日期2026年11月16日"), (160, 104, "样章"), (400, 100, "经办人"))])
    assert sorted([piece.text for piece in row] for row in rows) == [["日期2026年11月16日", "经办人"], ["样章"]]


def test_a_cell_of_two_lines_does_not_lead_its_row_astray(page: Build) -> None:
    row = [(40, 100, "2026-02-01"), (520, 100, "转账"), (640, 100, "-10.00")]
    for first, second in ((0, 4), (4, 0)):
        cell = [(250 + first, 90.5, "虚构速贷网络"), (250 + second, 109.5, "小额贷款公司")]
        rows = rows_of([page(*row, *cell)])
        assert sorted(len(each) for each in rows) == [1, 4]
        assert {"2026-02-01", "转账", "-10.00"} <= {piece.text for piece in max(rows, key=len)}


def test_a_match_finds_its_way_back_to_its_part_of_the_line(page: Build) -> None:
    flow = Flow(rows_of([page((100, 50, "姓 名：示例甲"))]))
    match = flow.search("姓名:(.+)")
    assert match is not None
    field = flow.field(match, 1, match[1])
    # 姓, a space of half a character, 名 and a full-width colon come before the value
    assert field.box[0] == pytest.approx((170, 50))
    assert field.box[2] == pytest.approx((230, 70))
    assert field.value == "示例甲"


def test_a_value_over_two_lines_has_a_box_around_both(page: Build) -> None:
    flow = Flow(rows_of([page((100, 50, "现任软件"), (60, 90, "工程师一职"))]), gap="", turn="")
    match = flow.search("现任(.+)一职")
    assert match is not None
    assert match[1] == "软件工程师"
    assert flow.field(match, 1, match[1]).box == ((60, 50), (180, 50), (180, 110), (60, 110))


def test_the_least_confident_line_gives_the_confidence(page: Build) -> None:
    sure, unsure = page((100, 50, "甲甲甲"), confidence=0.9), page((100, 90, "乙乙乙"), confidence=0.4)
    flow = Flow(rows_of([ReadPage(sure.lines + unsure.lines, 800, 1200)]))
    match = flow.search("甲\n乙")
    assert match is not None
    assert flow.field(match, 0, "").confidence == 0.4


def test_an_empty_page_has_no_rows(page: Build) -> None:
    assert rows_of([ReadPage((), 800, 1200), page((0, 0, "  "))]) == []


def test_a_line_that_was_read_on_its_head_says_nothing(page: Build) -> None:
    drawn = page((100, 100, "2026-02-01"), (300, 100, "6,000.00"), (100, 140, "2026-02-02"), (500, 140, "贷"))
    turned = [replace(line, box=(*line.box[2:], *line.box[:2])) for line in drawn.lines]
    lines = (drawn.lines[0], turned[1], drawn.lines[2], turned[3])
    rows = rows_of([ReadPage(lines, 800, 1200)])
    assert [[piece.text for piece in row] for row in rows] == [["2026-02-01", "????????"], ["2026-02-02", "贷"]]
    assert rows[0][1].confidence == 0
    assert rows[0][1].left == pytest.approx(300, abs=1)
