"""What people write across a copy of a card: what it is for, aslant, over and between the card's own lines."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import median

from edge.documents.layout import Piece, Row

_WORDS = "仅供|复印|无效|他用|申请|使用|办理|贷款|专用|盗用|再次|有效"
_ASLANT = math.radians(6)  # lines of one photographed card differ by less
_LONG = 3.0  # in heights: of shorter lines boxes hardly tell which way they run
_LINE = re.compile(r"仅供|复印(?:件|无效)|他用无效|再次复印|^(?:申?请|贷款|款|办理)\w{0,4}(?:使用|专用)$")
# what is left of such a line where it crosses a short value: 秦范请使用
_TAIL = re.compile(rf"(?:申?请|供|{_WORDS})*(?:{_WORDS})$")


def without_watermark(rows: Sequence[Row]) -> list[Row]:
    """The rows without lines that run otherwise than the card's own, and without those that say what the copy is for.

    Args:
        rows: Of the paper.
    """
    directions: dict[int, float] = {}
    for page in {piece.page for row in rows for piece in row}:
        long = [_direction(piece) for row in rows for piece in row if piece.page == page and _is_long(piece)]
        if long:
            first = long[0]
            directions[page] = first + median(_turn(each - first) for each in long)

    def is_own(piece: Piece) -> bool:
        if _LINE.search(piece.text) and not re.match("公民|签发|有效期|住址", piece.text.strip()):
            return False
        aslant = _is_long(piece) and abs(_turn(_direction(piece) - directions[piece.page])) > _ASLANT
        return not aslant or re.search(r"\d{6}|公安|居民|共和国", piece.text) is not None

    kept = [tuple(piece for piece in row if is_own(piece)) for row in rows]
    return [row for row in kept if row]


def without_written_over(value: str) -> str:
    """A name without the words of a watermark behind it; the same if there are none."""
    rest = _TAIL.sub("", value)
    return rest if len(rest) > 1 else value


def _is_long(piece: Piece) -> bool:
    return piece.right - piece.left > _LONG * piece.height


def _direction(piece: Piece) -> float:
    (x, y), (u, v) = piece.box[0], piece.box[1]
    return math.atan2(v - y, u - x)


def _turn(angle: float) -> float:
    """The angle between -pi and pi."""
    return math.remainder(angle, math.tau)
