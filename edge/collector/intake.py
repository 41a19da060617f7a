"""The rules by which headquarters takes what a device sent, and what it answers. Within a transaction that is open.

The rules:
 1. Only what a device's own key signed is its entry; only what an entry announced is its paper.
 2. One chain a device: an entry that is another one than is here under that number, or that does not follow from its
    neighbours, is refused and kept as an alarm. Entries may come in any order; what lacks in between is asked for.
 3. An erasure destroys the papers of that decision from before it, and what was said of it; they do not come back.
 4. Which of two calls is the newer is told by the device's clock only where it agrees with the bank's, otherwise by
    when a machine of the bank took them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices.errors import CollectorError, CollectorFullError, RegisterError
from edge.collector.bounds import LINE_MAX_BYTES, Unfinished, misfit
from edge.collector.register import Register
from edge.journal.entry import Entry, canonical, parse, signed_bytes
from edge.journal.keys import verifies
from edge.offline.sync_message import Call, Message, Piece

_SIGNATURE_BYTES = 64
_NOTES = 100  # of one answer
_WANTED = 200
_CLOCKS_AGREE = timedelta(minutes=5)
_TURNED_AWAY_MOST = 1000  # alarms about who may not come: whoever has a certificate can make keys without end
_REFUSING = "kind IN ('fork', 'unsigned', 'misfit')"  # alarms for which an entry is refused


class Intake:
    """What comes from devices, into the collector's file.

    Args:
        connection: The collector's, with a transaction open whenever a method is called.
        now: Headquarters' clock.
        authorities: Of devices' certificates (edge.collector.register).
        only_registered: Whether a device has to be added before it may come.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        now: Callable[[], datetime],
        *,
        authorities: Sequence[x509.Certificate] = (),
        only_registered: bool = False,
    ) -> None:
        self._connection, self._now = connection, now
        self._unfinished = Unfinished(connection)
        self.register = Register(
            connection, now, self._turned_away, authorities=authorities, only_registered=only_registered
        )
        self.destroyed = False  # whether a paper went since this was last set

    def take(self, message: Message, no_room: CollectorFullError | None) -> dict[str, Any] | CollectorError | None:
        """Take what a message brings.

        Args:
            message: Of a device.
            no_room: Why no papers can be taken.

        Returns:
            What its call is answered; the error if the device is turned away; None without a call.
        """
        taken = min(message.taken or self._now(), self._now())
        skew = datetime.fromisoformat(message.call.time) - taken if message.call else None
        try:
            self.register.admit(message, skew.total_seconds() if skew is not None else None)
        except RegisterError as error:
            if self.register.find(message.device):
                self._see(message)
            return error
        self._see(message)
        for piece in message.pieces:
            if not piece.name:
                self._take_entry(message, piece)
            elif no_room is None:
                self._take_part(message.device, piece)
        if message.call is None or skew is None:
            return None
        told = datetime.fromisoformat(message.call.time) if abs(skew) <= _CLOCKS_AGREE else taken
        self._compare_head(message.device, message.call, told.astimezone(UTC).isoformat())
        return self._answer(message.device, message.call, no_room)

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

    def _take_part(self, device: str, piece: Piece) -> None:
        query = "SELECT raw, signature FROM entries WHERE device = ? AND seq = ? AND hash = ?"
        row = self._one(query, device, piece.seq, piece.hash)
        if not row or self._is_erased(device, piece.seq):  # its entry came before it
            return
        if trouble := misfit(parse(*row), piece):
            self._alarm(device, "misfit", piece.seq, piece.hash, trouble, b"")
        elif piece.parts == 1 or self._unfinished.may_begin(device, piece.seq, piece.name):
            where = (device, piece.seq, piece.name, piece.part)
            self._do("INSERT OR IGNORE INTO parts VALUES (?, ?, ?, ?, ?, ?)", *where, piece.parts, piece.data)
            self._unfinished.took(device, piece)

    def _take_entry(self, message: Message, piece: Piece) -> None:
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
            what = "no entry that this device signed"
            self._alarm(message.device, "unsigned", piece.seq, piece.hash, what, raw[:LINE_MAX_BYTES])
            return
        if len(raw) > LINE_MAX_BYTES:
            what = f"it has {len(raw)} bytes, more than {LINE_MAX_BYTES}"
            self._alarm(message.device, "misfit", entry.seq, entry.hash, what, b"")
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
        if entry.kind == "erasure" and decision is not None:
            self._erase(message.device, entry.seq, str(decision))
        if entry.kind == "retention":  # what the branch let go in the middle is not awaited any more
            self._unfinished.forget(message.device, entry.body)

    def _erase(self, device: str, seq: int, decision: str) -> None:
        """Destroy what is here of a decision from before entry ``seq``, which erased it at the branch."""
        own = "device = ? AND seq IN (SELECT seq FROM entries WHERE decision = ? AND device = ? AND seq < ?)"
        values = (device, decision, device, seq)
        count = self._one(f"SELECT count(*) FROM (SELECT DISTINCT seq, name FROM parts WHERE {own})", *values)[0]  # noqa: S608
        for table in ("parts", "unfinished"):
            self._do(f"DELETE FROM {table} WHERE {own}", *values)  # noqa: S608
        self._do("INSERT INTO erasures VALUES (?, ?, ?, ?, ?)", device, seq, decision, count, self._time())
        # a reason is free text, and may hold a name
        self._do(
            "UPDATE notes SET document = json_set(document, '$.reason', '') "
            "WHERE device = ? AND json_extract(document, '$.decision_id') = ?",
            device,
            decision,
        )
        self.destroyed = True

    def _is_erased(self, device: str, seq: int) -> bool:
        query = (
            "SELECT 1 FROM entries JOIN erasures ON erasures.device = entries.device "
            "AND erasures.decision = entries.decision AND erasures.seq > entries.seq "
            "WHERE entries.device = ? AND entries.seq = ?"
        )
        return bool(self._one(query, device, seq))

    def _does_not_fit(self, device: str, entry: Entry) -> str:
        """Why an entry cannot be of the chain that is here; empty if it can."""
        query = "SELECT 1 FROM alarms WHERE device = ? AND kind = 'fork' AND seq = ? AND hash = ?"
        if self._one(query, device, entry.seq - 1, entry.prev):  # or the rest of a fork would take the chain's place
            return f"it follows entry {entry.seq - 1}, {entry.prev[:16]}, which was refused"
        query = "SELECT seq, hash, prev FROM entries WHERE device = ? AND seq BETWEEN ? AND ?"
        for seq, digest, prev in self._rows(query, device, entry.seq - 1, entry.seq + 1):
            if seq == entry.seq:
                return f"headquarters holds another entry {seq}, {digest[:16]}"
            if seq < entry.seq and digest != entry.prev:
                return f"it does not follow entry {seq}, {digest[:16]}"
            if seq > entry.seq and prev != entry.hash:
                return f"entry {seq}, {digest[:16]}, does not follow it"
        return ""

    def _answer(self, device: str, call: Call, no_room: CollectorFullError | None) -> dict[str, Any] | CollectorError:
        held = [each for each in call.pieces if self._holds_piece(device, each)]
        refused = {}
        lacking = set(call.pieces) - set(held)
        for each in lacking:
            seq, digest = each.split(":")[:2]
            query = f"SELECT detail FROM alarms WHERE device = ? AND seq = ? AND hash = ? AND {_REFUSING}"  # noqa: S608
            if row := self._one(query, device, seq, digest):
                refused[each] = row[0]
        if no_room is not None and lacking - refused.keys():
            return no_room
        if any(self._may_not_begin(device, each) for each in lacking - refused.keys()):
            return self._unfinished.too_many(device)
        self._do(
            "UPDATE notes SET fetched = ? WHERE device = ? AND n <= ? AND fetched IS NULL",
            self._time(),
            device,
            call.answers_after,
        )
        query = "SELECT document FROM notes WHERE device = ? AND n > ? ORDER BY n LIMIT ?"
        notes = [json.loads(row[0]) for row in self._rows(query, device, call.answers_after, _NOTES + 1)]
        return {
            "held": held,
            "refused": refused,
            # the whole chain is looked through once a session only, when nothing else is left to send
            "wanted": [] if call.pieces else self._missing(device, call.head_seq),
            "notes": notes[:_NOTES],
            "more": len(notes) > _NOTES,
            "erased": dict(row for each in held for row in self._erased_by(device, each)),
        }

    def _may_not_begin(self, device: str, name: str) -> bool:
        """Whether a part was left out because its record would be one too many."""
        seq, digest, *rest = name.split(":", 2)
        if not rest or not self._holds(device, int(seq), digest) or self._is_erased(device, int(seq)):
            return False
        return not self._unfinished.may_begin(device, int(seq), rest[0].rpartition(":")[0])

    def _erased_by(self, device: str, name: str) -> list[tuple[int, int]]:
        seq, _, *rest = name.split(":", 2)
        query = "SELECT seq, records FROM erasures WHERE device = ? AND seq = ?"
        return [] if rest else [(row[0], row[1]) for row in self._rows(query, device, int(seq))]

    def _compare_head(self, device: str, call: Call, time: str) -> None:
        """A head that went back, or that is another entry than was sent: a tail was cut off and grown anew."""
        before, seq, digest = self._one("SELECT call_time, head_seq, head_hash FROM devices WHERE device = ?", device)
        if before is not None and time < before:  # sent before one that is here already
            return
        if seq is not None and (call.head_seq < seq or (call.head_seq == seq and call.head_hash != digest)):
            detail = f"the journal's head was {seq} and is {call.head_seq}"
            self._alarm(device, "shorter", call.head_seq, call.head_hash, detail, b"")
            return
        query = "UPDATE devices SET call_time = ?, head_seq = ?, head_hash = ? WHERE device = ?"
        self._do(query, time, call.head_seq, call.head_hash, device)

    def _missing(self, device: str, head_seq: int) -> list[int]:
        missing: list[int] = []
        expected = 1
        for (seq,) in self._rows("SELECT seq FROM entries WHERE device = ? ORDER BY seq", device):
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

    def _turned_away(self, device: str, detail: str) -> None:
        if self._one("SELECT count(*) FROM alarms WHERE kind = 'refused'")[0] < _TURNED_AWAY_MOST:
            self._alarm(device, "refused", 0, "", detail, b"")

    def _alarm(self, device: str, kind: str, seq: int, digest: str, detail: str, raw: bytes) -> None:
        values = (device, kind, seq, digest, detail, raw, self._time())
        self._do("INSERT OR IGNORE INTO alarms VALUES (?, ?, ?, ?, ?, ?, ?)", *values)

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds")

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def _one(self, query: str, *values: Any) -> tuple[Any, ...]:
        return self._connection.execute(query, values).fetchone() or ()

    def _do(self, query: str, *values: Any) -> None:
        self._connection.execute(query, values)
