"""What the journal keeps, for how long, and in how much room. Questions to the database; the journal acts on them.

Near the bound the pictures go, those that headquarters has first, and of these the oldest. Decisions never go. Records
that are older than the policy says lose their key.

Days are counted with care: a clock that stands at 2099 for an hour must not erase what the law wants kept. The day that
retention counts with moves on by two at most at each new day that it sees, so a wrong clock costs no more than the days
it was wrong for, and a device that slept for a year catches up.
"""

from __future__ import annotations

import math
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from devices.errors import JournalFullError

_MB = 1024 * 1024
RESERVE_BYTES = 64 * _MB  # of the disk; for the log, reviews, and what else a device has to write
_OVERHEAD_BYTES = 64 * 1024  # pages that an entry takes beside its records
_NEAR = 0.95  # of the bound: pictures go from here on ...
_ENOUGH = 0.9  # ... until so much is used; a few with each decision, since what is deleted is overwritten too
_FREED_MORE = 1 * _MB  # beyond twice what comes in
_AT_ONCE = 16  # entries whose time is over, with each decision
_DAYS_A_DAY = 2
_PLAUSIBLE_DAYS = 400  # as devices.clock has it
_PICTURES = "name >= 'document/' AND name < 'document0'"  # '0' follows '/'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Bounds:
    """What the journal may take, and for how long.

    Attributes:
        max_bytes: Of the disk. Near it, pictures go first.
        documents_days: How long pictures are kept.
        records_days: How long a receipt and an application can be read; then their key is destroyed.
    """

    max_bytes: int = 8192 * _MB
    documents_days: int = 1830
    records_days: int = 1830


def day_of(time: datetime) -> int:
    """Days since 1970."""
    return (time - _EPOCH).days


def used_bytes(connection: sqlite3.Connection) -> int:
    """What the journal's file holds; room in it that was freed does not count."""
    pages, free, size = (
        _number(connection, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def room_bytes(connection: sqlite3.Connection, folder: Path, bounds: Bounds) -> int:
    """How much the journal may hold in all: the policy's bound, or less where the disk is full."""
    pages, size = (_number(connection, f"PRAGMA {name}") for name in ("page_count", "page_size"))
    return min(bounds.max_bytes, pages * size + shutil.disk_usage(folder).free - RESERVE_BYTES)


def is_near(connection: sqlite3.Connection, room: int, incoming: int) -> bool:
    """Whether the bound is near once ``incoming`` bytes came."""
    return used_bytes(connection) + incoming + _OVERHEAD_BYTES > room * _NEAR


def pictures_to_go(connection: sqlite3.Connection, room: int, incoming: int) -> list[int]:
    """The entries whose pictures go now that ``incoming`` bytes come; none while there is room."""
    if not is_near(connection, room, incoming):
        return []
    used = used_bytes(connection) + incoming + _OVERHEAD_BYTES
    going: list[int] = []
    to_free = max(used - room, min(used - room * _ENOUGH, 2 * incoming + _FREED_MORE))
    for sent in ("NOT", ""):
        rows = connection.execute(
            f"SELECT seq, sum(length(ciphertext)) FROM records WHERE {_PICTURES} AND {sent} EXISTS "  # noqa: S608
            "(SELECT 1 FROM unsent WHERE later IN (0, 1) AND unsent.seq = records.seq) GROUP BY seq ORDER BY seq"
        )
        for seq, size in rows:
            if to_free <= 0:
                return going
            going.append(seq)
            to_free -= size
            used -= size
    return going if used <= room else []  # what helps nobody need not go


def no_room(connection: sqlite3.Connection, room: int, incoming: int, bounds: Bounds) -> JournalFullError | None:
    """The error that ``incoming`` bytes do not fit, and which of the two bounds it is; None if they do."""
    used = used_bytes(connection) + incoming + _OVERHEAD_BYTES
    if used <= room:
        return None
    if room < bounds.max_bytes:
        return JournalFullError(
            "The disk under the journal is nearly full: a decision must leave "
            f"{RESERVE_BYTES // _MB} MB of it for reviews and for what else a device has to write.",
            remedy=f"Free at least {math.ceil((used - room) / _MB)} MB on the disk of the state directory.",
        )
    return JournalFullError(
        f"The journal would take {used / _MB:.1f} MB even without the pictures in it, and the policy's max_mb lets it "
        f"take {room / _MB:.1f} MB.",
        remedy="Raise max_mb under [journal] of the policy, and build and install the bundle again.",
    )


def counted_day(connection: sqlite3.Connection, today: int) -> int:
    """The day that retention counts with; kept for the next time."""
    row = connection.execute("SELECT counted, looked FROM retention").fetchone()
    if row is None:
        connection.execute("INSERT INTO retention VALUES (1, ?, ?)", (today, today))
        return today
    counted, looked = int(row[0]), int(row[1])
    if looked != today:
        counted = max(counted, min(today, counted + _DAYS_A_DAY))
        connection.execute("UPDATE retention SET counted = ?, looked = ?", (counted, today))
    return min(today, counted)


def day_to_count_from(connection: sqlite3.Connection, time: datetime) -> int:
    """The day from which the records of an entry of that time age; not the clock's where it stands at 1970 or 2099."""
    row = connection.execute("SELECT counted FROM retention").fetchone()
    day = day_of(time)
    if row is None:
        return day
    counted = int(row[0])
    return counted if day > counted + _PLAUSIBLE_DAYS else max(day, counted)


def past_their_time(connection: sqlite3.Connection, day: int, bounds: Bounds) -> tuple[list[int], list[int]]:
    """Some entries whose pictures, and some whose records, are older than they may get; none if no more are."""
    documents = connection.execute(
        f"SELECT DISTINCT seq FROM records JOIN record_keys USING (seq) WHERE {_PICTURES} "  # noqa: S608
        "AND day BETWEEN ? AND ? ORDER BY seq LIMIT ?",
        (day - bounds.records_days, day - bounds.documents_days - 1, _AT_ONCE),
    )
    records = connection.execute(
        "SELECT seq FROM record_keys WHERE day < ? ORDER BY seq LIMIT ?", (day - bounds.records_days, _AT_ONCE)
    )
    return [seq for (seq,) in documents], [seq for (seq,) in records]


def drop_pictures(connection: sqlite3.Connection, seqs: list[int]) -> None:
    """Delete the pictures of these entries."""
    connection.executemany(
        f"DELETE FROM records WHERE seq = ? AND {_PICTURES}",  # noqa: S608
        [(seq,) for seq in seqs],
    )


def drop_records(connection: sqlite3.Connection, seqs: list[int]) -> None:
    """Destroy the keys of these entries, and delete what they opened; ``secure_delete`` overwrites both with zeros."""
    for table in ("record_keys", "records"):
        connection.executemany(f"DELETE FROM {table} WHERE seq = ?", [(seq,) for seq in seqs])  # noqa: S608


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
