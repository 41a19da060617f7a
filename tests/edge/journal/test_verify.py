"""Every change of a journal is found, and named where it begins."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import JournalDamagedError, JournalError
from edge.journal.anchor import Anchor
from edge.journal.entry import Head, canonical, parse
from edge.journal.keys import DeviceKeys
from edge.journal.verify import Verification, verify_database, verify_journal
from tests.edge.journal.conftest import Device, decide

ENTRIES = 12
Tamper = Callable[[sqlite3.Connection, random.Random], int]  # returns the number of the first bad entry


@dataclass(frozen=True)
class Written:
    """A good journal as bytes, and what verifies it."""

    image: bytes
    keys: DeviceKeys
    head: Head

    def opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.deserialize(self.image)
        return connection

    def verified(self, connection: sqlite3.Connection) -> Verification:
        return verify_database(connection, self.keys.public, self.head)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    device = Device(tmp_path_factory.mktemp("device"))
    journal = device.filled(ENTRIES - 3)
    journal.append("review", {"decision_id": journal.entry(4).body["decision_id"], "verdict": "approve"})
    journal.erase(journal.entry(3).body["decision_id"], why="asked")
    head = journal.head()
    journal.close()
    with closing(sqlite3.connect(device.database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # an image in memory has no log beside it
    assert head.seq == ENTRIES
    return Written(device.database.read_bytes(), device.keys(), head)


def test_a_good_journal_has_no_finding(written: Written) -> None:
    verification = written.verified(written.opened())
    assert verification.findings == ()
    assert (verification.entries, verification.head) == (ENTRIES, replace(written.head, signature=b""))


def edited(connection: sqlite3.Connection, draw: random.Random) -> int:
    seq = draw.randint(1, ENTRIES)
    line = bytearray(connection.execute("SELECT line FROM entries WHERE seq = ?", (seq,)).fetchone()[0])
    line[draw.randrange(len(line))] ^= 1 << draw.randrange(8)
    connection.execute("UPDATE entries SET line = ? WHERE seq = ?", (bytes(line), seq))
    return seq


def said_otherwise(connection: sqlite3.Connection, draw: random.Random) -> int:
    seq = draw.randint(2, 10)
    line = connection.execute("SELECT line FROM entries WHERE seq = ?", (seq,)).fetchone()[0]
    connection.execute(
        "UPDATE entries SET line = ? WHERE seq = ?",
        (line.replace(b'"score":12', b'"score":%d' % (draw.randint(13, 99))), seq),
    )
    return seq


def signed_otherwise(connection: sqlite3.Connection, draw: random.Random) -> int:
    seq = draw.randint(1, ENTRIES)
    connection.execute("UPDATE entries SET signature = ? WHERE seq = ?", (draw.randbytes(64), seq))
    return seq


def deleted(connection: sqlite3.Connection, draw: random.Random) -> int:
    seq = draw.randint(1, ENTRIES)
    for table in ("entries", "records", "record_keys", "unsent"):
        connection.execute(f"DELETE FROM {table} WHERE seq = ?", (seq,))
    return seq


def cut(connection: sqlite3.Connection, draw: random.Random) -> int:
    seq = draw.randint(2, ENTRIES)
    for table in ("entries", "records", "record_keys", "unsent"):
        connection.execute(f"DELETE FROM {table} WHERE seq >= ?", (seq,))
    return seq


def exchanged(connection: sqlite3.Connection, draw: random.Random) -> int:
    first, second = sorted(draw.sample(range(1, ENTRIES + 1), 2))
    for old, new in ((first, -1), (second, first), (-1, second)):
        connection.execute("UPDATE entries SET seq = ? WHERE seq = ?", (new, old))
    return first


def inserted(connection: sqlite3.Connection, draw: random.Random) -> int:
    seq = draw.randint(2, ENTRIES)
    copy = connection.execute("SELECT line, signature, kind, decision FROM entries WHERE seq = ?", (seq,)).fetchone()
    for each in range(ENTRIES, seq - 1, -1):
        connection.execute("UPDATE entries SET seq = seq + 1 WHERE seq = ?", (each,))
    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (seq, *copy))
    return seq + 1  # at its own place the copy is the entry; what comes after it stands in the wrong one


def invented(connection: sqlite3.Connection, draw: random.Random) -> int:
    """Somebody without the key writes one more, well formed, at the end."""
    line, signature = connection.execute("SELECT line, signature FROM entries WHERE seq = ?", (ENTRIES,)).fetchone()
    last = parse(line, signature)
    document = {"v": 1, "seq": ENTRIES + 1, "time": last.time.isoformat(), "kind": "review", "key": None}
    new = canonical({**document, "body": {"verdict": "approve"}, "records": [], "prev": last.hash})
    connection.execute("INSERT INTO entries VALUES (?, ?, ?, 'review', NULL)", (ENTRIES + 1, new, draw.randbytes(64)))
    return ENTRIES + 1


def computed_anew(connection: sqlite3.Connection, draw: random.Random) -> int:
    """One entry says something else, and the whole chain after it is computed anew, by somebody without the key."""
    seq = draw.randint(2, 10)
    rows = connection.execute("SELECT seq, line, signature FROM entries WHERE seq >= ? ORDER BY seq", (seq,)).fetchall()
    prev = parse(rows[0][1], rows[0][2]).prev
    for number, line, signature in rows:
        entry = parse(line, signature)
        body = {**entry.body, "score": 99} if number == seq else entry.body
        document = {"v": 1, "seq": number, "time": entry.time.isoformat(timespec="microseconds"), "kind": entry.kind}
        records = [vars(ref) for ref in entry.records]
        new = canonical({**document, "body": body, "records": records, "key": entry.key, "prev": prev})
        prev = parse(new, b"").hash
        connection.execute("UPDATE entries SET line = ? WHERE seq = ?", (new, number))
    return seq


def record_changed(connection: sqlite3.Connection, draw: random.Random) -> int:
    seq, name, data = draw.choice(connection.execute("SELECT seq, name, ciphertext FROM records").fetchall())
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    connection.execute("UPDATE records SET ciphertext = ? WHERE seq = ? AND name = ?", (bytes(changed), seq, name))
    return int(seq)


def records_exchanged(connection: sqlite3.Connection, draw: random.Random) -> int:
    rows = connection.execute("SELECT seq, name, ciphertext FROM records").fetchall()
    (seq, name, data), (other_seq, other_name, other) = draw.sample(rows, 2)
    change = "UPDATE records SET ciphertext = ? WHERE seq = ? AND name = ?"
    connection.execute(change, (other, seq, name))
    connection.execute(change, (data, other_seq, other_name))
    return min(int(seq), int(other_seq))


def record_deleted(connection: sqlite3.Connection, draw: random.Random) -> int:
    seq, name = draw.choice(connection.execute("SELECT seq, name FROM records").fetchall())
    connection.execute("DELETE FROM records WHERE seq = ? AND name = ?", (seq, name))
    return int(seq)


def key_changed(connection: sqlite3.Connection, draw: random.Random) -> int:
    (seq,) = draw.choice(connection.execute("SELECT seq FROM record_keys").fetchall())
    change = draw.choice(("day = day + 1", "wrapped = zeroblob(60)"))
    connection.execute(f"UPDATE record_keys SET {change} WHERE seq = ?", (seq,))
    return int(seq)


def records_erased_in_silence(connection: sqlite3.Connection, draw: random.Random) -> int:
    (seq,) = draw.choice(connection.execute("SELECT seq FROM record_keys").fetchall())
    for table in ("record_keys", "records"):
        connection.execute(f"DELETE FROM {table} WHERE seq = ?", (seq,))
    return int(seq)


def erased_and_put_back(connection: sqlite3.Connection, draw: random.Random) -> int:
    connection.execute("INSERT INTO records VALUES (3, 'receipt', ?)", (draw.randbytes(40),))
    return 3


def index_changed(connection: sqlite3.Connection, draw: random.Random) -> int:
    seq = draw.randint(2, 10)
    change = draw.choice(("kind = 'review'", "decision = 'another'", "decision = NULL"))
    connection.execute(f"UPDATE entries SET {change} WHERE seq = ?", (seq,))
    return seq


TAMPERINGS: list[Tamper] = [
    edited,
    said_otherwise,
    signed_otherwise,
    deleted,
    cut,
    exchanged,
    inserted,
    invented,
    computed_anew,
    record_changed,
    records_exchanged,
    record_deleted,
    key_changed,
    records_erased_in_silence,
    erased_and_put_back,
    index_changed,
]


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
        except sqlite3.DatabaseError:
            return  # it cannot be read at all; verify_journal translates that
        assert found or same


def content(connection: sqlite3.Connection) -> list[object]:
    return [
        connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for table in ("entries", "records", "record_keys")
    ]


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
