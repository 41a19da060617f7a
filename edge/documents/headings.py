"""The heading of a statement's table: what each of its columns holds, known by words and by nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge.documents.labels import mended
from edge.documents.layout import Piece, Row

# the words for each column, the more telling ones first: of two columns for one thing the first of these is taken.
# "" is a column that nobody asked for, known so that its cells do not land in another
_HEADINGS = {
    "date": (
        *("交易日期", "交易时间", "交易日", "日期", "记账日期", "入账日期", "记账时间", "入账时间", "记账日", "入账日"),
        *("工作日期", "发生日期", "业务日期", "创建时间", "付款时间", "时间"),
    ),
    "summary": (
        *("交易摘要", "业务摘要", "摘要说明", "摘要内容", "摘要", "交易类型", "业务类型", "交易名称", "业务种类"),
        *("交易种类", "交易类别", "交易描述", "交易内容", "商品说明", "商品名称", "交易说明", "交易用途", "用途"),
        *("类型", "说明", "注释", "附言", "备注"),
    ),
    "counterparty": (
        *("对方户名", "对方账户名称", "对方账户名", "对方名称", "对方姓名", "交易对方", "交易对手", "交易对象"),
        *("对方单位", "商户名称", "收付款人", "收款人", "对手户名", "对手名称", "对手信息", "对方信息"),
        *("对方账号与户名", "对方账号户名", "对方户名账号", "对方户名/账号", "对方账号/户名", "对方", "对方账户"),
    ),
    "amount": (
        *("交易金额", "发生金额", "发生额", "收支金额", "收入/支出金额", "收入/支出", "交易额", "变动金额", "金额"),
    ),
    "out": (
        *("支出金额", "支出发生额", "支出", "借方发生额", "借方金额", "借方", "转出金额", "转出", "取出", "支取金额"),
        *("支取", "付出", "付款金额", "支付金额", "支付"),
    ),
    "in": (
        *("收入金额", "收入发生额", "收入", "贷方发生额", "贷方金额", "贷方", "转入金额", "转入", "存入金额", "存入"),
    ),
    "flag": (
        *("借贷标志", "借贷标识", "借贷方向", "借贷状态", "收支标志", "收支标识", "收支类型", "收支方向", "收付标志"),
        *("收/支/其他", "借贷", "收支", "借/贷", "收/支", "收/付", "收付", "方向"),
    ),
    "balance": (
        *("账户余额", "联机余额", "当前余额", "交易后余额", "交易余额", "本次余额", "账面余额", "账户结余", "余额"),
        *("结余金额", "结余"),
    ),
    "": (
        *("对方账号", "对方卡号", "对手账号", "币种", "币别", "货币", "序号", "交易渠道", "渠道", "交易地点", "地点"),
        *("流水号", "凭证号", "交易流水", "对方开户行", "对方银行", "对方行名", "柜员号", "柜员", "网点", "钞汇"),
        *("可用余额", "交易方式", "支付方式", "付款方式", "收/付款方式", "交易单号", "商户单号", "交易订单号"),
        *("商家订单号", "订单号", "日志号", "交易代码", "应用号", "存期", "利息税", "利息", "交易机构", "机构"),
        *("交易行", "操作员", "手续费", "交易状态", "状态", "编号"),
    ),
}
_UNIT = re.compile(r" *[（(][^）)]{0,4}[）)]")  # 支出（元）: numbers line up with the whole of it
_ROLES = {heading: role for role, headings in _HEADINGS.items() for heading in headings}
_HEADING = re.compile("(?:" + "|".join(sorted(map(re.escape, _ROLES), key=len, reverse=True)) + r")(?!\s*:)")
_PREFERENCE = {heading: place for headings in _HEADINGS.values() for place, heading in enumerate(headings)}
_MOST_COLUMNS = 40
_SINGLE = ("date", "summary", "counterparty", "balance")  # what a table has one column of


@dataclass(frozen=True)
class Column:
    """One column: what it holds, and where its heading begins and ends."""

    role: str
    left: float
    right: float

    def apart(self, piece: Piece) -> float:
        """How badly ``piece`` lines up, whichever way the column is aligned."""
        centre = abs(piece.left + piece.right - self.left - self.right) / 2
        return min(abs(piece.left - self.left), abs(piece.right - self.right), centre)

    def is_over(self, piece: Piece) -> bool:
        """Whether ``piece`` stands below the heading, give or take a character."""
        return self.left - piece.height < piece.right and piece.left < self.right + piece.height


def columns_of(row: Row) -> list[Column]:
    """The columns that ``row`` heads; none if it is no heading.

    A heading says when, how much, and what was left; on papers without balances, as apps print them, also two of what
    for, with whom and which way. Roles are the keys of ``_HEADINGS``, and ``other date`` for a second date.
    """
    found = _found(row)
    if not found:
        return []
    best = {role: min((_PREFERENCE[word] for word, _ in found if _ROLES[word] == role), default=0) for role in _SINGLE}
    columns = []
    for word, part in found:
        role = _ROLES[word]
        if role in _SINGLE:
            if _PREFERENCE[word] > best[role]:
                role = "other date" if role == "date" else ""
            else:
                best[role] = -1  # the same word once more
        columns.append(Column(role, part.left, part.right))
    unknown = (piece for piece in row if not _HEADING.search(piece.text) and piece.text.strip())
    return [*columns, *(Column("", piece.left, piece.right) for piece in unknown)]


def _found(row: Row) -> list[tuple[str, Piece]]:
    """The words of a heading in ``row``, and where they stand; none if they do not make one."""
    found = _words(row)
    roles = {_ROLES[match[0]] for _, match in found}
    if len(roles) < 3 or len(found) > _MOST_COLUMNS:
        return []
    if len({id(piece) for piece, _ in found}) < len(row):  # OCR may have misread one
        found = _words(mended([row], _ROLES, shortest=2)[0])
        roles = {_ROLES[match[0]] for _, match in found}
    if not _suffice(roles):
        return []
    return [(match[0], _part(piece, match)) for piece, match in found]


def _part(piece: Piece, word: re.Match[str]) -> Piece:
    unit = _UNIT.match(piece.text, word.end())
    return piece.part(word.start(), (unit or word).end())


def _words(row: Row) -> list[tuple[Piece, re.Match[str]]]:
    return [(piece, match) for piece in row for match in _HEADING.finditer(piece.text)]


def _suffice(roles: set[str]) -> bool:
    if "date" not in roles or not roles & {"amount", "out", "in"}:
        return False
    return "balance" in roles or len(roles & {"summary", "counterparty", "flag"}) > 1


def whole_headings(rows: Sequence[Row]) -> list[Row]:
    """Join the lines of a heading that stands on two or three: 交易 above 日期 is 交易日期."""
    joined: list[Row] = []
    for row in rows:
        last = joined[-1] if joined else ()
        if len(last) > 1 and _is_of_words(last) and _is_of_words(row) and _is_next_line(last, row):
            whole = _joined(last, row)
            before, after = len(_found(last)), len(_found(whole))
            # the first line of a cell below a whole heading adds no column
            if after > before or (after == before == 0 and (len(row) > 1 or row[0].text in _ROLES)):
                joined[-1] = whole
                continue
        joined.append(row)
    return joined


def _is_of_words(row: Row) -> bool:
    """Whether ``row`` holds only short words, as the line of a heading does."""
    return all(len(piece.text) <= 8 and not re.search(r"[\d:]", piece.text) for piece in row)


def _is_next_line(above: Row, below: Row) -> bool:
    nearest = min(above, key=lambda piece: abs(piece.left - below[0].left))
    return above[0].page == below[0].page and below[0].middle - nearest.middle < 1.8 * below[0].height


def _joined(above: Row, below: Row) -> Row:
    pieces, rest = [], list(below)
    for piece in above:
        under = next((other for other in rest if other.left < piece.right and piece.left < other.right), None)
        if under is None:
            pieces.append(piece)
            continue
        rest.remove(under)
        left, right = min(piece.left, under.left), max(piece.right, under.right)
        text, printed = piece.text + under.text, piece.printed + under.printed
        pieces.append(replace(piece, text=text, printed=printed, left=left, right=right, bottom=under.bottom))
    return tuple(sorted((*pieces, *rest), key=lambda piece: piece.left))
