"""Citizen identity numbers: 6 digits of region, 8 of birth date, 3 of sequence, one check character (GB 11643-1999)."""

from __future__ import annotations

from edge.documents.normalise import parse_date

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"


def checksum_fits(number: str) -> bool:
    """Whether the check character is right (ISO 7064, MOD 11-2)."""
    if len(number) != 18 or not (number[:17].isascii() and number[:17].isdigit()):
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number[:17], strict=True))
    return _CHECKS[total % 11] == number[17].upper()


def birth_date(number: str) -> str | None:
    """The birth date in the number, ISO 8601; None if it is no day."""
    return parse_date(number[6:14])


def sex(number: str) -> str:
    """男 where the 17th digit is odd, 女 where it is even."""
    return "男" if int(number[16]) % 2 else "女"
