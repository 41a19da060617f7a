"""The journal itself: SQLite with a write-ahead log, ``synchronous=FULL``, and a chain of signed entries in it.

The promises:
 - ``append`` returns only after fsync of the entry, its records and its place in the queue for headquarters, in one
   transaction, and after the head was kept outside (edge.journal.anchor). What raised may be in the journal or not; it
   is not to be given out.
 - A power cut at any moment loses nothing that was acknowledged, and doubles nothing.
 - Personal data are in records only: AES-256-GCM, one key an entry, wrapped by the device key. An entry holds the
   SHA-256 of each ciphertext, so the chain verifies after the key was destroyed.
 - A journal that is damaged, cut, missing, or another device's is refused with its own error. It is never begun anew.
 - Several processes may append: one lock on the folder orders them, their heads and SQLite's checkpoints. (SQLite up to
   3.51.2 can lose a page where two connections checkpoint and write in the same moment, its "WAL-reset bug"; the lock
   rules that out too.)

One connection a process, for any number of threads.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from devices.durable import locked, make_directory, open_made, sync_directory
from devices.errors import (
    DeviceKeyError,
    JournalDamagedError,
    JournalError,
    JournalFullError,
)
from edge.journal.anchor import Anchor
from edge.journal.database import (
    BUSY_MS,
    DATABASE_NAME,
    IN_USE_NAME,
    SCHEMA,
    connect,
    create_tables,
    transaction,
    translated,
)
from edge.journal.entry import Entry, Head, is_flagged, line_of, parse, signed_bytes
from edge.journal.keys import DeviceKeys, verifies
from edge.journal.reader import COLUMNS, JournalReader
from edge.journal.retention import (
    Bounds,
    counted_day,
    day_of,
    day_to_count_from,
    drop_pictures,
    drop_records,
    is_near,
    no_room,
    past_their_time,
    pictures_to_go,
    room_bytes,
)
from edge.journal.sealing import seal


class Journal(JournalReader):
    """The journal of this device; ``Journal.open`` makes one."""

    def __init__(
        self,
        folder: Path,
        keys: DeviceKeys,
        connection: sqlite3.Connection,
        now: Callable[[], datetime],
        bounds: Bounds | None = None,
    ) -> None:
        super().__init__(folder, keys, connection)
        self._now, self.bounds = now, bounds or Bounds()
        self._anchor = Anchor(keys.folder)
        self._in_use: int | None = None
        self._inode: int | None = None
        self._log_to_empty = False
        self._nothing_due: int | None = None  # the day on which nothing was left to be retired

    @classmethod
    def open(
        cls, folder: Path, keys: DeviceKeys, *, now: Callable[[], datetime], bounds: Bounds | None = None
    ) -> Journal:
        """Open the journal in ``folder``; begin one where this device never had one.

        Args:
            folder: ``STATE/journal``, mode 0700.
            keys: Of this device.
            now: The time of entries, with a zone; ``devices.clock.Clock.now``.
            bounds: Of disk and time.

        Raises:
            JournalDamagedError: It is missing though it was begun, cut, changed at its end, or no database.
            DeviceKeyError: Another device key wrote it.
            JournalError: It cannot be read or written: a read-only disk, no permission.
        """
        path, anchor = folder / DATABASE_NAME, Anchor(keys.folder)
        with translated(path):
            make_directory(folder)
            with locked(folder):
                begun = anchor.exists()
                if path.exists() and not begun:
                    raise JournalDamagedError(f"The journal {path} is there, but its head {anchor.path} is missing.")
                if not begun:
                    anchor.begin(keys)
                    for parent in {folder.parent, keys.folder.parent}:  # the folders may be new themselves
                        sync_directory(parent)
                elif not path.exists() and (head := anchor.read(keys.public)).seq:
                    raise JournalDamagedError(
                        f"The journal {path} is missing; its last entry was {head.code}.",
                        remedy="Put the file back; if it is lost, 'edgekit journal salvage' begins one that says so.",
                    )
                with ExitStack() as undo:
                    undo.callback(os.close, in_use := _in_use(folder))
                    os.close(open_made(path))  # SQLite gives its log to whom the file belongs
                    connection = undo.enter_context(closing(connect(path)))
                    journal = cls(folder, keys, connection, now, bounds)
                    journal._in_use, journal._inode = in_use, path.stat().st_ino
                    journal._take_up()
                    undo.pop_all()  # it stays open
        return journal

    def close(self) -> None:
        """Close the file. What was appended is durable without it."""
        with self._mutex, translated(self._path), locked(self.folder):
            self._end()

    def append(self, kind: str, body: Mapping[str, Any], *, records: Mapping[str, bytes] | None = None) -> Entry:
        """Append an entry with its records; durable on return.

        Args:
            kind: ``decision``, ``review``, ...
            body: JSON without personal data. A decision's has ``decision_id``.
            records: Personal data by name, each encrypted.

        Raises:
            JournalFullError: The disk or the journal's share of it is full.
            JournalError: It cannot be written.
            ValueError: ``body`` is not JSON.
        """
        records = records or {}
        if kind == "decision":
            self.make_room(sum(map(len, records.values())))
        with self._writing():
            entry = self._append(kind, body, records)
        if self._log_to_empty:
            self._empty_log()
        return entry

    def make_room(self, incoming_bytes: int) -> None:
        """Make sure that a decision with records of so many bytes can be appended; to be asked before it is made.

        Raises:
            JournalFullError: It cannot, and no picture is left that could go.
            JournalError: It cannot be written.
        """
        with self._mutex, translated(self._path):
            if not self._is_due(incoming_bytes):
                return
        with self._writing():
            full = self._retire(incoming_bytes)
        self._empty_log()
        if full is not None:  # only now: what was retired stays so
            raise full

    def full(self) -> JournalFullError | None:
        """Why not even the smallest decision can be appended; None while one can. Writes nothing.

        Raises:
            JournalError: The journal cannot be read.
        """
        with self._mutex, translated(self._path):
            room = room_bytes(self._connection, self.folder, self.bounds)
            full = no_room(self._connection, room, 0, self.bounds)
            return full if full and not pictures_to_go(self._connection, room, 0) else None

    def erase(self, decision_id: str, *, why: str) -> Entry:
        """Destroy the keys of everything recorded about a decision; the erasure is itself an entry.

        Args:
            decision_id: Of the decision.
            why: A word or two; no personal data.

        Raises:
            DecisionNotFoundError: It is not in this journal.
            JournalError: It cannot be written.
        """
        self.decision(decision_id)
        with self._writing():
            seqs = [entry.seq for entry in self.about(decision_id) if entry.records and not self.erased(entry)]
            entry = self._append("erasure", {"decision_id": str(decision_id), "entries": seqs, "why": why}, {})
            drop_records(self._connection, seqs)
        self._empty_log()
        return entry

    def mark_sent(self, seqs: Collection[int], head: Head) -> None:
        """Headquarters has these entries, and acknowledged ``head`` as this chain's.

        Raises:
            JournalError: ``head`` is not of this chain; nothing is marked then.
        """
        own = self._rows(f"{COLUMNS} WHERE seq = ?", (head.seq,))
        if not own or hashlib.sha256(own[0][0]).hexdigest() != head.hash:
            raise JournalError(
                f"Headquarters acknowledged {head.code}, which is not in this journal.",
                state="Nothing was marked as sent; it is sent again.",
                remedy="Report it to headquarters with its code.",
            )
        with self._writing():
            marks = [(later, seq) for seq in seqs for later in (0, 1)]
            self._connection.executemany("DELETE FROM unsent WHERE later = ? AND seq = ?", marks)

    def _end(self) -> None:
        self._connection.close()
        if self._in_use is not None:
            os.close(self._in_use)
            self._in_use = None

    def _take_up(self) -> None:
        """Compare the end of the chain with the head that was kept; begin the chain where there is none."""
        head = self._anchor.read(self.keys.public)
        tables = self._rows("SELECT count(*) FROM sqlite_schema WHERE name = 'entries'", ())[0][0]
        last = self._rows(f"{COLUMNS} ORDER BY seq DESC LIMIT 1", ()) if tables else []
        if not last:
            if head.seq:
                raise JournalDamagedError(f"The journal {self._path} is empty; its last entry was {head.code}.")
            self._begin()
            return
        first = self._parsed(*self._rows(f"{COLUMNS} ORDER BY seq LIMIT 1", ())[0])
        if first.kind == "genesis" and first.body.get("public_key") != self.keys.public_bytes.hex():
            raise DeviceKeyError(f"The journal {self._path} was written with another device key than this one.")
        kept = self._rows(f"{COLUMNS} WHERE seq = ?", (head.seq,)) if head.seq else []
        if head.seq and (not kept or self._parsed(*kept[0]).hash != head.hash):
            raise JournalDamagedError(f"The journal {self._path} does not hold {head.code}, which was its last entry.")
        entry = self._parsed(*last[0])
        if not verifies(self.keys.public, entry.signature, signed_bytes(entry.hash)):
            raise JournalDamagedError(f"The last entry of the journal {self._path}, {entry.seq}, was not signed here.")
        if entry.seq > head.seq:  # the power went between the commit and the head
            self._anchor.write(self.keys.sign_head(entry.seq, entry.hash))

    def _begin(self) -> None:
        with transaction(self._connection):
            create_tables(self._connection, SCHEMA)
            body = {"public_key": self.keys.public_bytes.hex(), "journal": secrets.token_hex(16)}
            self._append("genesis", body, {})
        self._keep_head()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction under the lock of all processes, then the head."""
        with self._mutex, translated(self._path), locked(self.folder):
            self._check_place()
            with transaction(self._connection):
                yield
            self._keep_head()

    def _check_place(self) -> None:
        """Whether the open file is still the one of that name; what is written to one that was removed is lost."""
        if not self._path.exists() or self._path.stat().st_ino != self._inode:
            raise JournalDamagedError(
                f"The journal {self._path} was removed or replaced while it was in use.",
                remedy="Put it back and start again; if it is lost, 'edgekit journal salvage' begins one that says so.",
            )

    def _append(
        self, kind: str, body: Mapping[str, Any], records: Mapping[str, bytes], *, after: Head | None = None
    ) -> Entry:
        """One entry within the transaction that is open; ``after`` another one than the last is for a salvage."""
        last, prev = (after.seq, after.hash) if after else self._last()
        seq = last + 1
        time = self._now()
        sealed = seal(records, self.keys, seq, kind, day=day_to_count_from(self._connection, time))
        line = line_of(seq, time, kind, body, prev=prev, records=sealed.refs, key=sealed.key)
        digest = hashlib.sha256(line).hexdigest()
        entry = parse(line, self.keys.sign(digest))
        decision = body.get("decision_id")
        execute = self._connection.execute
        execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
            (seq, line, entry.signature, kind, None if decision is None else str(decision)),
        )
        if sealed.wrapped is not None:
            execute("INSERT INTO record_keys VALUES (?, ?, ?)", (seq, sealed.day, sealed.wrapped))
        self._connection.executemany(
            "INSERT INTO records VALUES (?, ?, ?)", [(seq, name, data) for name, data in sealed.ciphertexts.items()]
        )
        execute("INSERT INTO unsent VALUES (?, ?)", (0 if is_flagged(entry) else 1, seq))
        return entry

    def _is_due(self, incoming: int) -> bool:
        """Whether something is past its time or in the way; asked before every decision, so it writes nothing."""
        room = room_bytes(self._connection, self.folder, self.bounds)
        crowded = is_near(self._connection, room, incoming)
        return crowded or self._nothing_due != day_of(self._now())

    def _retire(self, incoming: int) -> JournalFullError | None:
        """Let go of some of what is past its time or in the way; the error if that makes too little room."""
        connection, today = self._connection, day_of(self._now())
        pictures, entries = past_their_time(connection, counted_day(connection, today), self.bounds)
        self._let_go("age", pictures, entries)
        self._nothing_due = None if pictures or entries else today
        room = room_bytes(connection, self.folder, self.bounds)
        self._let_go("space", pictures_to_go(connection, room, incoming), [])
        return no_room(connection, room, incoming, self.bounds)

    def _let_go(self, why: str, pictures: list[int], entries: list[int]) -> None:
        if pictures or entries:
            self._append("retention", {"why": why, "documents": pictures, "entries": entries}, {})
            drop_pictures(self._connection, pictures)
            drop_records(self._connection, entries)

    def _empty_log(self) -> None:
        """Cut the write-ahead log off, in which destroyed keys stand until then; later if somebody reads meanwhile."""
        with self._mutex, translated(self._path), locked(self.folder):
            self._connection.execute("PRAGMA busy_timeout = 0")
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            self._log_to_empty = bool(busy)

    def _keep_head(self) -> None:
        self._anchor.write(self.keys.sign_head(*self._last()))


def _in_use(folder: Path) -> int:
    """Say that the journal is open here, as long as the descriptor is.

    Raises:
        JournalError: A salvage is under way.
        OSError: It cannot be said.
    """
    descriptor = open_made(folder / IN_USE_NAME)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise JournalError(f"The journal {folder} is being salvaged.", remedy="Wait until that is done.") from error
    return descriptor
