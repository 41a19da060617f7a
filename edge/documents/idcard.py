"""Citizen identity cards: the side with the portrait, the side with the emblem, or both in one picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from edge.documents import id_number
from edge.documents.extraction import Field, Problem, problem
from edge.documents.labels import mended
from edge.documents.layout import Flow, Piece, Row, field_of, one_of
from edge.documents.normalise import DATE, ID_NUMBER, parse_date
from edge.documents.watermark import without_watermark, without_written_over

KIND = "id_card"
# 长期 has no date of its own; banks write this day for it
FOR_GOOD = "9999-12-31"

_LABELS = ("公民身份号码", "公民身份证号码", "签发机关", "有效期限", "姓名", "性别", "民族", "出生", "住址")
_STROKES = "丿丨丶亅」|‧·•."  # what OCR makes of a border or of dust before a line
_LABEL_END = one_of("公民身份号码", "公民身份", "身份号码")
_HAN = r"[\u4e00-\u9fff]"
_NEXT = rf"(?={one_of('姓名', '性别', '民族', '出生', '住址', '公民身份')}|[^\u4e00-\u9fff·•]|$)"
# GB/T 3304-1991
_PEOPLES = (
    *("汉", "蒙古", "回", "藏", "维吾尔", "苗", "彝", "壮", "布依", "朝鲜", "满", "侗", "瑶", "白", "土家", "哈尼"),
    *("哈萨克", "傣", "黎", "傈僳", "佤", "畲", "高山", "拉祜", "水", "东乡", "纳西", "景颇", "柯尔克孜", "土"),
    *("达斡尔", "仫佬", "羌", "布朗", "撒拉", "毛南", "仡佬", "锡伯", "阿昌", "普米", "塔吉克", "怒", "乌孜别克"),
    *("俄罗斯", "鄂温克", "德昂", "保安", "裕固", "京", "塔塔尔", "独龙", "鄂伦春", "赫哲", "门巴", "珞巴", "基诺"),
)
_COVERED = 0.5  # confidence in what a watermark crosses: part of it may be hidden
_YEARS = (5, 10, 20)  # that a card is valid for, by the age of its holder (居民身份证法, article 5)

# how an address ends whose last line was overlooked
_UNFINISHED = re.compile(r"(?:[\dA-Za-z]|[单栋幢]|单元|号楼|[-#、]|[（(][^）)]*)$")
# of a label that stands by itself OCR may lose the first character; 男 and 女 alone say enough
_NO_LABEL = rf"(?!{one_of('姓名', '性别', '民族', '出生', '住址', '公民身份', '签发', '有效')})"
_NAME = rf"{_NO_LABEL}{_HAN}(?: (?={_HAN}(?!{_HAN})))?[\u4e00-\u9fff·•]{{1,24}}?"  # two characters may stand apart
_PATTERNS = {
    "name": rf"(?:{one_of('姓名')}|(?<!{_HAN})名) *:? *({_NAME}){_NEXT}",
    "sex": rf"(?:{one_of('性别')}|(?<!{_HAN})[性别])\s*:?\s*([男女])|(?<!{_HAN})(?P<alone>[男女])(?!{_HAN})",
    "ethnicity": rf"(?:{one_of('民族')}|(?<!{_HAN})族) *:? *{_NO_LABEL}({_HAN}{{1,8}}?)族?{_NEXT}",
    "issuing_authority": rf"(?:{one_of('签发机关')}|发机关)\s*:?\s*({_HAN}{{3,40}})",
}


def read_fields(rows: Sequence[Row]) -> dict[str, Field]:
    """Find the fields that the card carries; what is written across it is none of them."""
    rows = mended(without_watermark(rows), _LABELS)
    flow = Flow(rows)
    fields: dict[str, Field] = {}
    for name, pattern in _PATTERNS.items():
        if match := flow.search(pattern):
            group = match.lastgroup or 1
            fields[name] = flow.field(match, group, match[group].replace(" ", ""))
    if "name" not in fields and (alone := _unlabelled_name(rows)):
        fields["name"] = field_of(alone.text.replace(" ", ""), [alone])
    if "name" in fields and (rest := without_written_over(fields["name"].value)) != fields["name"].value:
        fields["name"] = replace(fields["name"], value=rest, confidence=min(fields["name"].confidence, _COVERED))
    born = flow.search(one_of("出生") + rf"[^\d\n]{{0,6}}({DATE})") or flow.search(rf"(?m)^({DATE})日?$")
    if (match := born) and (day := parse_date(match[1])):
        fields["birth_date"] = flow.field(match, 1, day)
    if match := flow.search(ID_NUMBER):
        fields["id_number"] = flow.field(match, 0, re.sub(r"\s", "", match[0]).upper())
    fields.update(_validity(flow))
    if address := _address(rows, flow):
        fields["address"] = field_of(
            "".join(re.sub(r"[\s,.:;']", "", piece.text).lstrip(_STROKES) for piece in address), address
        )
    return fields


def check(fields: dict[str, Field]) -> list[Problem]:
    """Compare the card with itself and with what cards say.

    Check character, birth date and sex against the number; a people that is none, an authority that is no police, and
    a time of validity that no card has are read wrongly more often than printed.
    """
    problems = _implausible(fields)
    if "address" in fields and _UNFINISHED.search(fields["address"].value):
        problems.append(problem(KIND, "unfinished", "address", seen=fields["address"].value))
    if "id_number" not in fields:
        return problems
    number = fields["id_number"].value
    if not id_number.checksum_fits(number):
        return [*problems, problem(KIND, "id_checksum", "id_number")]
    if "birth_date" in fields and fields["birth_date"].value != id_number.birth_date(number):
        problems.append(problem(KIND, "birth_date_mismatch", "birth_date"))
    if "sex" in fields and fields["sex"].value != id_number.sex(number):
        problems.append(problem(KIND, "sex_mismatch", "sex"))
    return problems


def several(rows: Sequence[Row]) -> int:
    """How many different cards the paper shows, by their numbers, or by their names, or by their validity."""
    text = Flow(mended(rows, _LABELS)).text
    patterns = (
        ID_NUMBER,
        one_of("姓名") + r"\s*:?\s*([\u4e00-\u9fff·•]{2,25})",
        rf"{DATE}\s*(?:-+|~|至|到)\s*(?:{DATE}|长期)",
    )
    return max(len({re.sub(r"\s", "", match[0]).upper() for match in re.finditer(each, text)}) for each in patterns)


def _implausible(fields: dict[str, Field]) -> list[Problem]:
    odd = []
    if "ethnicity" in fields and fields["ethnicity"].value not in _PEOPLES:
        odd.append("ethnicity")
    if "issuing_authority" in fields and "公安" not in fields["issuing_authority"].value:
        odd.append("issuing_authority")
    if "valid_from" in fields and "valid_until" in fields and fields["valid_until"].value != FOR_GOOD:
        begin, end = (date.fromisoformat(fields[name].value) for name in ("valid_from", "valid_until"))
        years = (end - begin).days / 365.25
        if min(abs(years - each) for each in _YEARS) > 0.03:  # some days: offices count the last one in or not
            odd.append("valid_until")
    return [problem(KIND, "implausible", name, seen=fields[name].value) for name in odd]


def _validity(flow: Flow) -> dict[str, Field]:
    match = flow.search(rf"({DATE})\s*(?:-+|~|至|到)?\s*({DATE}|长期)")
    if match is None:
        return {}
    begin = parse_date(match[1])
    end = FOR_GOOD if match[2] == "长期" else parse_date(match[2])
    fields = {}
    if begin:
        fields["valid_from"] = flow.field(match, 1, begin)
    if end:
        fields["valid_until"] = flow.field(match, 2, end)
    return fields


def _unlabelled_name(rows: Sequence[Row]) -> Piece | None:
    """What stands above 性别 and begins where the other values do, where OCR lost the label: nothing else is there."""
    pieces = [piece for row in rows for piece in row]
    for value in pieces:
        if not re.match(rf"{DATE}", value.text):
            continue  # of birth: it begins a piece of its own
        above = [
            piece
            for piece in pieces
            if piece.page == value.page
            and abs(piece.left - value.left) < 0.8 * value.height
            and 1.5 * value.height < value.middle - piece.middle < 6 * value.height
        ]
        top = min(above, key=lambda piece: piece.middle, default=None)
        if top and re.fullmatch(rf"{_NO_LABEL}(?:{_HAN}{{2,4}}|{_HAN}+[·•]{_HAN}+)", top.text.strip()):
            return top
    return None


def _address(rows: Sequence[Row], flow: Flow) -> list[Piece]:
    """The pieces after 住址 and those below that begin where the first one does, down to the number."""
    match = flow.search(one_of("住址") + r"\s*:?\s*(\S[^\n]*)")
    if match is None:
        return []
    first, *beside = flow.pieces(*match.span(1))
    found = [first]
    for piece in beside:
        if piece.left - found[-1].right > 2 * first.height:
            break  # the other side of the card
        found.append(piece)
    for row in rows:
        for piece in row:
            last = found[-1]
            below = 0.5 * last.height < piece.middle - last.middle < 2.2 * last.height
            aligned = abs(piece.left - first.left) < 1.2 * first.height
            if piece.page != first.page or not (below and aligned):
                continue
            if re.search(ID_NUMBER, piece.text) or re.search(_LABEL_END, piece.text):
                return found
            found.append(piece)
    return found
