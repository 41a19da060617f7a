"""Headquarters' side of the journals: one SQLite file, and the rules by which an entry is taken.

The promises:
 - What an answer calls held was committed and fsynced before; the same entry again changes nothing.
 - Only what a device's own key signed counts as its entry. One chain a device: an entry that is another one than
   headquarters holds under that number, or that does not follow from its neighbours, is refused and kept as an alarm.
 - Entries may come in any order, flagged ones do come first. What lacks in between is known and asked for.
 - Papers stay sealed: the collector has no need of the sealing key, and need not hold it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from devices.errors import CollectorError
from edge.journal.database import connect, create_tables, transaction
from edge.journal.entry import Entry, canonical, parse, signed_bytes
from edge.journal.keys import verifies
from edge.offline.sync_message import Call, Message, Piece, pack_answer

DATABASE_NAME = "collector.sqlite"
_SIGNATURE_BYTES = 64
_NOTES = 100  # of one answer
_WANTED = 200

_SCHEMA = """
CREATE TABLE devices (device TEXT PRIMARY KEY, name TEXT NOT NULL, public_key TEXT NOT NULL, first_seen TEXT NOT NULL,
                      last_seen TEXT NOT NULL, call_time TEXT, head_seq INTEGER, head_hash TEXT) STRICT;
CREATE TABLE entries (device TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL, prev TEXT NOT NULL,
                      kind TEXT NOT NULL, decision TEXT, raw BLOB NOT NULL, signature BLOB NOT NULL,
                      received TEXT NOT NULL, PRIMARY KEY (device, seq)) STRICT;
CREATE INDEX entries_of_decision ON entries (decision) WHERE decision IS NOT NULL;
CREATE TABLE parts (device TEXT NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL, part INTEGER NOT NULL,
                    parts INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (device, seq, name, part)) STRICT;
CREATE TABLE alarms (device TEXT NOT NULL, kind TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL,
                     detail TEXT NOT NULL, raw BLOB NOT NULL, seen TEXT NOT NULL,
                     PRIMARY KEY (device, kind, seq, hash)) STRICT;
CREATE TABLE notes (device TEXT NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, document TEXT NOT NULL,
                    made TEXT NOT NULL, fetched TEXT, PRIMARY KEY (device, n)) STRICT;
CREATE TABLE rescored (device TEXT NOT NULL, seq INTEGER NOT NULL, model TEXT NOT NULL, document TEXT NOT NULL,
                       agrees INTEGER NOT NULL, PRIMARY KEY (device, seq, model)) STRICT;
