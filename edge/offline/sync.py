"""One session with headquarters: what waits in the journal goes up, what headquarters has to say comes down.

The promises:
 - An entry counts as sent once headquarters' own signature says, for this call, that it holds the line and every part
   of its papers. Whatever is cut off in the middle is sent again; the collector keeps one.
 - Flagged entries go first, as the journal hands them out. Papers of a decision go up sealed for headquarters.
 - What comes down is journaled once, in headquarters' order, before the next call says so.
 - Contact is journaled when it was real: a signed answer to this call's nonce. Nothing else prolongs the lease.
 - Memory holds one batch and one record at a time, however long the line was down.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from devices.clock import Clock
from devices.durable import open_made
from devices.errors import (
    AcknowledgementError,
    DecisionNotFoundError,
    DeviceKeyError,
    JournalDamagedError,
    RecordErasedError,
    SyncError,
    SyncRefusedError,
)
from edge.journal.entry import Entry, Head
from edge.offline.sync_answer import Answer, unpack_answer
from edge.offline.sync_message import Call, Piece, Signer, device_id
from edge.offline.sync_notes import NOTE_KINDS, entry_of_note
from edge.offline.sync_policy import SyncPolicy
from edge.offline.sync_seal import seal_record

log = logging.getLogger(__name__)

_LOCK = "sync.lock"
_ENTRIES = 200  # of a batch at most
_SMALLEST_BYTES = 16 * 1024  # of a batch, once the line was cut in the middle of larger ones
_LARGEST_BYTES = 512 * 1024  # NATS takes messages of a megabyte unless told otherwise
_CONTACT_EVERY = timedelta(minutes=10)  # an entry for each call would be most of the journal
_PAPERS_OF = {"none": (), "decision": ("receipt", "application"), "all": None}


class Journal(Protocol):
    """What a session needs of ``edge.journal.store.Journal``."""

    def append(self, kind: str, body: Mapping[str, Any], *, records: Mapping[str, bytes] = ...) -> Entry: ...  # noqa: D102
    def entry(self, seq: int) -> Entry: ...  # noqa: D102
    def entries(  # noqa: D102
        self, *, after: int = ..., kinds: Collection[str] | None = ..., limit: int | None = ...
    ) -> Iterator[Entry]: ...
    def record(self, entry: Entry, name: str) -> bytes: ...  # noqa: D102
    def head(self) -> Head: ...  # noqa: D102
    def decision(self, decision_id: str) -> Entry: ...  # noqa: D102
    def unsent(self, *, limit: int) -> list[Entry]: ...  # noqa: D102
    def mark_sent(self, seqs: Collection[int], head: Head) -> None: ...  # noqa: D102


class Uplink(Protocol):
    """The way to headquarters: HTTPS or NATS."""

    name: str

    def exchange(self, pieces: Sequence[Piece], call: Call) -> bytes:
        """Bring ``pieces`` and ``call`` up; returns headquarters' answer as it came, which nobody has checked.

        Raises:
            SyncError: Nothing came back, or a refusal.
        """

    def close(self) -> None:
        """Hang up; the next exchange connects anew."""


@dataclass(frozen=True)
class Outcome:
    """What a session did.

    Attributes:
        sent: Entries that headquarters acknowledged.
        notes: Verdicts, disagreements and revocations that came down and were journaled.
        refused: Why headquarters did not take an entry, by its number.
        busy: Another process of this device was at it; nothing was done.
    """

    sent: int = 0
    notes: int = 0
    refused: Mapping[int, str] = field(default_factory=dict)
    busy: bool = False


class Session:
    """Calls until nothing waits on either side.

    Args:
        journal: The device's.
        keys: The device's; its public key names it.
        uplink: The way.
        policy: ``[sync]`` of the signed policy.
        clock: The device's; it learns headquarters' time.
        state: Where the lock lies that keeps it to one session at a time.
    """

    def __init__(
        self, journal: Journal, keys: Signer, uplink: Uplink, policy: SyncPolicy, *, clock: Clock, state: Path
    ) -> None:
        self._journal, self._uplink, self._clock, self._state = journal, uplink, clock, state
        self._device = device_id(keys.public_bytes)
        self._headquarters = Ed25519PublicKey.from_public_bytes(bytes.fromhex(policy.acknowledged_by))
        sealed_for = bytes.fromhex(policy.sealed_for)
        self._sealing = X25519PublicKey.from_public_bytes(sealed_for) if sealed_for else None
        self._papers = _PAPERS_OF[policy.papers]
        self._notes_key = X25519PrivateKey.generate()  # gone with the process, so a recorded answer never opens again
        self._budget = _LARGEST_BYTES
        self._acked: set[str] = set()  # pieces of entries that are not whole at headquarters yet
        self._refused: dict[int, str] = {}
        self._told_refusals = 0
        self._wanted: list[int] = []
        self._asked: set[int] = set()
        self._contacts: set[int] = set()
        self._erased: set[int] = set()  # erasures of which headquarters has destroyed its copies
        self._sent = self._notes = 0
        self._reached: Call | None = None
        self._told = False  # whether this run sent anything but that there was contact
        self._looked_at = self._last_note = 0
        self._last_contact: datetime | None = None

    def run(self, stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Call until nothing waits, or ``stop``. What was acknowledged before an error stays acknowledged.

        Raises:
            SyncError: The line, headquarters, or its answer failed; what is left waits for the next session.
        """
        with _alone(self._state) as alone:
            if not alone:
                return Outcome(busy=True)
            self._sent, self._notes, self._told, self._reached = 0, 0, False, None
            self._refused, self._wanted, self._asked, self._contacts, self._erased = {}, [], set(), set(), set()
            self._look_back()
            try:
                try:
                    self._calls(stop)
                finally:  # what was acknowledged before the line broke was contact too
                    journaled = self._journal_contact()
                if journaled:
                    self._calls(stop)
            finally:
                self._uplink.close()
            self._tell_refusals()
            return Outcome(self._sent, self._notes, dict(self._refused))

    def _tell_refusals(self) -> None:
        if len(self._refused) != self._told_refusals and self._refused:  # not every few minutes the same
            seq = min(self._refused)
            log.error("Headquarters refuses entry %d, %d in all: %s.", seq, len(self._refused), self._refused[seq])
        self._told_refusals = len(self._refused)

    def _calls(self, stop: Callable[[], bool]) -> None:
        while not stop():
            pieces, whole = self._batch()
            call = Call.make(self._clock.now(), self._head(), self._last_note, pieces, self._notes_key.public_key())
            answer = self._exchange(pieces, call)
            self._reached = call
            self._take(pieces, whole, answer, call)
            before = self._notes
            self._journal_notes(answer)
            more = answer.more and self._notes > before
            if not pieces and not more and not set(self._wanted) - self._asked:
                return

    def _exchange(self, pieces: Sequence[Piece], call: Call) -> Answer:
        try:
            data = self._uplink.exchange(pieces, call)
        except SyncRefusedError:
            raise
        except SyncError:
            self._budget = max(_SMALLEST_BYTES, self._budget // 2)  # a shorter message may fit between two cuts
            raise
        answer = unpack_answer(data, self._headquarters, self._device, call, self._notes_key)
        self._budget = min(_LARGEST_BYTES, self._budget * 2)
        self._clock.saw(answer.time)
        return answer

    def _batch(self) -> tuple[list[Piece], dict[int, list[str]]]:
        """The next pieces, and for each entry of which all pieces are known their ids."""
        pieces: list[Piece] = []
        whole: dict[int, list[str]] = {}
        size = 0
        for entry in self._waiting():
            ids = []
            for piece in self._pieces(entry):
                ids.append(piece.id)
                if piece.id in self._acked:
                    continue
                if pieces and size + len(piece.data) > self._budget:
                    return pieces, whole
                pieces.append(piece)
                size += len(piece.data)
            whole[entry.seq] = ids
            if entry.kind == "contact":
                self._contacts.add(entry.seq)
        return pieces, whole

    def _waiting(self) -> Iterator[Entry]:
        waiting = self._journal.unsent(limit=_ENTRIES + len(self._refused))
        fresh = [entry for entry in waiting if entry.seq not in self._refused]
        yield from fresh
        if not fresh:  # what headquarters lost, as after a restored backup
            for seq in self._wanted:
                if seq not in self._asked:
                    with suppress(DecisionNotFoundError):  # a salvaged journal lost it
                        yield self._journal.entry(seq)
                    self._asked.add(seq)

    def _pieces(self, entry: Entry) -> Iterator[Piece]:
        yield Piece(entry.seq, entry.hash, "", 0, 1, entry.signature + entry.raw)
        if self._sealing is None:
            return
        for ref in entry.records:
            if self._papers is not None and ref.name not in self._papers:
                continue
            try:
                data = self._journal.record(entry, ref.name)
            except RecordErasedError:  # the person was erased before the line came back
                continue
            except (JournalDamagedError, DeviceKeyError) as error:  # one bad block keeps nothing else from headquarters
                log.error("%s", error)
                continue
            yield from seal_record(self._sealing, self._device, entry.seq, entry.hash, ref.name, data)

    def _head(self) -> tuple[int, str]:
        head = self._journal.head()
        return head.seq, head.hash

    def _take(self, pieces: Sequence[Piece], whole: Mapping[int, list[str]], answer: Answer, call: Call) -> None:
        self._acked |= answer.held
        self._erased |= answer.erased.keys()
        for piece in pieces:
            if piece.id in answer.refused and piece.seq not in self._refused:
                self._refused[piece.seq] = answer.refused[piece.id]
        done = [seq for seq, ids in whole.items() if self._acked.issuperset(ids)]
        if done:
            self._journal.mark_sent(done, Head(call.head_seq, call.head_hash))
            self._sent += len(done)
            self._told = self._told or not self._contacts.issuperset(done)
            for seq in done:
                self._acked.difference_update(whole[seq])
        self._asked |= {piece.seq for piece in pieces}
        self._wanted = [seq for seq in answer.wanted if 0 < seq <= call.head_seq]
        if pieces and not answer.held and not answer.refused:
            raise SyncError("Headquarters answers, but holds nothing of what it was sent.")

    def _look_back(self) -> None:
        """The last note and the last contact, from what was journaled since the last look."""
        for entry in self._journal.entries(after=self._looked_at, kinds=(*NOTE_KINDS, "contact")):
            self._looked_at = entry.seq
            self._last_note = max(self._last_note, entry.body.get("note", 0))
            if entry.kind == "contact":
                self._last_contact = entry.time

    def _knows(self, decision_id: str) -> bool:
        try:
            self._journal.decision(decision_id)
        except DecisionNotFoundError:
            return False
        return True

    def _journal_notes(self, answer: Answer) -> None:
        for note in answer.notes:
            if note.get("n") == self._last_note + 1:
                kind, body, records = entry_of_note(note, self._knows)
                self._journal.append(kind, body, records=records)
                self._last_note, self._notes = self._last_note + 1, self._notes + 1
            elif not isinstance(note.get("n"), int) or note["n"] > self._last_note:
                raise AcknowledgementError(
                    f"Headquarters' note {self._last_note + 1} is missing; it sent {note.get('n')!r}."
                )

    def _journal_contact(self) -> bool:
        """Keep that headquarters was reached, and which head it has seen; whether that was worth an entry."""
        call, last = self._reached, self._last_contact
        if call is None:
            return False
        if not (self._told or self._notes) and last and self._clock.now() - last < _CONTACT_EVERY:
            return False
        body = {"head": {"seq": call.head_seq, "hash": call.head_hash}, "via": self._uplink.name}
        erased = {"erased": sorted(self._erased)} if self._erased else {}
        self._journal.append("contact", body | {"acknowledged": self._sent} | erased)
        self._erased = set()
        return True


@contextmanager
def _alone(state: Path) -> Iterator[bool]:
    """Whether no other session of this device runs; it ends with the process at the latest."""
    try:
        descriptor = open_made(state / _LOCK)
    except OSError as error:
        raise SyncError(f"{state / _LOCK} cannot be opened: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
