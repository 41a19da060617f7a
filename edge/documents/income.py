"""Income proofs: a letter in sentences or a form of labels and values."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge.documents.extraction import Field, Problem, problem
from edge.documents.layout import Flow, Row, one_of
from edge.documents.normalise import AMOUNT, CAPITALS, DATE, ID_NUMBER, parse_amount, parse_capitals, parse_date

KIND = "income_proof"

_AFTER_LABEL = r"\s*:?\s*"
_VALUE = r"([^\s:,。;]{2,40})"
_COMPANY = r"(?:公司|集团|工厂|厂|商行|商店|中心|学校|大学|医院|银行|研究院|研究所|事务所|合作社|委员会|局|部)"
_INCOME = r"(?:月薪|月[^\d\n]{0,8}?(?:收入|工资|薪资|薪金|薪酬))"

# each: a pattern for forms, whose values end with their piece, then one for sentences, which run on across lines
_NAME = (
    one_of("姓名", "员工姓名") + _AFTER_LABEL + r"([\u4e00-\u9fff·•]{2,25})",
    r"兹证明(?P<value>[\u4e00-\u9fff·•]{2,25}?)(?:[（(,]|同志|先生|女士|系|身份证|为我|是我)",
)
_POSITION = (
    one_of("职务", "职位", "岗位", "担任职务", "现任职务") + _AFTER_LABEL + _VALUE,
    r"(?:现任|担任|任职)(?P<value>[^,。;]{2,20}?)(?:一职|职务|职位|岗位|工作|[,。;])",
)
_EMPLOYER = (
    one_of("单位名称", "工作单位", "单位全称", "用人单位", "公司名称", "任职单位") + _AFTER_LABEL + _VALUE,
    rf"(?:系|为|是|在)(?P<value>[^\d,。;我本]{{2,30}}?{_COMPANY})(?:的|正式|在职|任|担任|员工|工作)",
)


def read_fields(rows: Sequence[Row]) -> dict[str, Field]:
    """Find the fields that the proof carries."""
    form, prose = Flow(rows), Flow(rows, gap="", turn="")
    fields: dict[str, Field] = {}
    for name, (labelled, sentence) in (("name", _NAME), ("employer", _EMPLOYER), ("position", _POSITION)):
        for flow, pattern in ((form, labelled), (prose, sentence)):
            if match := flow.search(pattern):
                fields[name] = flow.field(match, 1, match[1])
                break
    if "employer" not in fields and (match := _last(rf"(?m)^\S*?([\u4e00-\u9fff（）()]{{2,30}}{_COMPANY})\s*$", form)):
        fields["employer"] = form.field(match, 1, match[1])  # the signature under a letter has no label
    if match := form.search(ID_NUMBER):
        fields["id_number"] = form.field(match, 0, re.sub(r"\s", "", match[0]).upper())
    income = prose.search(rf"{_INCOME}[^\d,。;]{{0,20}}?({AMOUNT})")
    if income and (amount := parse_amount(income[1])) is not None:
        fields["monthly_income"] = prose.field(income, 1, amount)
    labelled = one_of("开具日期", "出具日期", "证明日期", "填表日期", "日期") + _AFTER_LABEL + rf"({DATE})"
    issued = form.search(labelled) or _last(rf"({DATE})", form)
    if issued and (day := parse_date(issued[1])):
        fields["issue_date"] = form.field(issued, 1, day)
    return fields


def check(fields: dict[str, Field], rows: Sequence[Row]) -> list[Problem]:
    """Compare the amount in digits with the one in capitals, where the proof carries both."""
    match = Flow(rows, gap="", turn="").search(CAPITALS)
    if match is None or "monthly_income" not in fields:
        return []
    capitals, digits = parse_capitals(match[0]), fields["monthly_income"].value
    if capitals is None:
        return [problem(KIND, "capitals_unreadable", "monthly_income")]
    if round(capitals * 100) != round(digits * 100):
        return [problem(KIND, "capitals_mismatch", "monthly_income", digits=digits, capitals=capitals)]
    return []


def _last(pattern: str, flow: Flow) -> re.Match[str] | None:
    match = None
    for match in re.finditer(pattern, flow.text):  # noqa: B007 - the last one is wanted
        pass
    return match
