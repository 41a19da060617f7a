"""Citizen identity numbers: 6 digits of region, 8 of birth date, 3 of sequence, one check character (GB 11643-1999)."""

from __future__ import annotations

import re

from stdnum.iso7064 import mod_11_2

from edge.documents.normalise import parse_date


def checksum_fits(number: str) -> bool:
    """Whether the check character is right (ISO 7064, MOD 11-2)."""
    return re.fullmatch(r"[0-9]{17}[0-9Xx]", number) is not None and bool(mod_11_2.is_valid(number.upper()))


def birth_date(number: str) -> str | None:
    """The birth date in the number, ISO 8601; None if it is no day."""
    return parse_date(number[6:14])


def sex(number: str) -> str:
    """男 where the 17th digit is odd, 女 where it is even."""
    return "男" if int(number[16]) % 2 else "女"
