"""Whether a journal is as it was written: every line, every record, and the end of it. Only reads.

What is found, and where it is named:
 - a changed, inserted, moved or recomputed entry: at its own number, by signature, number and hash of the one before;
 - a deleted entry: at its number;
 - a tail that was cut off: at the first number that is missing, by the head that is kept outside;
 - a changed, exchanged or missing record or record key: at its entry, unless an erasure or a retention entry says it;
 - a damaged page: at the entry that cannot be read, or as a fault of the file.

Entries that a salvage declared lost are no finding; they are said in a note.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices.errors import JournalDamagedError
from edge.journal.anchor import Anchor
from edge.journal.database import DATABASE_NAME, UNREADABLE, read_only, translated
from edge.journal.entry import NO_HASH, Entry, Head, parse, signed_bytes
from edge.journal.keys import DeviceKeys, verifies
from edge.journal.sealing import key_hash

_PICTURE = "document/"


@dataclass(frozen=True, order=True)
class Finding:
    """Something wrong; ``seq`` is the entry's number, 0 where it is the file as a whole."""

    seq: int
    what: str

    def __str__(self) -> str:
        return f"Entry {self.seq}: {self.what}." if self.seq else f"The file: {self.what}."


@dataclass(frozen=True)
class Verification:
    """What was found.

    Attributes:
        entries: How many were read.
        head: The last of them; None in an empty journal.
        findings: Everything wrong, by number; none in a good journal.
        notes: What a reader should know though it is in order: losses that a salvage declared, times that run back.
    """

    entries: int
    head: Head | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def first(self) -> Finding | None:
        """The first bad entry; a fault of the file only if no entry is bad."""
        return next((each for each in self.findings if each.seq), next(iter(self.findings), None))


def verify_journal(folder: Path, keys: DeviceKeys) -> Verification:
    """Verify the journal in ``folder``, while others may append to it.

    Raises:
        JournalDamagedError: It is missing or no database, or the head that was kept outside is.
        JournalError: It cannot be read.
    """
    path = folder / DATABASE_NAME
    with translated(path):
        anchored = Anchor(keys.folder).read(keys.public)  # before the database: what is appended meanwhile is behind it
        if not path.exists():
            raise JournalDamagedError(f"The journal {path} is missing; its last entry was {anchored.code}.")
        with closing(read_only(path)) as connection:
            connection.execute("BEGIN")
            return verify_database(connection, keys.public, anchored)


def verify_database(connection: sqlite3.Connection, public: Ed25519PublicKey, anchored: Head | None) -> Verification:
    """Verify a journal in an open database; ``anchored`` is the head that was kept outside."""
    chain = _Chain(connection, public, anchored)
    try:
        for seq, line, signature, kind, decision in connection.execute(
            "SELECT seq, line, signature, kind, decision FROM entries ORDER BY seq"
        ):
            chain.take(seq, line, signature, kind, decision)
    except (*UNREADABLE, ValueError, OverflowError) as error:
        chain.found(chain.last + 1, f"it cannot be read: {error}")
    chain.end()
    chain.strays()
    chain.file()
    return chain.verification()


def verify_entry(entry: Entry, seq: int, prev: str | None, public: Ed25519PublicKey) -> str | None:
    """What is wrong with one entry that stands at ``seq`` after the hash ``prev``, None where that is not known."""
    if not verifies(public, entry.signature, signed_bytes(entry.hash)):
        return "it is not what the device signed: it was changed, or written by somebody else"
    if entry.seq != seq:
        return f"in its place stands entry {entry.seq}"
    if prev is not None and entry.prev != prev:
        return "it does not follow the entry before it"
    if seq == 1 and (
        entry.kind not in ("genesis", "salvage") or entry.body.get("public_key") != public.public_bytes_raw().hex()
    ):
        return "it is not the beginning of this device's journal"
    return None


