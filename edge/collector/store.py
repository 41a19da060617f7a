"""Headquarters' side of the journals: one SQLite file, from which answers and reports are made.

The promises:
 - What an answer calls held was committed and fsynced before; the same entry again changes nothing.
 - Papers stay sealed: the collector has no need of the sealing key, and need not hold it.
 - What an erasure destroyed is overwritten, in the file and in SQLite's log.

The rules by which something is taken: edge.collector.intake; who may send: edge.collector.register; how much:
edge.collector.bounds.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.errors import CollectorError, CollectorFullError
from edge.collector.bounds import full
from edge.collector.intake import Intake
from edge.collector.schema import SCHEMA
from edge.journal.database import BUSY_MS, connect, create_tables, is_full, transaction
from edge.journal.entry import Entry, canonical, parse
from edge.journal.retention import used_bytes
from edge.offline.sync_answer import pack_answer
from edge.offline.sync_message import Message

DATABASE_NAME = "collector.sqlite"
_RETRY_AFTER_S = 900.0  # for who is refused because there is no room


@dataclass(frozen=True)
class Reply:
    """What a call is answered.

    Attributes:
        data: The signed answer.
        refusal: Why nothing was taken; None if it was.
    """

    data: bytes
    refusal: CollectorError | None = None


class Store:
    """The collector's file. Threads may share it.

    Args:
        folder: The collector's directory.
        now: Headquarters' clock.
        authorities: Of devices' certificates; without any no certificate is asked for.
        only_registered: Whether a device has to be added before it may come.
        max_bytes: What the file may take; without it papers come until the disk is nearly full.

    Raises:
        CollectorError: It is no collector's directory, or cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        authorities: Sequence[x509.Certificate] = (),
        only_registered: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._path = folder / DATABASE_NAME
        self._now = now
        self._lock = threading.RLock()
        if not self._path.exists():
            raise CollectorError(f"{folder} is no collector's directory: it has no {DATABASE_NAME}.")
        with _translated(self._path):
            self._connection = connect(self._path)
            with transaction(self._connection):
                create_tables(self._connection, SCHEMA)
        self._intake = Intake(self._connection, now, authorities=authorities, only_registered=only_registered)

    @classmethod
    def create(cls, folder: Path) -> None:
        """Make the file in ``folder``; what is in one that is there stays.

        Raises:
            CollectorError: It cannot be written.
        """
        path = folder / DATABASE_NAME
        with _translated(path), closing(connect(path)) as connection, transaction(connection):
            create_tables(connection, SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def receive(self, messages: Sequence[Message], key: Ed25519PrivateKey) -> list[Reply | None]:
        """Take what devices sent, all of it in one transaction; for each message the signed answer, if it asks for one.

        Durable on return.

        Raises:
            CollectorError: The file cannot be written; nothing was taken.
        """
        with self._writing():
            no_room = self.full()
            said = [self._intake.take(message, no_room) for message in messages]
        if self._intake.destroyed:
            self._empty_log()
        return [self._reply(message, each, key) for message, each in zip(messages, said, strict=True)]

    def full(self) -> CollectorFullError | None:
        """Why no more papers are taken; None while they are."""
        with self._lock, _translated(self._path):
            return full(self._connection, self.folder, self.max_bytes)

    def used_bytes(self) -> int:
        """What the file holds."""
        with self._lock, _translated(self._path):
            return used_bytes(self._connection)

    def add_device(self, device: str, subject: str | None) -> None:
        """Register a device (``Register.add``).

        Raises:
            CollectorError: ``device`` is no id, or the certificate is another device's.
        """
        with self._writing():
            self._intake.register.add(device, subject)

    def retire_device(self, device: str, why: str) -> None:
        """Refuse a device from now on (``Register.retire``).

        Raises:
            CollectorError: The register does not have it.
        """
        with self._writing():
            self._intake.register.retire(device, why)

    def note(self, device: str, kind: str, document: Mapping[str, Any]) -> int:
        """Have a device told something at its next call; returns the note's number.

        Raises:
            CollectorError: The device is not known, or the file cannot be written.
        """
        with self._writing():
            if not self._one("SELECT 1 FROM devices WHERE device = ?", device):
                raise CollectorError(
                    f"No device {device} has called yet.", remedy="'edgekit collector report' lists those that have."
                )
            return self._note(device, kind, document)

    def decision(self, decision_id: str) -> tuple[str, Entry]:
        """The device that made a decision, and its entry.

        Raises:
            CollectorError: No journal here holds it.
        """
        row = self._one(
            "SELECT device, raw, signature FROM entries WHERE decision = ? AND kind = 'decision'", decision_id
        )
        if not row:
            raise CollectorError(f"No decision {decision_id} has arrived here.")
        return str(row[0]), parse(row[1], row[2])

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Look something up."""
        with self._lock, _translated(self._path):
            return self._connection.execute(query, values).fetchall()

    def entry(self, device: str, seq: int) -> Entry:
        """One entry of a device.

        Raises:
            CollectorError: It is not here.
        """
        found = self.rows("SELECT raw, signature FROM entries WHERE device = ? AND seq = ?", device, seq)
        if not found:
            raise CollectorError(f"Entry {seq} of device {device} is not here.")
        return parse(*found[0])

    def rescored(self, device: str, seq: int, model: str, document: Mapping[str, Any], *, agrees: bool) -> None:
        """Keep what headquarters' own model says about a decision; where it disagrees, the device is told.

        Raises:
            CollectorError: The file cannot be written.
        """
        with self._writing():
            text = canonical(document).decode()
            self._do("INSERT OR REPLACE INTO rescored VALUES (?, ?, ?, ?, ?)", device, seq, model, text, int(agrees))
            if not agrees:
                self._note(device, "disagreement", document)

    def sealed(self, device: str, seq: int) -> dict[str, dict[int, bytes]]:
        """The sealed parts of an entry's papers by name and number; only of papers of which every part is here."""
        found: dict[str, dict[int, bytes]] = {}
        wanted: dict[str, int] = {}
        query = "SELECT name, part, parts, data FROM parts WHERE device = ? AND seq = ? ORDER BY name, part"
        for name, part, parts, data in self.rows(query, device, seq):
            found.setdefault(name, {})[part] = data
            wanted[name] = parts
        return {name: parts for name, parts in found.items() if len(parts) == wanted[name]}

    def _note(self, device: str, kind: str, document: Mapping[str, Any]) -> int:
        number = int(self._one("SELECT coalesce(max(n), 0) + 1 FROM notes WHERE device = ?", device)[0])
        try:
            text = canonical({**document, "kind": kind, "n": number}).decode()
        except ValueError as error:  # half of a character on the command line
            raise CollectorError(f"The note to device {device} is no text: {error}.") from error
        self._do("INSERT INTO notes VALUES (?, ?, ?, ?, ?, NULL)", device, number, kind, text, self._time())
        return number

    def _reply(
        self, message: Message, said: Mapping[str, Any] | CollectorError | None, key: Ed25519PrivateKey
    ) -> Reply | None:
        if message.call is None or said is None:
            return None
        packed = partial(pack_answer, key, message.device, message.call, time=self._now())
        if isinstance(said, CollectorError):
            pause_s = _RETRY_AFTER_S if isinstance(said, CollectorFullError) else 0.0
            return Reply(packed(refusal=said, retry_after_s=pause_s), said)
        return Reply(packed(**said))

    def _empty_log(self) -> None:
        """Cut the write-ahead log off, in which destroyed papers stand; later if somebody reads meanwhile."""
        with self._lock, _translated(self._path):
            self._connection.execute("PRAGMA busy_timeout = 0")
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            self._intake.destroyed = bool(busy)

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds")

    def _one(self, query: str, *values: Any) -> tuple[Any, ...]:
        return self._connection.execute(query, values).fetchone() or ()

    def _do(self, query: str, *values: Any) -> None:
        self._connection.execute(query, values)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock, _translated(self._path), transaction(self._connection):
            yield


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if is_full(error, path):
            raise CollectorFullError(
                f"The disk under {path} is full.",
                state="Nothing was taken, and devices keep everything that is not acknowledged.",
                remedy="Free room on that disk, or move the collector's directory to a larger one.",
            ) from error
        raise CollectorError(f"{path} cannot be used: {error}.") from error
