"""Income proofs: a letter in sentences or a form of labels and values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from edge.documents import id_number
from edge.documents.bilingual import is_label, paired
from edge.documents.extraction import Field, Problem, problem
from edge.documents.labels import mended
from edge.documents.layout import Flow, Form, Piece, Row, field_of
from edge.documents.normalise import (
    AMOUNT,
    CAPITALS,
    DATE,
    ID_NUMBER,
    SPACED_DAY,
    parse_amount,
    parse_capitals,
    parse_date,
)

KIND = "income_proof"

_HAN = r"\u4e00-\u9fff"
_PERSON = rf"(?:[{_HAN}]{{1,12}}[·•][{_HAN}·•]{{1,12}}?|[{_HAN}]{{2,4}}?)"
_NAME = rf"([{_HAN}·•]{{2,25}})"
_VALUE = r"([^\s:,。;]{2,40})"
_NO_COLUMN = r"(?!万?元|\S*(?:工资|补贴|合计))"  # 单位：元 says in what amounts are told; below it stands a column
# not the heading 岗位工资, nor the figure below it
_POSITION = rf"(?!工资|薪|津贴|补贴|绩效|[\d,.]+(?:\s|$)){_VALUE}"
# the last part: nor half of an amount that a line break parts
_MONEY = rf"(?:人民币|RMB|CNY|约|\s)*({AMOUNT})(?![\d年月/-]|\n?万|[.,]\d|[.,]?\n[\d.,]{{1,8}}[元万])"
_COMPANY = (
    r"(?:公司|集团|工厂|厂|商行|商店|酒店|餐厅|中心|学校|中学|小学|大学|学院|幼儿园|医院|银行|支行|分行|研究院|研究所|事务所"
    r"|工作室|合作社|委员会|协会|局|部|店)"
)
_OFFICE = r"(?:人力资源部?|人事[部处科]?|行政部?|财务[部处科]?|综合部|综合办公室|办公室)"
_PAY = r"(?:收入|工资|薪资|薪金|薪酬|薪水)"
_INCOME = rf"(?:月薪|月均(?=[\d人约为¥])|(?:(?<!个)月|个月(?=[平月]?均))[^\d\n年,。;]{{0,8}}?{_PAY})"
# a comma may part the amount in words from the one in digits, nothing else
_GAP = r"(?:[（(][^\d）)]{0,12}[）)]|[^\d,。;]|,(?=[(（]?(?:小写|大写|人民币|¥|即|计|合|共)))"
_LEAST = 100  # yuan; whoever reads less has lost a digit or a 万
_MOST = 10_000_000  # and whoever reads more has read the number of an account or a telephone
_A_YEAR = rf"(?:年薪|年度?[^\d\n年月,。;]{{0,6}}?{_PAY})"
_COMPONENT = re.compile(r"基本|岗位|绩效|奖|补贴|津贴|加班")  # a part of an income, not the income
# 工资12,000元/月: the month stands behind
_A_MONTH = rf"{_PAY}[^\d,。;]{{0,20}}?({AMOUNT})元?(?:/月|每月)"
# before and behind a date that is not the proof's own
_OTHER_DAYS = re.compile(r"(?:入职|有效|出生|到期|自|至|起|参加工作|合同)[^\n]{0,6}$")
_IN_TABLE = re.compile(
    rf"(?<![\d.])\d[\d,]*\.\d{{2}}(?![\d.])|{DATE}[^\n]*{DATE}"
)  # an amount or another day beside it
_SINCE = re.compile(r"(?:起|至今|入职|加入|进入|参加|到)")

_LABELS = {
    "name": ("姓名", "员工姓名", "职工姓名", "申请人", "申请人姓名", "本人姓名", "纳税人名称", "纳税人姓名"),
    "employer": (
        *("单位名称", "工作单位", "单位全称", "用人单位", "公司名称", "任职单位", "所在单位", "就职单位", "企业名称"),
        *("单位", "公司", "单位盖章", "单位公章", "任职公司", "扣缴义务人", "扣缴义务人名称", "参保单位", "缴费单位"),
    ),
    "position": ("职务", "职位", "岗位", "担任职务", "现任职务", "所任职务", "工作岗位", "担任职位", "职务名称"),
    "monthly_income": (
        *("月收入", "月均收入", "月平均收入", "平均月收入", "税后月收入", "税前月收入", "月薪", "税后月薪", "税前月薪"),
        *("月工资", "每月收入", "月工资收入", "税后月工资", "月均税后收入", "月均工资", "月薪资"),
        *("月总收入", "月收入合计", "月收入总额", "月均总收入", "平均月薪", "月收入金额", "月固定收入", "月税后收入"),
        *("应发工资", "应发合计", "应发金额", "实发工资", "实发合计", "实发金额"),  # of a payslip
    ),
    "issue_date": ("开具日期", "出具日期", "证明日期", "填表日期", "签发日期", "日期", "开具时间", "出具时间"),
}
_TITLES = ("职称", "技术职称")  # of hospitals and schools, where no position is told
_OTHERS = (
    *_TITLES,
    *("身份证号", "身份证号码", "证件号码", "证件类型", "性别", "年龄", "联系电话", "电话", "大写", "金额大写", "部门"),
    *("工号", "纳税人识别号", "身份证件类型", "身份证件号码", "社会保障号码"),
    *("入职日期", "入职时间", "经办人", "学历", "年收入", "备注", "地址", "单位地址", "公司地址", "联系人"),
)
_ALL_LABELS = (*(label for labels in _LABELS.values() for label in labels), *_OTHERS)
_WE = r"(?:我|本|该)(?:单位|公司|司|校|院|厂|局|行|部|社|所)?的?"
_STAFF = r"(?:在职|正式|在编|在岗|全职)*(?:员工|职工|职员|教师|雇员|工作人员|人员)"
# no name begins with who certifies or what somebody is
_SOMEBODY = (
    rf"(?!(?:{_WE})?{_STAFF}|(?:我|本|该|贵)(?:单位|公司|司|校|院|厂|局|行|部|社|所|人)"
    "|其|兹|持|在职|在岗|正式|单位|公司|居民|公民|同志|先生|女士)"
)
_NOBODY = re.compile("单位|公司|员工|职工|职员|人员|[我本该]司|贵行")  # nor has it one of these in it
# letters: sentences that run on across lines
_SENTENCES = {
    "name": (
        rf"(?:(?:兹证明|兹有|现证明|特证明):?(?:{_WE})?(?:{_STAFF})?|(?!该){_WE}{_STAFF}):?{_SOMEBODY}"
        rf"(?P<value>{_PERSON})(?=[（(,、:]|同志|先生|女士|小姐|系|身份|证件|性别|为|是|现|自|于|在)"
    ),
    "employer": (
        rf"(?:系|为|是|在|于)(?!我|本|该|贵|其)(?P<value>[{_HAN}（）()]{{2,30}}?{_COMPANY})(?:[{_HAN}]{{1,8}}[部处科室])?"
        r"(?:的|正式|在职|全职|任|担任|员工|职工|工作|就职|从事|上班|[,。;])"
    ),
    "position": (
        r"(?:现任,?|担任,?|职务[为是]|职位[为是]|岗位[为是]|从事|任职|(?<!责)任(?!何|职|意|期))(?!单位|公司|于|的|本)"
        r"(?:为|是|我[单位公司]*)?(?P<value>[^,。;(（\d]{2,20}?)(?:一职|职务|职位|岗位|工作|[,。;(（])"
    ),
}
# what an office says of its own records is signed by the office, and that employs nobody who is named there
_RECORD = re.compile("纳税记录|完税证明|纳税明细|缴费证明|参保证明|权益记录")
# 示例甲（身份证号...): a name without any word before it
_NAME_BY_NUMBER = (
    rf"(?:(?m:^)|(?<=证明|员工|职工|职员|人员|公司|单位)|(?<=[,。;:])){_SOMEBODY}"
    rf"(?P<value>{_PERSON})(?:同志|先生|女士|小姐|[（(,、][男女][,、]|[（(,、]?(?:性别:?)?(?:居民|公民)?身份(?:证|号))"
)
# 样例公司兹证明: who certifies stands before the word, at the beginning of the letter
_CERTIFIER = rf"(?m)^(?P<value>(?![我本该贵])[{_HAN}（）()]{{2,30}}{_COMPANY})(?:兹|现|特)此?证明"
_SIGNATURE = (
    rf"(?m)^(?!{_OFFICE})\S*?(?!有限|股份)([{_HAN}（）()]{{2,30}}?{_COMPANY})"
    rf"(?:{_OFFICE}|[（(][^）)\n]{{0,8}}[）)])?\s*$"
)


def read_fields(rows: Sequence[Row]) -> dict[str, Field]:
    """Find the fields that the proof carries."""
    rows = paired(mended(rows, _ALL_LABELS), _ALL_LABELS)
    form, flow, prose = Form(rows, _ALL_LABELS), Flow(rows), Flow(rows, gap="", turn="")
    fields: dict[str, Field] = {}
    for name, pattern in (("name", _NAME), ("position", _POSITION)):
        if (found := form.find(_LABELS[name], pattern)) and not is_label(found[0][1]):
            fields[name] = field_of(found[0][1], found[1])
        elif match := prose.search(_SENTENCES[name]):
            fields[name] = prose.field(match, "value", match["value"])
    if "position" not in fields and (found := form.find(_TITLES, _POSITION)):
        fields["position"] = field_of(found[0][1], found[1])
    for text in (flow, prose):
        if "name" not in fields and (match := text.search(_NAME_BY_NUMBER)):
            fields["name"] = text.field(match, "value", match["value"])
    if "name" in fields and _NOBODY.search(fields["name"].value):
        del fields["name"]
    if employer := _employer(form, flow, prose):
        fields["employer"] = employer
    if number := _number(flow, prose):
        fields["id_number"] = number
    for name in fields.keys() & {"employer", "position"}:
        fields[name] = replace(fields[name], value=_without_dust(fields[name].value))
    if income := _income(form, prose):
        fields["monthly_income"] = income
    dated = form.find(_LABELS["issue_date"], rf"({DATE})")
    if dated and (day := parse_date(dated[0][1])):
        fields["issue_date"] = field_of(day, dated[1])
    elif (last := _last_day(flow)) and (day := parse_date(last[1])):
        fields["issue_date"] = flow.field(last, 1, day)
    return fields


def _number(flow: Flow, prose: Flow) -> Field | None:
    """What is called so, else what has a right check character, else what looks like one.

    A letter breaks its lines anywhere, also within a number; the figures of a table run together look like one too.
    """
    told = [(text, match) for text in (flow, prose) for match in re.finditer(ID_NUMBER, text.text)]
    named = [each for each in told if re.search(r"证[^\d\n]{0,9}$", each[0].text[: each[1].start()])]
    right = [each for each in told if id_number.checksum_fits(re.sub(r"\s", "", each[1][0]))]
    for text, match in (*named, *right, *told):
        return text.field(match, 0, re.sub(r"\s", "", match[0]).upper())
    return None


def _employer(form: Form, flow: Flow, prose: Flow) -> Field | None:
    """What a label, a sentence or the signature calls one; behind a label also what does not sound like one."""
    if found := form.find(_LABELS["employer"], rf"([^\s:,。;]{{1,40}}{_COMPANY}(?:[（(][^）)\s]{{1,12}}[）)])?)"):
        return field_of(found[0][1], found[1])
    if _RECORD.search(prose.text):
        return None
    if match := flow.search(_CERTIFIER):
        return flow.field(match, "value", match["value"])
    if match := prose.search(_SENTENCES["employer"]):
        return prose.field(match, "value", match["value"])
    if signed := list(re.finditer(_SIGNATURE, flow.text)):  # under a letter it has no label
        return flow.field(signed[-1], 1, signed[-1][1])
    if (found := form.find(_LABELS["employer"], _NO_COLUMN + _VALUE)) and not is_label(found[0][1]):
        return field_of(found[0][1], found[1])
    return None


def _income(form: Form, prose: Flow) -> Field | None:
    if (found := form.find(_LABELS["monthly_income"], _MONEY)) and (amount := parse_amount(found[0][1])) is not None:
        return field_of(amount, found[1])
    # 大写 may stand between the word and the digits
    told = [
        match
        for match in re.finditer(rf"(?P<word>{_INCOME}){_GAP}{{0,40}}?({AMOUNT})", prose.text)
        if not _COMPONENT.search(match["word"])
    ]
    if told:
        whole = next((match for match in told if re.search(r"总|合计|共", match["word"])), told[0])
        amount = parse_amount(whole[2])
        return None if amount is None else prose.field(whole, 2, amount)
    if (match := prose.search(_A_MONTH)) and (amount := parse_amount(match[1])) is not None:
        return prose.field(match, 1, amount)
    # in capitals alone
    if (match := prose.search(rf"{_INCOME}{_GAP}{{0,20}}?({CAPITALS})")) and (amount := parse_capitals(match[1])):
        return prose.field(match, 1, amount)
    return None


def check(fields: dict[str, Field], rows: Sequence[Row]) -> list[Problem]:
    """The check character of the number, and the amount in digits against the one in capitals where both are there."""
    problems = _number_problems(fields)
    if "monthly_income" in fields and fields["monthly_income"].value < _LEAST:
        problems.append(problem(KIND, "implausible", "monthly_income", seen=fields["monthly_income"].value))
    prose = Flow(rows, gap="", turn="")
    if len(amounts := _amounts(prose)) > 1:
        told = "、".join(f"{amount:,.2f}" for amount in sorted(amounts))
        problems.append(problem(KIND, "several_amounts", "monthly_income", amounts=told))
    match = prose.search(CAPITALS)
    if match is None or "monthly_income" not in fields:
        return problems
    capitals, digits = parse_capitals(match[0]), fields["monthly_income"].value
    if capitals is None:
        return [*problems, problem(KIND, "capitals_unreadable", "monthly_income")]
    if round(capitals * 100) not in (round(digits * 100), round(digits * 1200)):  # the words may be of the year
        return [*problems, problem(KIND, "capitals_mismatch", "monthly_income", digits=digits, capitals=capitals)]
    return problems


def _amounts(prose: Flow) -> set[float]:
    """The different incomes by the month or by the year that the paper states, none of them a sum of others.

    More than one cannot all be meant: of several years, before and after tax, of two people.
    """
    found: set[float] = set()
    for word in (_INCOME, _A_YEAR):
        told = [
            (amount, match["word"])
            for match in re.finditer(rf"(?P<word>{word}){_GAP}{{0,20}}?({AMOUNT})(?![\d,.]|[年月日个%/-])", prose.text)
            if not _COMPONENT.search(match["word"])
            and (amount := parse_amount(match[2])) is not None
            and _LEAST <= amount < _MOST
        ]
        amounts = {amount for amount, _ in told}
        if len(amounts) > 1 and not any(re.search("总|合计|共", said) for _, said in told):
            found |= amounts
    return found


def _number_problems(fields: dict[str, Field]) -> list[Problem]:
    if "id_number" in fields and not id_number.checksum_fits(fields["id_number"].value):
        return [problem(KIND, "id_checksum", "id_number")]
    return []


def _without_dust(value: str) -> str:
    """Without what OCR makes of a label's colon: signs, and a bracket that nothing closes."""
    value = value.lstrip("、·.|丨丿」「』『】【\"'“”‘’")
    return value[1:] if value[:1] in ("(", "（") and not re.search("[)）]", value) else value


def _is_whole(pieces: Sequence[Piece]) -> bool:
    """Whether nothing can be lost between the pieces of a date: OCR overlooks 一, one stroke, and 十一 becomes 十."""
    pairs = zip(pieces, pieces[1:], strict=False)
    return all(after.left - before.right < 0.7 * before.height for before, after in pairs)


def _last_day(flow: Flow) -> re.Match[str] | None:
    """The last date that is not of something else than the proof, nor in a row of a table."""
    days = [
        each
        for each in re.finditer(rf"({DATE}|{SPACED_DAY})", flow.text)
        if not _IN_TABLE.search(flow.line(each.start()))
        and (each[1][0] != "二" or _is_whole(flow.pieces(*each.span(1))))
        and not _OTHER_DAYS.search(flow.text[max(0, each.start() - 16) : each.start()])
        and not _SINCE.match(flow.text, each.end())
    ]
    return days[-1] if days else None
