"""Labels of which OCR misread a character."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge.documents.labels import mended
from edge.documents.layout import ReadPage, rows_of

Build = Callable[..., ReadPage]
LABELS = ("工作单位", "工作岗位", "公民身份号码", "月均收入", "年收入", "户名", "账号")


@pytest.mark.parametrize(
    ("read", "right"),
    [
        ("公民身份号玛", "公民身份号码"),
        ("公民身份号玛999999199003070012", "公民身份号码999999199003070012"),
        ("月圴收入：12,000.00", "月均收入:12,000.00"),
        ("户名館", "户名 "),
        # as near to one label as to another, too short, a character that other labels have, a word of its own
        *(("工作単位", "工作単位"), ("户各", "户各"), ("年均收入", "年均收入"), ("月圴收入额度", "月均收入额度")),
        *(("工作单位", "工作单位"), ("公民的身份", "公民的身份"), ("示例甲", "示例甲")),
    ],
)
def test_only_what_can_be_one_label_alone_is_put_right(page: Build, read: str, right: str) -> None:
    rows = rows_of([page((100, 100, read), (600, 100, "示例甲"))])
    ((piece, other),) = mended(rows, LABELS)
    assert (piece.text, other.text) == (right, "示例甲")
    assert len(piece.text) == len(piece.printed)
    assert (piece.confidence, piece.box) == (rows[0][0].confidence, rows[0][0].box)
