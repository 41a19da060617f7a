"""The table of a statement: headings in any order, over one or more pages, and cells of one or more lines.

Columns are known by the words in their heading; cells belong to the column that they line up with. Money out is
negative, whether the paper signs it, gives it a column of its own, or says so in a column of words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edge.documents.layout import Piece, Row
from edge.documents.normalise import DATE, parse_amount, parse_date

# heading to column; "" is a column that nobody asked for, known so that its cells do not land in another
_HEADINGS = {
    "date": ("交易日期", "记账日期", "入账日期", "交易时间", "记账时间", "记账日", "入账日", "交易日", "日期", "时间"),
    "summary": (
        *(
            "交易摘要",
            "业务摘要",
            "摘要",
            "交易类型",
            "业务类型",
            "交易说明",
            "交易名称",
            "业务种类",
            "交易种类",
            "用途",
        ),
        *("交易描述", "摘要说明", "交易内容", "类型", "说明"),
    ),
    "counterparty": (
        *(
            "对方户名",
            "对方名称",
            "对方姓名",
            "对方账户名",
            "对方账户名称",
            "交易对方",
            "交易对手",
            "商户名称",
            "对方信息",
        ),
        *("对手信息", "对手户名", "收付款人", "交易对象", "对方"),
    ),
    "amount": ("交易金额", "发生金额", "发生额", "金额", "交易额"),
    "out": ("支出金额", "支出", "借方发生额", "借方金额", "借方", "转出", "取出", "支取", "付出", "支付"),
    "in": ("收入金额", "收入", "贷方发生额", "贷方金额", "贷方", "转入", "存入"),
    "flag": (
        "借贷标志",
        "借贷标识",
        "借贷方向",
        "收支标志",
        "收支类型",
        "收支方向",
        "收付标志",
        "借贷",
        "收支",
        "借/贷",
        "收/支",
        "方向",
    ),
    "balance": ("账户余额", "联机余额", "当前余额", "交易后余额", "本次余额", "账面余额", "账户结余", "余额", "结余"),
    "": (
        *("对方账号", "对方账户", "对方卡号", "币种", "货币", "序号", "交易渠道", "渠道", "交易地点", "备注", "附言"),
        *("流水号", "凭证号", "交易流水", "对方开户行", "对方银行", "柜员号", "网点", "钞汇", "可用余额"),
    ),
}
_OUT = frozenset(("借", "借方", "支", "支出", "出", "转出", "取", "支取", "付", "取出", "-"))
_IN = frozenset(("贷", "贷方", "收", "收入", "入", "转入", "存", "存入", "+"))
_ROLES = {heading: role for role, headings in _HEADINGS.items() for heading in headings}
_HEADING = re.compile("|".join(sorted(_ROLES, key=len, reverse=True)))
_MOST_COLUMNS = 40
_NUMBERS = ("amount", "out", "in", "balance")
_TEXTS = ("summary", "counterparty")
_CARRIED = re.compile(r"期初|承前|上期|上页|结转|期末|合计|小计")
_CENTS = re.compile(r"[+-]?¥?\d[\d,.]{0,20}\.\d{2}(?!\d)")


@dataclass(frozen=True)
class _Column:
    role: str
    left: float
    right: float

    def apart(self, piece: Piece) -> float:
        """How badly ``piece`` lines up, whichever way the column is aligned."""
        centre = abs(piece.left + piece.right - self.left - self.right) / 2
        return min(abs(piece.left - self.left), abs(piece.right - self.right), centre)


@dataclass
class Entry:
    """One movement while its cells are gathered: pieces by the role of their column, and the row with its date."""

    cells: dict[str, list[Piece]] = field(default_factory=dict)
    row: Row = ()

    def text(self, role: str) -> str:
        """What stands in the cell."""
        # lines of a grid and dust are read as signs at the edges of a cell
        return "".join(piece.text.lstrip(" |.,:;'_)）]】").rstrip(" |,:;'_") for piece in self.cells.get(role, []))

    def day(self) -> str | None:
        """The first day of the row: some banks print when a movement was booked beside when it was made."""
        return next(filter(None, (parse_date(piece.text) for piece in self.cells.get("date", []))), None)

    def is_carried(self) -> bool:
        """Whether the row carries a balance over, and is no movement."""
        moved = any(self.amount(role) for role in ("amount", "out", "in"))
        return not moved and _CARRIED.search(self.text("summary") + self.text("counterparty")) is not None

    def level_at(self, piece: Piece) -> float:
        """How high the row stands where ``piece`` is; on a tilted page rows slant."""
        return min(self.row, key=lambda other: abs(other.left + other.right - piece.left - piece.right)).middle

    def amount(self, role: str) -> float | None:
        """Yuan; None if there is no cell or it is no amount."""
        return parse_amount(self.text(role)) if role in self.cells else None

    def value(self) -> dict[str, Any]:
        """The row as the contract names its cells, money out negative; None for what was not read."""
        amount = self.amount("amount")
        if amount is None:
            out, into = self.amount("out"), self.amount("in")
            if out and not into:
                amount = -abs(out)
            elif into and not out:
                amount = abs(into)
        elif self.text("flag") in _OUT:
            amount = -abs(amount)
        elif "flag" in self.cells and self.text("flag") not in _IN:
            amount = None  # out or in was not read
        return {
            "date": self.day(),
            "summary": self.text("summary"),
            "counterparty": self.text("counterparty"),
            "amount": amount,
            "balance": self.amount("balance"),
        }


def columns_of(row: Row) -> list[_Column]:
    """The columns that ``row`` heads; none if it is no heading."""
    found = [(piece, match) for piece in row for match in _HEADING.finditer(piece.text)]
    roles = {_ROLES[match[0]] for _, match in found}
    if not {"date", "balance"} <= roles or not roles & {"amount", "out", "in"} or len(found) > _MOST_COLUMNS:
        return []
    parts = [(_ROLES[match[0]], piece.part(*match.span())) for piece, match in found]
    return [_Column(role, part.left, part.right) for role, part in parts]


def whole_headings(rows: Sequence[Row]) -> list[Row]:
    """Join the lines of a heading that stands on two or three: 交易 above 日期 is 交易日期."""
    joined: list[Row] = []
    for row in rows:
        last = joined[-1] if joined else ()
        if len(last) > 1 and _is_of_words(last) and _is_of_words(row) and _is_next_line(last, row):
            whole = _joined(last, row)
            before, after = len(columns_of(last)), len(columns_of(whole))
            # the first line of a cell below a whole heading adds no column
            if after > before or (after == before == 0 and len(row) > 1):
                joined[-1] = whole
                continue
        joined.append(row)
    return joined


def unread_rows(rows: Sequence[Row], entries: int) -> int:
    """How many rows look like movements, with a date and two amounts, beyond the ``entries`` that were understood."""

    def moves(row: Row) -> bool:
        text = " ".join(piece.text for piece in row)
        dated = any(re.match(rf"\s*{DATE}", piece.text) for piece in row)
        return dated and len(_CENTS.findall(text)) > 1 and not re.search(r"[\u4e00-\u9fff]\s*:", text)

    return max(0, sum(map(moves, rows)) - entries)


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


def entries_of(rows: Sequence[Row]) -> list[Entry]:
    """The movements under the headings in ``rows``; no movements where there is no heading."""
    entries: list[Entry] = []
    columns: list[_Column] = []
    loose: list[tuple[Row, dict[str, list[Piece]]]] = []  # rows of texts alone since the last entry
    for row in rows:
        if heading := columns_of(row):
            _continue(entries, loose, columns)
            columns, loose = heading, []
            continue
        cells: dict[str, list[Piece]] = {}
        for piece in (token for whole in _once(row) for token in _tokens(whole)):
            role = _role(piece, columns)
            cells.setdefault(role, []).append(piece)
        cells.pop("", None)
        if "date" in cells:
            entry = Entry(cells, row)
            if entries and entries[-1].row[0].page != row[0].page:
                _continue(entries, loose, columns)
                loose = [line for line in loose if line[0][0].page == row[0].page]
            _share(entries, loose, entry)
            entries.append(entry)
            loose = []
        elif cells and set(cells) <= set(_TEXTS) and not any(":" in piece.text for piece in row):
            loose.append((row, cells))
    _continue(entries, loose, columns)
    return [entry for entry in entries if not entry.is_carried()]


def _share(entries: Sequence[Entry], loose: Sequence[tuple[Row, dict[str, list[Piece]]]], below: Entry) -> None:
    """Give the lines of long texts between two rows to the upper or the lower one: they part at the widest gap.

    That fits cells whose texts begin at the top as well as those whose texts stand in the middle of their row.
    """
    above = entries[-1] if entries and entries[-1].row[0].page == below.row[0].page else None
    for role in _TEXTS:
        pieces = [piece for _, cells in loose for piece in cells.get(role, [])]
        if not pieces:
            continue
        levels = [piece.middle for piece in pieces]
        if above is not None:
            levels.insert(
                0, max((piece.middle for piece in above.cells.get(role, [])), default=above.level_at(pieces[0]))
            )
        levels.append(min((piece.middle for piece in below.cells.get(role, [])), default=below.level_at(pieces[-1])))
        gaps = [after - before for before, after in zip(levels, levels[1:], strict=False)]
        widest = gaps.index(max(gaps)) if above is not None else -1
        for index, piece in enumerate(pieces):
            if index < widest and above is not None:
                above.cells.setdefault(role, []).append(piece)
        upper = pieces[max(widest, 0) :]
        if above is None:  # under a heading: only what is close to the first row
            upper = [piece for piece in upper if below.level_at(piece) - piece.middle < 2.5 * piece.height]
        if upper:
            below.cells[role] = [*upper, *below.cells.get(role, [])]


def _continue(
    entries: Sequence[Entry], loose: Sequence[tuple[Row, dict[str, list[Piece]]]], columns: Sequence[_Column]
) -> None:
    """Give the last row of a table the lines below it that belong to its cells, and no footer."""
    if not entries:
        return
    previous = entries[-1].row
    for row, cells in loose:
        if not _continues(row, previous, cells, columns):
            return
        for role, pieces in cells.items():
            entries[-1].cells.setdefault(role, []).extend(pieces)
        previous = row


def _once(row: Row) -> Iterator[Piece]:
    """The pieces of ``row``, without a digit that two of them share: where boxes overlap it is read twice."""
    before: Piece | None = None
    for piece in row:
        shared = before is not None and piece.left < before.right + 0.2 * piece.height
        if before is not None and shared and re.match(r"\d[^\d.,]", piece.text) and piece.text[0] == before.text[-1]:
            yield piece.part(1, len(piece.text))
        else:
            yield piece
        before = piece


def _tokens(piece: Piece) -> list[Piece]:
    """Split what OCR ran together: a date and the word after it, one amount and the next."""
    cuts = [0]
    if (match := re.match(DATE, piece.text)) and match.end() < len(piece.text):
        cuts.append(match.end())
    amounts = list(_CENTS.finditer(piece.text))
    ends = [match.end() for match in amounts if piece.text[match.end() :].strip(" 元")]
    cuts = sorted({*cuts, *(match.start() for match in amounts if match.start() > cuts[-1]), *ends})
    parts = [piece.part(*span) for span in zip(cuts, [*cuts[1:], len(piece.text)], strict=True)]
    times = re.compile(r"\s*\d{1,2}:\d{2}(:\d{2})?\s*")
    return [part for part in parts if part.text.strip() and not times.fullmatch(part.text)]


def _role(piece: Piece, columns: Sequence[_Column]) -> str:
    if re.fullmatch(rf"\s*{DATE}\s*", piece.text):
        wanted: tuple[str, ...] = ("date",)
    elif _CENTS.search(piece.text) or (parse_amount(piece.text) is not None):
        wanted = (*_NUMBERS, "")
    elif piece.text.strip() in _OUT | _IN:
        wanted = ("flag", *_TEXTS, "")
    else:
        wanted = (*_TEXTS, "")
    able = [column for column in columns if column.role in wanted]
    return min(able, key=lambda column: column.apart(piece)).role if able else ""


def _continues(row: Row, previous: Row, cells: dict[str, list[Piece]], columns: Sequence[_Column]) -> bool:
    """Whether ``row`` is the second line of texts too long for their cell, and no footer."""
    if not cells or set(cells) - set(_TEXTS) or row[0].page != previous[0].page:
        return False
    upper = min(previous, key=lambda piece: abs(piece.left - row[0].left))
    close = row[0].top - upper.bottom < 0.5 * row[0].height
    aligned = all(
        abs(piece.left - column.left) < 1.5 * piece.height
        for role, pieces in cells.items()
        for piece in pieces[:1]
        for column in columns
        if column.role == role
    )
    return close and aligned
