"""Identity numbers of a region that nobody has."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.documents import id_number
from examples.documents.idcard import id_number as invented

DAYS = st.dates(date(1900, 1, 1), date(2099, 12, 31))


@given(DAYS, st.integers(0, 999))
def test_a_number_carries_its_birth_date_and_sex(birth: date, sequence: int) -> None:
    number = invented(birth, sequence)
    assert id_number.checksum_fits(number)
    assert id_number.birth_date(number) == birth.isoformat()
    assert id_number.sex(number) == ("男" if sequence % 2 else "女")


@given(DAYS, st.integers(0, 999), st.integers(0, 16), st.integers(1, 9))
def test_one_wrong_digit_is_always_seen(birth: date, sequence: int, place: int, by: int) -> None:
    number = invented(birth, sequence)
    wrong = number[:place] + str((int(number[place]) + by) % 10) + number[place + 1 :]
    assert not id_number.checksum_fits(wrong)


@pytest.mark.parametrize("number", ["", "12345", "99999919900307001x2", "９９９９９９199003070012", "A" * 18])
def test_what_is_no_number_does_not_fit(number: str) -> None:
    assert not id_number.checksum_fits(number)
