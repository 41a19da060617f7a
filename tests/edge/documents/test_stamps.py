"""What a red stamp covers is seen in red light, and fills only what was missed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.documents.extract import extract
from edge.documents.layout import ReadPage
from edge.documents.stamps import without_stamps

Build = Callable[..., ReadPage]


def test_red_ink_is_gone_and_black_ink_stays() -> None:
    page = np.full((2, 3, 3), 255, np.uint8)
    page[0, 0], page[0, 1], page[1, 1] = (44, 40, 200), (30, 28, 28), (20, 20, 90)  # a stamp, ink, ink under the stamp
    assert without_stamps(page)[..., 0].tolist() == [[200, 28, 255], [255, 90, 255]]
    assert (without_stamps(page) == without_stamps(page)[..., :1]).all()


def test_a_second_reading_fills_what_was_missed_and_changes_nothing_else(page: Build) -> None:
    labels = [
        (60, 60, "收入证明"),
        (60, 100, "姓名：示例甲"),
        (60, 140, "职务：会计"),
        (60, 180, "月收入：12,000.00元"),
    ]
    first = extract("income_proof", [page(*labels)])
    again = extract(
        "income_proof", [page((60, 60, "收入证明"), (60, 100, "姓名：样例乙"), (60, 220, "日期：2026-11-16"))]
    )
    filled = first.filled_from(again, ("employer", "issue_date"))
    assert (filled.value("name"), filled.value("issue_date")) == ("示例甲", "2026-11-16")
    assert [(each.code, each.field) for each in filled.problems] == [
        ("missing_field", "id_number"),
        ("missing_field", "employer"),
    ]
    assert first.value("issue_date") is None