"""


class Store:
    """The collector's file. Threads may share it.

    Args:
        folder: The collector's directory.
        now: Headquarters' clock.

    Raises:
        CollectorError: It is no collector's directory, or cannot be used.
    """

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = folder / DATABASE_NAME
        self._now = now
        self._lock = threading.RLock()
        if not self._path.exists():
            raise CollectorError(f"{folder} is no collector's directory: it has no {DATABASE_NAME}.")
        with _translated(self._path):
            self._connection = connect(self._path)

    @classmethod
    def create(cls, folder: Path) -> None:
        """Make the file in ``folder``; one that is there is left as it is.

        Raises:
            CollectorError: It cannot be written.
        """
        path = folder / DATABASE_NAME
        with _translated(path), closing(connect(path)) as connection, transaction(connection):
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                create_tables(connection, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def receive(self, messages: Sequence[Message], key: Ed25519PrivateKey) -> list[bytes | None]:
        """Take what devices sent, all of it in one transaction; for each message the signed answer, if it asks for one.

        Durable on return.

        Raises:
            CollectorError: The file cannot be written; nothing was taken.
        """
        answers: list[tuple[Message, dict[str, Any] | None]] = []
        with self._writing():
            for message in messages:
                self._see(message)
                for piece in message.pieces:
                    self._take(message, piece)
                answers.append((message, self._answer(message.device, message.call) if message.call else None))
        return [
            pack_answer(key, message.device, message.call, time=self._now(), **answer)
            if answer is not None and message.call
            else None
            for message, answer in answers
        ]

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

    def _see(self, message: Message) -> None:
        self._do(
            "INSERT INTO devices (device, name, public_key, first_seen, last_seen) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (device) DO UPDATE SET name = excluded.name, last_seen = excluded.last_seen",
            message.device,
            message.name,
            message.public_key,
            self._time(),
            self._time(),
        )

    def _take(self, message: Message, piece: Piece) -> None:
        if piece.name:
            # its entry came before it
            if self._holds(message.device, piece.seq, piece.hash) and 0 <= piece.part < piece.parts:
                where = (message.device, piece.seq, piece.name, piece.part)
                self._do("INSERT OR IGNORE INTO parts VALUES (?, ?, ?, ?, ?, ?)", *where, piece.parts, piece.data)
            return
        if self._holds(message.device, piece.seq, piece.hash):
            return
        signature, raw = piece.data[:_SIGNATURE_BYTES], piece.data[_SIGNATURE_BYTES:]
        try:
            entry = parse(raw, signature)
            # canonical, so that every reader takes it for the same, and nothing is in it that SQLite cannot hold
            own = (entry.seq, entry.hash) == (piece.seq, piece.hash) and canonical(json.loads(raw)) == raw
        except ValueError:
            own = False
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(message.public_key))
        if not own or not verifies(public, signature, signed_bytes(piece.hash)):
            self._alarm(message.device, "unsigned", piece.seq, piece.hash, "no entry that this device signed", raw)
            return
        if trouble := self._does_not_fit(message.device, entry):
            self._alarm(message.device, "fork", entry.seq, entry.hash, trouble, raw)
            return
        decision = entry.body.get("decision_id")
        self._do(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            message.device,
            entry.seq,
            entry.hash,
            entry.prev,
            entry.kind,
            None if decision is None else str(decision),
            raw,
            signature,
            self._time(),
        )

    def _does_not_fit(self, device: str, entry: Entry) -> str:
        """Why an entry cannot be of the chain that is here; empty if it can."""
        query = "SELECT 1 FROM alarms WHERE device = ? AND kind = 'fork' AND seq = ? AND hash = ?"
        if self._one(query, device, entry.seq - 1, entry.prev):  # or the rest of a fork would take the chain's place
            return f"it follows entry {entry.seq - 1}, {entry.prev[:16]}, which was refused"
        query = "SELECT seq, hash, prev FROM entries WHERE device = ? AND seq BETWEEN ? AND ?"
        for seq, digest, prev in self.rows(query, device, entry.seq - 1, entry.seq + 1):
            if seq == entry.seq:
                return f"headquarters holds another entry {seq}, {digest[:16]}"
            if seq < entry.seq and digest != entry.prev:
                return f"it does not follow entry {seq}, {digest[:16]}"
            if seq > entry.seq and prev != entry.hash:
                return f"entry {seq}, {digest[:16]}, does not follow it"
        return ""

    def _answer(self, device: str, call: Call) -> dict[str, Any]:
        self._compare_head(device, call)
        held = [each for each in call.pieces if self._holds_piece(device, each)]
        refused = {}
        for each in set(call.pieces) - set(held):
            seq, digest = each.split(":")[:2]
            query = (
                "SELECT detail FROM alarms WHERE device = ? AND seq = ? AND hash = ? AND kind IN ('fork', 'unsigned')"
            )
            if row := self._one(query, device, seq, digest):
                refused[each] = row[0]
        self._do(
            "UPDATE notes SET fetched = ? WHERE device = ? AND n <= ? AND fetched IS NULL",
            self._time(),
            device,
            call.answers_after,
        )
        query = "SELECT document FROM notes WHERE device = ? AND n > ? ORDER BY n LIMIT ?"
        notes = [json.loads(row[0]) for row in self.rows(query, device, call.answers_after, _NOTES + 1)]
        return {
            "held": held,
            "refused": refused,
            # the whole chain is looked through once a session only, when nothing else is left to send
            "wanted": [] if call.pieces else self._missing(device, call.head_seq),
            "notes": notes[:_NOTES],
            "more": len(notes) > _NOTES,
        }

    def _compare_head(self, device: str, call: Call) -> None:
        """A head that went back, or that is another entry than was sent: a tail was cut off and grown anew."""
        row = self._one("SELECT call_time, head_seq, head_hash FROM devices WHERE device = ?", device)
        time, seq, digest = row
        if time is not None and call.time < time:  # sent before one that is here already
            return
        if seq is not None and (call.head_seq < seq or (call.head_seq == seq and call.head_hash != digest)):
            detail = f"the journal's head was {seq} and is {call.head_seq}"
            self._alarm(device, "shorter", call.head_seq, call.head_hash, detail, b"")
            return
        query = "UPDATE devices SET call_time = ?, head_seq = ?, head_hash = ? WHERE device = ?"
        self._do(query, call.time, call.head_seq, call.head_hash, device)

    def _missing(self, device: str, head_seq: int) -> list[int]:
        missing: list[int] = []
        expected = 1
        for (seq,) in self.rows("SELECT seq FROM entries WHERE device = ? ORDER BY seq", device):
            missing.extend(range(expected, min(seq, expected + _WANTED - len(missing))))
            expected = seq + 1
            if len(missing) >= _WANTED:
                return missing
        missing.extend(range(expected, min(head_seq + 1, expected + _WANTED - len(missing))))
        return missing

    def _holds(self, device: str, seq: int, digest: str) -> bool:
        return bool(self._one("SELECT 1 FROM entries WHERE device = ? AND seq = ? AND hash = ?", device, seq, digest))

    def _holds_piece(self, device: str, name: str) -> bool:
        seq, digest, *rest = name.split(":", 2)
        if not self._holds(device, int(seq), digest):
            return False
        if not rest:
            return True
        record, _, part = rest[0].rpartition(":")
        query = "SELECT 1 FROM parts WHERE device = ? AND seq = ? AND name = ? AND part = ?"
        return bool(self._one(query, device, int(seq), record, int(part)))

    def _alarm(self, device: str, kind: str, seq: int, digest: str, detail: str, raw: bytes) -> None:
        values = (device, kind, seq, digest, detail, raw, self._time())
        self._do("INSERT OR IGNORE INTO alarms VALUES (?, ?, ?, ?, ?, ?, ?)", *values)

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
        raise CollectorError(f"{path} cannot be used: {error}.") from error
