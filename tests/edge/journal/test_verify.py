"""Every change of a journal is found, and named where it begins."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import JournalDamagedError, JournalError
from edge.journal.anchor import Anchor
from edge.journal.entry import parse
from edge.journal.verify import verify_journal
from tests.edge.journal.conftest import Device, decide
from tests.edge.journal.tampering import ENTRIES, TAMPERINGS, Tamper, Written, content, write_small


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_small(Device(tmp_path_factory.mktemp("device")))


def test_a_good_journal_has_no_finding(written: Written) -> None:
    verification = written.verified(written.opened())
    assert verification.findings == ()
    assert (verification.entries, verification.head) == (ENTRIES, replace(written.head, signature=b""))


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda each: each.__name__)
def test_a_change_is_found_at_the_entry_where_it_begins(written: Written, tamper: Tamper) -> None:
    for seed in range(40):
        with closing(written.opened()) as connection:
            bad = tamper(connection, random.Random(seed))
            first = written.verified(connection).first
        assert first is not None, f"seed {seed} was not found"
        assert first.seq == bad, f"seed {seed}: {first}"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 2**40), st.integers(1, 8))
def test_damaged_bytes_anywhere_in_the_file_are_found_or_change_nothing(written: Written, seed: int, run: int) -> None:
    draw = random.Random(seed)
    image = bytearray(written.image)
    start = draw.randrange(len(image))
    image[start : start + run] = draw.randbytes(len(image[start : start + run]))
    with closing(written.opened()) as good, closing(sqlite3.connect(":memory:")) as damaged:
        damaged.deserialize(bytes(image))
        try:
            found = written.verified(damaged).findings
            same = content(damaged) == content(good)
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            return  # it cannot be read at all; verify_journal translates that
        assert found or same


def test_an_entry_of_another_line_of_history_is_found_though_the_device_signed_it(device: Device) -> None:
    device.filled(2)
    device.opened.pop().close()
    copy = shutil.copytree(device.state, device.state.with_name("restored"))
    decide(device.open(), 7)
    decide(device.opened[-1], 8)
    device.opened.pop().close()
    restored = Device(copy)
    decide(restored.open(), 9)
    restored.opened.pop().close()
    with closing(sqlite3.connect(restored.database)) as connection:
        other = connection.execute("SELECT * FROM entries WHERE seq = 4").fetchone()
        keyed = connection.execute("SELECT * FROM record_keys WHERE seq = 4").fetchone()
        records = connection.execute("SELECT * FROM records WHERE seq = 4").fetchall()
    with closing(sqlite3.connect(device.database)) as connection, connection:
        connection.execute("REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", other)
        connection.execute("REPLACE INTO record_keys VALUES (?, ?, ?)", keyed)
        connection.executemany("REPLACE INTO records VALUES (?, ?, ?)", records)
    assert str(verify_journal(device.folder, device.keys()).first) == (
        "Entry 5: it does not follow the entry before it."
    )


def test_verify_reads_while_others_append(device: Device) -> None:
    journal = device.filled(3)
    assert verify_journal(device.folder, device.keys()).findings == ()
    decide(journal, 3)
    assert verify_journal(device.folder, device.keys()).entries == 5


def test_a_log_whose_end_is_damaged_is_a_cut_tail(device: Device) -> None:
    device.filled(5)
    copy = shutil.copytree(device.folder, device.state / "copy")
    log = copy / "journal.sqlite-wal"
    data = bytearray(log.read_bytes())
    data[-100] ^= 1  # in the last commit, which SQLite then leaves out in silence
    log.write_bytes(data)
    first = verify_journal(copy, device.keys()).first
    assert first is not None
    assert first.seq == 6
    assert "the journal's last entry was 6-" in first.what


def test_a_missing_or_unreadable_file_is_said(device: Device) -> None:
    device.filled(2)
    device.opened.pop().close()
    device.database.write_bytes(b"not a database" * 1000)
    assert "not a database" in str(verify_journal(device.folder, device.keys()).first)
    with pytest.raises(JournalDamagedError, match="not a database"):
        device.open()
    device.database.unlink()
    with pytest.raises(JournalDamagedError, match="missing; its last entry was 3-"):
        verify_journal(device.folder, device.keys())


def test_a_head_that_the_device_did_not_sign_is_refused(device: Device) -> None:
    device.filled(2)
    anchor = Anchor(device.state / "keys")
    data = anchor.path.read_bytes()
    anchor.path.write_bytes(data.replace(b'"seq": 3', b'"seq": 9').replace(b'"seq": 2', b'"seq": 8'))
    with pytest.raises(JournalError, match="damaged or was signed by another key"):
        verify_journal(device.folder, device.keys())


def test_times_and_bodies_may_be_anything_that_is_json(written: Written) -> None:
    with pytest.raises(ValueError, match="it is no entry"):
        parse(b"[]", b"")
    with pytest.raises(ValueError, match="its format is 2"):
        parse(b'{"v":2}', b"")
