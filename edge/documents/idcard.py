"""Citizen identity cards: the side with the portrait, the side with the emblem, or both in one picture."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edge.documents import id_number
from edge.documents.extraction import Field, Problem, problem
from edge.documents.layout import Flow, Piece, Row, field_of, one_of
from edge.documents.normalise import DATE, ID_NUMBER, parse_date

KIND = "id_card"
# 长期 has no date of its own; banks write this day for it
FOR_GOOD = "9999-12-31"

_STROKES = "丿丨丶亅」|‧·•."  # what OCR makes of a border or of dust before a line
_LABEL_END = one_of("公民身份号码", "公民身份", "身份号码")
_HAN = r"[\u4e00-\u9fff]"


# of a label that stands by itself OCR may lose the first character; 男 and 女 alone say enough
_PATTERNS = {
    "name": rf"(?:{one_of('姓名')}|(?<!{_HAN})名)\s*:?\s*({_HAN}[\u4e00-\u9fff·•]{{1,24}})",
    "sex": rf"(?:{one_of('性别')}|(?<!{_HAN})[性别])\s*:?\s*([男女])|(?<!{_HAN})(?P<alone>[男女])(?!{_HAN})",
    "ethnicity": rf"(?:{one_of('民族')}|(?<!{_HAN})族)\s*:?\s*({_HAN}{{1,8}})",
    "issuing_authority": rf"(?:{one_of('签发机关')}|发机关)\s*:?\s*({_HAN}{{3,40}})",
}


def read_fields(rows: Sequence[Row]) -> dict[str, Field]:
    """Find the fields that the card carries."""
    flow = Flow(rows)
    fields: dict[str, Field] = {}
    for name, pattern in _PATTERNS.items():
        if match := flow.search(pattern):
            group = match.lastgroup or 1
            fields[name] = flow.field(match, group, match[group])
    if (match := flow.search(one_of("出生") + rf"[^\d\n]{{0,6}}({DATE})")) and (day := parse_date(match[1])):
        fields["birth_date"] = flow.field(match, 1, day)
    if match := flow.search(ID_NUMBER):
        fields["id_number"] = flow.field(match, 0, re.sub(r"\s", "", match[0]).upper())
    fields.update(_validity(flow))
    if address := _address(rows, flow):
        fields["address"] = field_of(
            "".join(re.sub(r"\s", "", piece.text).lstrip(_STROKES) for piece in address), address
        )
    return fields


def check(fields: dict[str, Field]) -> list[Problem]:
    """Compare the card with itself: check character, birth date and sex against the number."""
    if "id_number" not in fields:
        return []
    number = fields["id_number"].value
    if not id_number.checksum_fits(number):
        return [problem(KIND, "id_checksum", "id_number")]
    problems = []
    if "birth_date" in fields and fields["birth_date"].value != id_number.birth_date(number):
        problems.append(problem(KIND, "birth_date_mismatch", "birth_date"))
    if "sex" in fields and fields["sex"].value != id_number.sex(number):
        problems.append(problem(KIND, "sex_mismatch", "sex"))
    return problems


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
