"""What comes out of a document: fields, each with its confidence and place, and problems for a person to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtime.ocr.line import Box

KIND_NAMES = {"id_card": "身份证", "income_proof": "收入证明", "bank_statement": "银行流水"}

# the contract's names; zh for the texts of problems
FIELD_NAMES: Mapping[str, Mapping[str, str]] = {
    "id_card": {
        "name": "姓名",
        "sex": "性别",
        "ethnicity": "民族",
        "birth_date": "出生日期",
        "address": "住址",
        "id_number": "身份证号",
        "issuing_authority": "签发机关",
        "valid_from": "有效期起始日",
        "valid_until": "有效期截止日",
    },
    "income_proof": {
        "name": "姓名",
        "id_number": "身份证号",
        "employer": "工作单位",
        "position": "职务",
        "monthly_income": "月收入",
        "issue_date": "开具日期",
    },
    "bank_statement": {
        "bank": "银行名称",
        "account_name": "户名",
        "account_number": "账号",
        "period_from": "起始日期",
        "period_to": "截止日期",
        "rows": "交易明细",
    },
}

SURE = 0.9  # what was read with less confidence accuses nobody; of digits that OCR misreads hardly any has more

_TEXTS = {
    "unreadable": "未能从该文件读出文字",
    "wrong_kind": "该文件不像{kind}{seen}",
    "missing_field": "未读到{name}",
    "low_confidence": "{name}的识别置信度仅 {confidence:.2f}，请人工核对",
    "id_checksum": "身份证号的校验码不正确",
    "birth_date_mismatch": "{name}与身份证号所示出生日期不一致",
    "sex_mismatch": "{name}与身份证号所示性别不一致",
    "implausible": "{name}“{seen}”不合常理，请人工核对",
    "unfinished": "{name}“{seen}”像未读全，请对照原件",
    "several_amounts": "写有不止一个收入金额：{amounts}，以哪个为准须由人工判断",
    "name_unsure": "{name}“{seen}”与申请人姓名相差一个字，可能是识别有误，请对照原件",
    "income_undeclared": "申报月收入为 0，收入证明却为 {proven:,.2f} 元",
    "expired": "身份证已于 {date} 到期",
    "not_yet_valid": "身份证自 {date} 起才有效",
    "capitals_mismatch": "小写金额 {digits:,.2f} 与大写金额 {capitals:,.2f} 不一致",
    "capitals_unreadable": "大写金额无法辨认",
    "row_incomplete": "第 {rows} 行的日期、金额或余额未读全",
    "no_balance": "流水没有可读的余额，金额无从核对",
    "pages_unread": "该文件共 {pages} 页，只读了前 {count} 页",
    "rows_unread": "另有 {count} 行像是交易，但未能读懂",
    "balance_mismatch": "第 {rows} 行的余额与金额对不上",
    "total_mismatch": "流水自称合计 {total:,.2f} 元，各行相加却为 {moved:,.2f} 元",
    "several_accounts": "各页的户名不一致：{names}，像由几份流水拼成",
    "balance_unsure": "第 {rows} 行的余额与金额对不上，但其中有数字辨认不清，请对照原件",
    "row_outside_period": "第 {rows} 行的日期不在账单起止日期内",
    "several_papers": "该文件上像有 {count} 张不同的证件，请每张证件单独提交",
    "name_mismatch": "{name}“{seen}”与申请人姓名不一致",
    "id_number_mismatch": "身份证号 {seen} 与申请人的不一致",
    "income_mismatch": "申报月收入 {declared:,.2f} 元高于收入证明的 {proven:,.2f} 元",
    "salary_mismatch": "第 {rows} 行的工资入账月均 {paid:,.2f} 元，低于所称月收入 {claimed:,.2f} 元",
    "salary_not_found": "流水中没有工资入账，不能印证收入证明的 {claimed:,.2f} 元",
    "period_short": "流水只有 {days} 天，少于 {needed} 天",
    "out_of_date": "{name}为 {date}，距今已 {days} 天",
    "future_date": "{name} {date} 晚于今天",
}
PROBLEM_CODES = frozenset(_TEXTS)


@dataclass(frozen=True)
class Place:
    """Where something stands: a box in pixels of a page."""

    page: int
    box: Box


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        value: Text, number, ISO 8601 date, or the list of rows.
        confidence: The least confidence of the lines that it was read from.
        box: Around it, in pixels of its page.
        page: Index of the page.
        places: Of each row, where the value is a list of rows.
        sureness: Of each such row, the least confidence that its numbers were read with.
    """

    value: Any
    confidence: float
    box: Box
    page: int
    places: tuple[Place, ...] = ()
    sureness: tuple[float, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something for a person to look at.

    Attributes:
        code: For programs.
        text: For people.
        field: None where the whole document is meant.
        rows: Indices of the rows that show it.
        place: Where to look: the first of ``rows``, else the field; None where nothing was read.
    """

    code: str
    text: str
    field: str | None = None
    rows: tuple[int, ...] = ()
    place: Place | None = None

    def placed(self, fields: Mapping[str, Field]) -> Problem:
        """The same problem with its place among ``fields``."""
        found = fields.get(self.field or "")
        if found is None:
            return self
        first = self.rows[0] if self.rows else len(found.places)
        return replace(self, place=found.places[first] if first < len(found.places) else Place(found.page, found.box))


@dataclass(frozen=True)
class Extraction:
    """What was read from one document."""

    kind: str
    fields: Mapping[str, Field]
    problems: tuple[Problem, ...] = ()

    def value(self, name: str) -> Any:
        """The value of a field, None if it was not read."""
        field = self.fields.get(name)
        return field.value if field else None

    def filled_from(self, other: Extraction, names: Sequence[str]) -> Extraction:
        """This reading, with those of ``names`` that it misses and ``other`` found, and what ``other`` says of them."""
        found = {name: other.fields[name] for name in names if name in other.fields and name not in self.fields}
        known = [each for each in self.problems if each.field not in found]
        new = [each for each in other.problems if each.field in found]
        return replace(self, fields={**self.fields, **found}, problems=(*known, *new))


def problem(kind: str, code: str, field: str | None = None, *, rows: Sequence[int] = (), **values: object) -> Problem:
    """Word a problem of a document of ``kind``; ``values`` and the numbers of ``rows`` fill the text."""
    name = FIELD_NAMES[kind].get(field or "", "")
    text = _TEXTS[code].format(name=name, kind=KIND_NAMES[kind], rows=_rows_text(rows), **values)
    return Problem(code, text, field, tuple(rows))


def _rows_text(indices: Sequence[int]) -> str:
    """Row numbers as people count them, at most five."""
    shown = "、".join(str(index + 1) for index in indices[:5])
    return shown + (f" 等 {len(indices)}" if len(indices) > 5 else "")
