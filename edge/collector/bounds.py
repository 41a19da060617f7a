"""What one device may send, and how much room there is for all of them.

A part of a paper is held against its entry, which the device signed: the entry says which records there are and how
large each is, so nobody can send more than was announced. Records that were begun and not ended are counted, since a
device ends one before it begins the next. Near the bound of the disk papers are refused and entries are not: an erasure
is an entry, and makes room.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devices.errors import CollectorFullError, QuotaError
from edge.journal.entry import Entry
from edge.journal.retention import used_bytes
from edge.offline.sync_message import PART_BYTES, Piece
from edge.offline.sync_seal import SEALED_MORE, parts_of

UNFINISHED_MOST = 64  # records of a device; a line that breaks leaves one, and one more for each flagged decision
LINE_MAX_BYTES = 1024 * 1024  # of an entry
RECORD_MAX_BYTES = 128 * 1024 * 1024
_RESERVE_BYTES = 256 * 1024 * 1024  # of the disk; for entries, reports, and the log of SQLite
_GB = 1024**3


def misfit(entry: Entry, piece: Piece) -> str:
    """Why a part is none of ``entry``'s; empty if it is one."""
    size = next((record.size for record in entry.records if record.name == piece.name), None)
    if size is None:
        return f"entry {entry.seq} has no record {piece.name}"
    if not 0 <= size <= RECORD_MAX_BYTES:
        return f"its record {piece.name} has {size} bytes, more than {RECORD_MAX_BYTES}"
    parts = parts_of(size)
    plain = min(PART_BYTES, size - piece.part * PART_BYTES)
    if piece.parts != parts or len(piece.data) != plain + SEALED_MORE:
        return f"part {piece.part} of its record {piece.name} has not the size that the entry says"
    return ""


class Unfinished:
    """The records of which some parts are here and some are not. Writes within the transaction that is open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def may_begin(self, device: str, seq: int, name: str) -> bool:
        """Whether a record was begun already, or the device may begin one more."""
        query = "SELECT 1 FROM unfinished WHERE device = ? AND seq = ? AND name = ?"
        begun = self._connection.execute(query, (device, seq, name)).fetchone() is not None
        return begun or self.count(device) < UNFINISHED_MOST

    def took(self, device: str, piece: Piece) -> None:
        """Note that a part is here now."""
        if piece.parts == 1:
            return
        where = (device, piece.seq, piece.name)
        query = "SELECT count(*) FROM parts WHERE device = ? AND seq = ? AND name = ?"
        if self._connection.execute(query, where).fetchone()[0] < piece.parts:
            self._connection.execute("INSERT OR IGNORE INTO unfinished VALUES (?, ?, ?)", where)
        else:
            self._connection.execute("DELETE FROM unfinished WHERE device = ? AND seq = ? AND name = ?", where)

    def forget(self, device: str, retention: Mapping[str, Any]) -> None:
        """Wait no longer for the rest of what a retention entry of the branch names."""
        lists = [each for each in (retention.get("documents"), retention.get("entries")) if isinstance(each, list)]
        named = [seq for each in lists for seq in each if type(seq) is int]
        held = {seq for (seq,) in self._connection.execute("SELECT seq FROM unfinished WHERE device = ?", (device,))}
        for seq in held.intersection(named):
            self._connection.execute("DELETE FROM unfinished WHERE device = ? AND seq = ?", (device, seq))

    def count(self, device: str) -> int:
        """How many there are of a device."""
        query = "SELECT count(*) FROM unfinished WHERE device = ?"
        return int(self._connection.execute(query, (device,)).fetchone()[0])

    def too_many(self, device: str) -> QuotaError:
        """What the device is told."""
        begun = self.count(device)
        return QuotaError(
            f"Device {device} has begun {begun} records and ended none of them; {UNFINISHED_MOST} may be."
        )


def full(connection: sqlite3.Connection, folder: Path, max_bytes: int | None) -> CollectorFullError | None:
    """That no more papers can be taken; None while they can."""
    used = used_bytes(connection)
    if max_bytes is not None and used >= max_bytes:
        return CollectorFullError(f"The collector holds {used / _GB:.1f} GB, and it may hold {max_bytes / _GB:.1f} GB.")
    free = shutil.disk_usage(folder).free
    if free < _RESERVE_BYTES:
        return CollectorFullError(
            f"The collector's disk has {free / _GB:.2f} GB left; papers stop at {_RESERVE_BYTES / _GB:.2f} GB."
        )
    return None
