"""One document: its pages in, its fields and problems out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from edge.documents import idcard, income, statement
from edge.documents.extraction import FIELD_NAMES, KIND_NAMES, Extraction, Field, problem
from edge.documents.layout import Flow, ReadPage, Row, rows_of
from edge.documents.watermark import without_watermark

# words of each kind of paper; other kinds may carry a few of them, so the most words win
_MARKS = {
    "id_card": ("公民身份", "居民身份证", "签发机关", "有效期限", "民族", "住址", "性别", "出生", "姓名"),
    "income_proof": (
        *("收入证明", "月收入", "收入", "月薪", "工资", "证明", "兹", "特此证明", "年收入", "单位", "公章", "盖章"),
        *("职务", "职位", "岗位", "在职", "任职", "员工", "职工", "大写"),
        *("社会保险", "参保", "缴费基数", "个人缴费", "纳税", "所得税", "公积金"),  # offices' records
    ),
    "bank_statement": (
        *("交易", "明细", "对账单", "流水", "余额", "摘要", "日期", "户名", "账号", "账户", "卡号", "币种", "对方"),
        *("借方", "贷方", "支出", "发生额", "转账"),
    ),
}

# other papers that people hand in, known by their own words, and what the paper asked for has of its own
_STRANGERS = {
    "id_card": (r"(?<!办理)(驾驶证|行驶证|户口簿|户口本|常住人口|居住证|护照|通行证)", "居民身份证"),
    "income_proof": (r"(在读证明|在校证明|学籍|在校学生|我校学生)", r"收入|工资|薪"),
}

_PLAINLY = 5  # so many words of a kind are a page of it, and none that mentions another paper

# what no field says, since it is printed before one
_PRINTED = {word for names in FIELD_NAMES.values() for word in names.values()} | {"出生", "公民身份号码", "有效期限"}


def extract(kind: str, pages: Sequence[ReadPage]) -> Extraction:
    """Read the fields of a document.

    Args:
        kind: ``id_card``, ``income_proof`` or ``bank_statement``.
        pages: The lines of every page.

    Returns:
        The fields that were found, and a problem for each that was not or that contradicts another. A paper of another
        kind gives one problem, not one for every field.
    """
    rows = rows_of(_own(kind, pages))
    if not rows:
        return Extraction(kind, {}, (problem(kind, "unreadable"),))
    if kind == "id_card":
        fields = _filled_in(idcard.read_fields(rows))
        problems = idcard.check(fields)
    elif kind == "income_proof":
        fields = _filled_in(income.read_fields(rows))
        problems = income.check(fields, rows)
    else:
        fields = _filled_in(statement.read_fields(rows))
        problems = statement.check(fields, rows)
    if stranger := _stranger(kind, rows):
        return Extraction(kind, {}, (problem(kind, "wrong_kind", seen=f"，上有“{stranger}”字样"),))
    seen = _seen_kind(rows)
    if seen != kind:
        likeness = f"，更像{KIND_NAMES[seen]}" if seen else ""
        return Extraction(kind, {}, (problem(kind, "wrong_kind", seen=likeness),))
    if kind == "id_card" and (cards := idcard.several(rows)) > 1:
        return Extraction(kind, {}, (problem(kind, "several_papers", count=cards),))
    missing = [problem(kind, "missing_field", name) for name in FIELD_NAMES[kind] if name not in fields]
    ordered = {name: fields[name] for name in FIELD_NAMES[kind] if name in fields}
    return Extraction(kind, ordered, tuple(each.placed(ordered) for each in (*missing, *problems)))


def _own(kind: str, pages: Sequence[ReadPage]) -> list[ReadPage]:
    """The pages, those emptied that are plainly of another kind where one is of this: papers scanned into one file."""
    counts = [_counts(rows_of([page])) for page in pages]
    best = [max(_MARKS, key=count.__getitem__) for count in counts]
    others = [
        name != kind and count[name] >= _PLAINLY and count[name] > 1.5 * count[kind]
        for name, count in zip(best, counts, strict=True)
    ]
    if all(others) or not any(name == kind and count[kind] for name, count in zip(best, counts, strict=True)):
        return list(pages)
    return [replace(page, lines=()) if other else page for page, other in zip(pages, others, strict=True)]


def _filled_in(fields: dict[str, Field]) -> dict[str, Field]:
    """Without those whose value is the next label: nobody wrote anything, or it could not be read."""
    return {
        name: field for name, field in fields.items() if not isinstance(field.value, str) or field.value not in _PRINTED
    }


def _stranger(kind: str, rows: Sequence[Row]) -> str | None:
    """The word by which the paper is another than all three kinds."""
    told, own = _STRANGERS.get(kind, (None, ""))
    text = Flow(without_watermark(rows), gap="", turn="").text
    word = re.search(told, text) if told else None
    return word[1] if word and not re.search(own, text) else None


def _seen_kind(rows: Sequence[Row]) -> str | None:
    """The kind whose words stand on the paper most often; None if no word of any kind does."""
    counts = _counts(rows)
    best = max(counts, key=lambda kind: counts[kind])
    return best if counts[best] else None


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    text = Flow(rows, gap="", turn="").text
    return {kind: sum(mark in text for mark in marks) for kind, marks in _MARKS.items()}
