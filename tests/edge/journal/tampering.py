"""Ways to tamper with a journal, each by somebody who has the file and not the key. For tests and the benchmark."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from edge.journal.entry import Head, canonical, parse
from edge.journal.keys import DeviceKeys
from edge.journal.verify import Verification, verify_database
from tests.edge.journal.conftest import Device

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


def write_small(device: Device) -> Written:
    """A journal of every kind of entry that matters here."""
    journal = device.filled(ENTRIES - 3)
    journal.append("review", {"decision_id": journal.entry(4).body["decision_id"], "verdict": "approve"})
    journal.erase(journal.entry(3).body["decision_id"], why="asked")
    head = journal.head()
    journal.close()
    with closing(sqlite3.connect(device.database)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # an image in memory has no log beside it
    assert head.seq == ENTRIES
    return Written(device.database.read_bytes(), device.keys(), head)


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


def content(connection: sqlite3.Connection) -> list[object]:
    return [
        connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        for table in ("entries", "records", "record_keys")
    ]