@dataclass
class _Chain:
    """The walk along the entries."""

    connection: sqlite3.Connection
    public: Ed25519PublicKey
    anchored: Head | None
    last: int = 0
    prev: str | None = NO_HASH
    count: int = 0
    head: Head | None = None
    hash_at_anchor: str | None = None
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)  # first and last number that is missing
    missing: list[tuple[int, str, str]] = field(default_factory=list)  # entry, record ("": the key of all), what
    erased: set[int] = field(default_factory=set)
    pictures_gone: set[int] = field(default_factory=set)
    lost: list[tuple[int, int]] = field(default_factory=list)
    lost_records: set[tuple[int, str]] = field(default_factory=set)

    def found(self, seq: int, what: str) -> None:
        self.findings.append(Finding(seq, what))

    def take(self, seq: int, line: Any, signature: Any, kind: Any, decision: Any) -> None:
        """The next row."""
        self.count += 1
        if seq > self.last + 1:
            self.gaps.append((self.last + 1, seq - 1))
            self.prev = None
        if seq <= self.last:
            self.found(seq, "it stands in a place where none can be")
            return
        self.last = seq
        try:
            entry = parse(bytes(line), bytes(signature))
        except (ValueError, TypeError) as error:
            self.found(seq, f"it was changed: {error}")
            self.prev = None
            return
        wrong = verify_entry(entry, seq, self.prev, self.public)
        self.prev = entry.hash
        if wrong:
            self.found(seq, wrong)
            return
        named = entry.body.get("decision_id")
        if entry.kind != kind or (None if named is None else str(named)) != decision:
            self.found(seq, "the index beside it was changed")
        self.head = Head(entry.seq, entry.hash)
        if self.anchored and self.anchored.seq == entry.seq:
            self.hash_at_anchor = entry.hash
        self._learn(entry)
        self._records(entry)

    def _learn(self, entry: Entry) -> None:
        """What later entries say of earlier ones."""
        body = entry.body
        if entry.kind in ("erasure", "retention"):
            self.erased.update(body.get("entries", ()))
            self.pictures_gone.update(body.get("documents", ()))
        elif entry.kind == "salvage":
            self.lost += [(start, end) for start, end in body["lost"]]
            self.lost_records.update((seq, name) for seq, name in body["lost_records"])
            self.notes.append(f"Entry {entry.seq} says what a salvage on {entry.time:%Y-%m-%d} found lost.")
            if not body["remembered"]:
                self.notes.append("The head was lost then too: what came after the entries that it found is not known.")

    def _records(self, entry: Entry) -> None:
        if not entry.records:
            return
        seq = entry.seq
        try:
            key = self.connection.execute("SELECT day, wrapped FROM record_keys WHERE seq = ?", (seq,)).fetchone()
            if key is None:
                self.missing.append((seq, "", "the key of its records is missing, and no entry says why"))
                return
            if key_hash(key[0], key[1]) != entry.key:
                self.found(seq, "the key of its records was changed")
            for ref in entry.records:
                row = self.connection.execute(
                    "SELECT ciphertext FROM records WHERE seq = ? AND name = ?", (seq, ref.name)
                ).fetchone()
                if row is None:
                    self.missing.append((seq, ref.name, f"its record {ref.name} is missing, and no entry says why"))
                elif hashlib.sha256(row[0]).hexdigest() != ref.sha256:
                    self.found(seq, f"its record {ref.name} was changed or exchanged")
        except (*UNREADABLE, TypeError, OverflowError) as error:
            self.found(seq, f"its records cannot be read: {error}")

    def end(self) -> None:
        """The end of the chain, and what is missing without a word."""
        anchored = self.anchored
        if anchored and anchored.seq > self.last:
            self.gaps.append((self.last + 1, anchored.seq))
        elif anchored and anchored.seq and self.hash_at_anchor != anchored.hash:
            self.found(anchored.seq, f"it is not {anchored.code}, which the device remembers as its last entry")
        broken = bool(self.findings)
        for start, end in self.gaps:
            for lost_from, lost_to in sorted(self.lost):
                if lost_from <= start:
                    start = max(start, lost_to + 1)
            if start <= end:
                cut = f"; the journal's last entry was {anchored.code}" if anchored and end == anchored.seq else ""
                self.found(start, f"it is missing{cut}")
                broken = True
        if broken and self.missing:
            self.notes.append("Whether missing records were erased cannot be said: what says it may be among the bad.")
            return
        for seq, record, what in self.missing:
            if not self._said(seq, record):
                self.found(seq, what)

    def _said(self, seq: int, record: str) -> bool:
        if seq in self.erased or (seq, record) in self.lost_records:
            return True
        return record.startswith(_PICTURE) and seq in self.pictures_gone

    def strays(self) -> None:
        """Rows that belong to no entry, or are still there though their entry's erasure was said."""
        for table in ("record_keys", "records", "unsent"):
            self._each(
                f"SELECT seq FROM {table} WHERE seq NOT IN (SELECT seq FROM entries) LIMIT 1",  # noqa: S608
                f"a row of {table} belongs to no entry",
            )
        for seq in sorted(self.erased):
            for table in ("record_keys", "records"):
                query = f"SELECT seq FROM {table} WHERE seq = {int(seq)} LIMIT 1"  # noqa: S608
                self._each(query, "its records were erased, and something of them is still there")
        rows = "SELECT seq, name FROM records"
        self._each(f"{rows} WHERE seq NOT IN (SELECT seq FROM record_keys) LIMIT 1", "it has a record without a key")  # noqa: S608

    def _each(self, query: str, what: str) -> None:
        try:
            rows: Iterable[tuple[Any, ...]] = self.connection.execute(query).fetchall()
        except UNREADABLE as error:
            self.found(0, f"it cannot be read: {error}")
            return
        for row in rows:
            self.found(row[0] if isinstance(row[0], int) else 0, what)

    def file(self) -> None:
        """The pages of the file, and its indexes against its tables."""
        try:
            said = [str(row[0]) for row in self.connection.execute("PRAGMA integrity_check(1)")]
        except UNREADABLE as error:
            said = [str(error)]
        if said != ["ok"]:
            self.found(0, f"SQLite finds it damaged: {'; '.join(said)}")

    def verification(self) -> Verification:
        return Verification(self.count, self.head, tuple(sorted(set(self.findings))), tuple(self.notes))
