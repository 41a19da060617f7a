"""The table of a statement: its movements, over one or more pages, with cells of one or more lines.

Cells belong to the column that they line up with (``edge.documents.headings``). Money out is negative, whether the
paper signs it, gives it a column of its own, or says so in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.documents.headings import Column, columns_of
from edge.documents.layout import Piece, Row
from edge.documents.normalise import DATE, DAY_OF_YEAR, day_in_period, parse_amount, parse_date

_OUT = frozenset(("借", "借方", "支", "支出", "出", "转出", "取", "支取", "付", "取出", "-", "DR", "Dr"))
_IN = frozenset(("贷", "贷方", "收", "收入", "入", "转入", "存", "存入", "+", "CR", "Cr"))
_NUMBERS = ("amount", "out", "in", "balance")
_TEXTS = ("summary", "counterparty")
_DIGITS = re.compile(r"[+-]?¥?\d[\d.,]*(?:[CD]R)?")
_ACCOUNT = re.compile(r"^[\d*]{6,}[/\s]*(?=.)|(?<=[\u4e00-\u9fff）)])[/\s]*[\d*]{6,}$")  # beside a counterparty's name
_TIME = re.compile(r"\s*\d{1,2}:+\d{2}(?::*\d{2})?(?!\d)\s*")
_DAYS = ("date", "other date")
# how summaries read that OCR runs together with the cell before them
_SUMMARY = re.compile(
    "(?:(?:代发)?工资|缴费|(?:网上|快捷|扫码)支付|(?:POS|网上|刷卡)?消费|转账(?:存入|支出|转入|转出)?|(?:ATM)?取款|还款|退款)$"
)
_MOST_WORDS = 20  # of a line that are held against the columns
_CARRIED = re.compile(r"期初|承前|上期|上页|结转|期末|合计|小计|总计|累计")
_SUM = re.compile(r"合计|小计|总计|累计|总额|承前|过次|期初|期末|上页|上期|本页|笔")
_CENTS = re.compile(r"[+-]?¥?\d[\d,.]{0,20}\.\d{2}(?!\d)")
# with brackets, words and signs around it; a minus may have been read as the character for one
_MONEY = re.compile(
    r"(?<![\u4e00-\u9fff])(?:支出|收入|一)?:?[（(]?"
    + _CENTS.pattern
    + r"[)）]?(?:\s*(?:O?[CD]R|Cr|Dr|[借贷](?![\u4e00-\u9fff])|[+-](?![\d¥])))?"
    + "|"
    + _CENTS.pattern
)


Period = tuple[str, str] | None  # first and last day, ISO 8601


@dataclass
class Entry:
    """One movement while its cells are gathered: pieces by the role of their column, and the row with its date."""

    cells: dict[str, list[Piece]] = field(default_factory=dict)
    row: Row = ()

    def text(self, role: str) -> str:
        """What stands in the cell."""
        # lines of a grid and dust are read as signs at the edges of a cell
        return "".join(piece.text.lstrip(" |.,:;'_)）]】").rstrip(" |,:;'_") for piece in self.cells.get(role, []))

    def day(self, period: Period) -> str | None:
        """The day of the row; one without a year takes the year that ``period`` leaves."""
        for piece in (piece for role in _DAYS for piece in self.cells.get(role, [])):
            text = piece.text.strip()
            if day := parse_date(text):
                return day
            if period and re.fullmatch(DAY_OF_YEAR, text):
                return day_in_period(text, *period)
        return None

    def is_dated(self) -> bool:
        """Whether anything stands where the date should."""
        return any(role in self.cells for role in _DAYS)

    def is_carried(self) -> bool:
        """Whether the row carries a balance over or sums rows up, and is no movement."""
        text = self.text("summary") + self.text("counterparty")
        if re.fullmatch(r"本?[页日月期年]?(?:小计|合计|累计|总计)", text):
            return True
        moved = any(self.amount(role) for role in ("amount", "out", "in"))
        return not moved and _CARRIED.search(text) is not None

    def level_at(self, piece: Piece) -> float:
        """How high the row stands where ``piece`` is; on a tilted page rows slant."""
        return min(self.row, key=lambda other: abs(other.left + other.right - piece.left - piece.right)).middle

    def sureness(self) -> float:
        """The least confidence that one of its numbers was read with."""
        told = (*_NUMBERS, "flag")
        return min((piece.confidence for role in told for piece in self.cells.get(role, [])), default=0.0)

    def amount(self, role: str) -> float | None:
        """Yuan; None if there is no cell or it is no amount: banks print both digits of the cents, or none."""
        text = self.text(role)
        return None if re.search(r"\.\d\D*$", text) else parse_amount(text)

    def value(self, period: Period) -> dict[str, Any]:
        """The row as the contract names its cells, money out negative; None for what was not read."""
        amount = self.amount("amount")
        way = re.sub(r"(?<=[\u4e00-\u9fff])[\sA-Za-z.]+$", "", self.text("flag"))  # 借 Dr
        if amount is None:
            out, into = self.amount("out"), self.amount("in")
            if out and not into:
                amount = -abs(out)
            elif into and not out:
                amount = abs(into)
        elif way in _OUT:
            amount = -abs(amount)
        elif "flag" in self.cells and way not in _IN:
            amount = None  # out or in was not read
        return {
            "date": self.day(period),
            "summary": self.text("summary"),
            "counterparty": _ACCOUNT.sub("", self.text("counterparty")),
            "amount": amount,
            "balance": self.amount("balance"),
        }


def values_of(entries: Sequence[Entry], period: Period = None) -> list[dict[str, Any]]:
    """The rows as the contract names their cells.

    A row without any date has that of the rows around it where these agree, and that of the row above where the paper
    prints each date once for several rows.

    Args:
        entries: The movements.
        period: First and last day of the statement, for dates without a year.
    """
    rows = [entry.value(period) for entry in entries]
    bare = [index for index, entry in enumerate(entries) if not entry.is_dated()]
    printed_once = len(bare) > len(rows) / 3
    days = [row["date"] for row in rows]
    for index in bare:
        if index == 0:
            continue
        before = rows[index - 1]["date"]
        after = next((day for day in days[index:] if day), None)
        if printed_once or before == after:
            rows[index]["date"] = before
    return rows


def unread_rows(rows: Sequence[Row], entries: int) -> int:
    """How many rows look like movements, with a date and two amounts, beyond the ``entries`` that were understood."""

    def moves(row: Row) -> bool:
        text = " ".join(piece.text for piece in row)
        dated = any(re.match(rf"\s*{DATE}", piece.text) for piece in row)
        return (
            dated and len(_CENTS.findall(text)) > 1 and not re.search(rf"[\u4e00-\u9fff]\s*:|{_CARRIED.pattern}", text)
        )

    return max(0, sum(map(moves, rows)) - entries)


def entries_of(rows: Sequence[Row]) -> list[Entry]:
    """The movements under the headings in ``rows``; no movements where there is no heading."""
    entries: list[Entry] = []
    columns: list[Column] = []
    loose: list[tuple[Row, dict[str, list[Piece]]]] = []  # rows of texts alone since the last entry
    for row in rows:
        if heading := columns_of(row):
            _continue(entries, loose)
            columns, loose = heading, []
            continue
        cells = _cells(row, columns)
        if cells and _belongs_to(row, cells, entries):
            for role, pieces in cells.items():
                entries[-1].cells.setdefault(role, []).extend(pieces)
        elif _moves(row, cells):
            entry = Entry(cells, row)
            if entries and entries[-1].row[0].page != row[0].page:
                _continue(entries, loose)
                loose = [line for line in loose if line[0][0].page == row[0].page]
            _share(entries, loose, entry)
            entries.append(entry)
            loose = []
        elif cells and set(cells) <= set(_TEXTS) and not any(":" in piece.text for piece in row):
            fresh = not entries or not loose and entries[-1].row[0].page != row[0].page
            if not fresh or re.search(r"[\u4e00-\u9fff]", "".join(piece.text for piece in row)):
                loose.append((row, cells))  # but not the heading once more in English
    _continue(entries, loose)
    return [entry for entry in entries if not entry.is_carried()]


def _cells(row: Row, columns: Sequence[Column]) -> dict[str, list[Piece]]:
    """What stands in each column that somebody asked for."""
    cells: dict[str, list[Piece]] = {}
    for piece in (part for whole in _once(row) for token in _tokens(whole) for part in _at_columns(token, columns)):
        cells.setdefault(_role(piece, columns), []).append(piece)
    cells.pop("", None)
    return cells


def _moves(row: Row, cells: dict[str, list[Piece]]) -> bool:
    """Whether ``row`` is a movement: a date and a number, or two numbers that no word calls a sum.

    A date with no number beside it is one too, so that it is seen to be incomplete, but not in a line of labels, as
    pages have them above and below the table.
    """
    numbers = sum(role in cells for role in _NUMBERS)
    text = " ".join(piece.text for piece in row)
    labels = re.search(r"[\u4e00-\u9fffA-Za-z]\s*:", text) or re.search(rf"{DATE}\s*[至到~-]+\s*{DATE}", text)
    if any(role in cells for role in _DAYS):
        return bool(numbers) or not (labels or re.search("打印|查询|制表|日期|时间|页", text))
    return numbers > 1 and not labels and not _SUM.search(text)


def _belongs_to(row: Row, cells: dict[str, list[Piece]], entries: Sequence[Entry]) -> bool:
    """Whether ``row`` holds the numbers of the last entry: on a slanted page a row may come as two."""
    if not entries or any(role in cells for role in _DAYS) or not any(role in cells for role in _NUMBERS):
        return False
    last = entries[-1]
    if last.row[0].page != row[0].page or any(role in last.cells for role in _NUMBERS):
        return False
    number = next(cells[role][0] for role in _NUMBERS if role in cells)  # the time below a date stands lower than it
    return number.middle - last.level_at(number) < number.height


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


def _continue(entries: Sequence[Entry], loose: Sequence[tuple[Row, dict[str, list[Piece]]]]) -> None:
    """Give the last row of a table the lines below it that belong to its cells, and no footer."""
    if not entries:
        return
    entry = entries[-1]
    previous = entry.row
    for row, cells in loose:
        if not _continues(row, previous, cells, entry):
            return
        for role, pieces in cells.items():
            entry.cells.setdefault(role, []).extend(pieces)
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
    """Split what OCR ran together: a number of the row, a date and the word after it, one amount and the next."""
    cuts = [0]
    if match := re.match(rf"(?:\s*\d{{1,5}}\s+)?({DATE})", piece.text):
        cuts += [edge for edge in match.span(1) if 0 < edge < len(piece.text)]
    amounts = list(_MONEY.finditer(piece.text))
    ends = [match.end() for match in amounts if piece.text[match.end() :].strip(" 元")]
    cuts = sorted({*cuts, *(match.start() for match in amounts if match.start() > cuts[-1]), *ends})
    ends = [*cuts[1:], len(piece.text)]
    parts = [piece.part(*span) for span in zip(cuts, ends, strict=True)] if len(cuts) > 1 else [piece]
    timeless = [part.part(match.end(), len(part.text)) if (match := _TIME.match(part.text)) else part for part in parts]
    return [part for part in timeless if part.text.strip()]


def _at_columns(piece: Piece, columns: Sequence[Column]) -> Iterator[Piece]:
    """The parts of a text that stand in columns of their own: words that line up with another column than the first."""
    begin, words = 0, list(re.finditer(r"\S+", piece.text))
    for word in words[1:] if len(words) <= _MOST_WORDS else ():
        part = piece.part(*word.span())
        role = _role(part, columns)
        lines_up = any(column.role == role and column.apart(part) < 0.6 * piece.height for column in columns)
        if lines_up and role != _role(piece.part(begin, word.start()), columns):
            yield piece.part(begin, word.start())
            begin = word.start()
    yield from _apart(piece.part(begin, len(piece.text)) if begin else piece, columns)


def _apart(piece: Piece, columns: Sequence[Column]) -> Iterator[Piece]:
    """A text that fills its cell, and the word that OCR ran together with it where the summary begins."""
    word = _SUMMARY.search(piece.text)
    if word and word.start() > 1:
        part = piece.part(*word.span())
        begins = any(
            column.role == "summary" and abs(part.left - column.left) < piece.height and piece.left < column.left
            for column in columns
        )
        if begins and _role(piece.part(0, word.start()), columns) == "counterparty":
            yield piece.part(0, word.start())
            piece = part
    yield piece


def _role(piece: Piece, columns: Sequence[Column]) -> str:
    text = piece.text.strip()
    wanted: tuple[str, ...] = (*_TEXTS, "")
    near = [column for column in columns if column.is_over(piece)]
    day = re.fullmatch(DAY_OF_YEAR, text) and columns and min(columns, key=lambda each: each.apart(piece)).role in _DAYS
    if day or re.fullmatch(DATE, text):
        wanted = _DAYS
    elif text in ("CR", "DR", "Cr", "Dr"):
        return "flag"
    elif _CENTS.search(text):
        wanted = (*_NUMBERS, "")
        if len({column.role for column in columns} & {"out", "in"}) == 1:
            columns = near  # the other heading was not read
    elif _DIGITS.fullmatch(text):  # an amount, or the number of an account, a row, a hotline
        wanted = ("", *_TEXTS) if len(text) > 9 and text.isdigit() else (*_NUMBERS, *_TEXTS, "")
        columns = near
    elif text in _OUT | _IN:
        wanted = ("flag", *_TEXTS, "")
    elif len(text) <= 4:  # 其他 and 不计 may stand where out and in do
        wanted = (*_TEXTS, "", "flag")
    able = [column for column in columns if column.role in wanted]
    return min(able, key=lambda column: column.apart(piece)).role if able else ""


def _continues(row: Row, previous: Row, cells: dict[str, list[Piece]], entry: Entry) -> bool:
    """Whether ``row`` is the second line of texts too long for their cell, and no footer."""
    if not cells or set(cells) - set(_TEXTS) or row[0].page != previous[0].page:
        return False
    upper = min(previous, key=lambda piece: abs(piece.left - row[0].left))
    close = row[0].top - upper.bottom < 0.5 * row[0].height
    return close and all(_goes_on(entry, role, pieces[0]) for role, pieces in cells.items())


def _goes_on(entry: Entry, role: str, piece: Piece) -> bool:
    """Whether ``piece`` stands below the last line of its cell, begins or is centred where that is, and is no wider.

    Of an empty cell it is the first line, where it stands as high as the row does.
    """
    if role not in entry.cells:
        return piece.middle - entry.level_at(piece) < 0.5 * piece.height
    last = entry.cells[role][-1]
    aside = min(abs(piece.left - last.left), abs(piece.left + piece.right - last.left - last.right) / 2)
    return aside < piece.height and piece.right - piece.left < last.right - last.left + 2 * piece.height
