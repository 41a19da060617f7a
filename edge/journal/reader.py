"""Looking into the journal. Nothing here changes it; what is appended meanwhile is seen."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from devices.errors import DecisionNotFoundError, JournalDamagedError, RecordErasedError
from edge.journal.database import DATABASE_NAME, translated
from edge.journal.entry import NO_HASH, Entry, Head, parse
from edge.journal.keys import DeviceKeys
from edge.journal.retention import used_bytes
from edge.journal.sealing import unseal

COLUMNS = "SELECT line, signature FROM entries"
_PAGE = 256  # entries read at a time, so that a long look holds no lock and little memory


@dataclass(frozen=True)
class Stats:
    """A journal in numbers.

    Attributes:
        kinds: Entries by kind.
        first: Time of the first entry.
        last: Time of the last entry.
        backlog: Entries that headquarters has not acknowledged.
        size_bytes: What the file holds.
        readable: Entries whose records can still be read.
        erased: Entries whose records were erased or retired.
        pictures: Papers that are still kept.
    """

    kinds: Mapping[str, int]
    first: datetime
    last: datetime
    backlog: int
    size_bytes: int
    readable: int
    erased: int
    pictures: int


class JournalReader:
    """What can be asked of an open journal; ``edge.journal.store.Journal`` adds what changes it."""

    def __init__(self, folder: Path, keys: DeviceKeys, connection: sqlite3.Connection) -> None:
        self.folder, self.keys = folder, keys
        self._connection = connection
        self._mutex = threading.RLock()

    def entry(self, seq: int) -> Entry:
        """The entry of that number.

        Raises:
            DecisionNotFoundError: There is none.
            JournalDamagedError: It cannot be read.
        """
        rows = self._rows(f"{COLUMNS} WHERE seq = ?", (seq,))
        if not rows:
            raise DecisionNotFoundError(f"The journal has no entry {seq}.")
        return self._parsed(*rows[0])

    def entries(
        self, *, after: int = 0, kinds: Collection[str] | None = None, limit: int | None = None
    ) -> Iterator[Entry]:
        """Entries in their order, those appended meanwhile too.

        Args:
            after: Only those with a higher number.
            kinds: Only of these kinds.
            limit: At most so many.

        Raises:
            JournalDamagedError: One cannot be read.
        """
        left = limit
        chosen = list(kinds or ())
        where = f" AND kind IN ({','.join('?' * len(chosen))})" if kinds is not None else ""
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            rows = self._rows(f"{COLUMNS} WHERE seq > ?{where} ORDER BY seq LIMIT ?", (after, *chosen, size))
            for row in rows:
                entry = self._parsed(*row)
                after = entry.seq
                yield entry
            left = None if left is None else left - len(rows)
            if len(rows) < size:
                return

    def latest(self, kind: str, *, before: int | None = None, limit: int) -> list[Entry]:
        """The last entries of a kind, the last one first.

        Args:
            kind: Of this kind.
            before: Only those with a lower number.
            limit: At most so many.

        Raises:
            JournalDamagedError: One cannot be read.
        """
        bound = self._last()[0] + 1 if before is None else before
        query = f"{COLUMNS} WHERE kind = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        return [self._parsed(*row) for row in self._rows(query, (kind, bound, limit))]

    def count(self, kind: str) -> int:
        """How many entries are of that kind."""
        return int(self._rows("SELECT count(*) FROM entries WHERE kind = ?", (kind,))[0][0])

    def has_readable(self, kind: str, after: int, before: int) -> bool:
        """Whether the records of an entry of that kind, between two numbers, can still be read."""
        query = "SELECT 1 FROM record_keys JOIN entries USING (seq) WHERE seq > ? AND seq < ? AND kind = ? LIMIT 1"
        return bool(self._rows(query, (after, before, kind)))

    def decision(self, decision_id: str) -> Entry:
        """The decision of that id.

        Raises:
            DecisionNotFoundError: It is not in this journal.
        """
        rows = self._rows(f"{COLUMNS} WHERE decision = ? AND kind = 'decision'", (str(decision_id),))
        if not rows:
            raise DecisionNotFoundError(f"The journal has no decision {decision_id}.")
        return self._parsed(*rows[0])

    def about(self, decision_id: str) -> list[Entry]:
        """Every entry about a decision in their order: itself, reviews, requests, an erasure."""
        return [self._parsed(*row) for row in self._rows(f"{COLUMNS} WHERE decision = ? ORDER BY seq", (decision_id,))]

    def record(self, entry: Entry, name: str) -> bytes:
        """A record of ``entry``, decrypted.

        Raises:
            DecisionNotFoundError: The entry never had a record of that name.
            RecordErasedError: It was erased or retired.
            JournalDamagedError: It is not what the entry says.
        """
        ref = next((each for each in entry.records if each.name == name), None)
        if ref is None:
            raise DecisionNotFoundError(f"Entry {entry.code} has no record {name!r}.")
        wrapped = self._rows("SELECT wrapped FROM record_keys WHERE seq = ?", (entry.seq,))
        sealed = self._rows("SELECT ciphertext FROM records WHERE seq = ? AND name = ?", (entry.seq, name))
        if not wrapped or not sealed:
            raise RecordErasedError(f"The record {name!r} of entry {entry.code} was erased or retired.")
        ciphertext = sealed[0][0]
        if hashlib.sha256(ciphertext).hexdigest() != ref.sha256:
            raise JournalDamagedError(f"The record {name!r} of entry {entry.code} is not what the entry says.")
        try:
            return unseal(ciphertext, wrapped[0][0], self.keys, entry.seq, entry.kind, name)
        except ValueError as error:
            raise JournalDamagedError(f"The record {name!r} of entry {entry.code} does not open.") from error

    def erased(self, entry: Entry) -> bool:
        """Whether the records of ``entry`` can no longer be read: it has some, and their key is gone."""
        return bool(entry.records) and not self._rows("SELECT 1 FROM record_keys WHERE seq = ?", (entry.seq,))

    def head(self) -> Head:
        """The last entry's number and hash, signed now."""
        seq, digest = self._last()
        return self.keys.sign_head(seq, digest)

    def unsent(self, *, limit: int) -> list[Entry]:
        """What headquarters has not acknowledged: flagged decisions first, then by number."""
        rows = self._rows(
            "SELECT line, signature FROM unsent JOIN entries USING (seq) ORDER BY later, seq LIMIT ?", (limit,)
        )
        return [self._parsed(*row) for row in rows]

    def backlog(self) -> int:
        """How many entries headquarters has not acknowledged."""
        return int(self._rows("SELECT count(*) FROM unsent", ())[0][0])

    def stats(self) -> Stats:
        """The journal in numbers."""

        def number(query: str) -> int:
            return int(self._rows(query, ())[0][0])

        ends = [self._parsed(*self._rows(f"{COLUMNS} ORDER BY seq {way} LIMIT 1", ())[0]).time for way in ("", "DESC")]
        with_records = number(
            "SELECT count(*) FROM entries WHERE json_extract(CAST(line AS TEXT), '$.key') IS NOT NULL"
        )
        readable = number("SELECT count(*) FROM record_keys")
        with self._mutex, translated(self._path):
            size = used_bytes(self._connection)
        return Stats(
            kinds=dict(self._rows("SELECT kind, count(*) FROM entries GROUP BY kind ORDER BY kind", ())),
            first=ends[0],
            last=ends[1],
            backlog=self.backlog(),
            size_bytes=size,
            readable=readable,
            erased=with_records - readable,
            pictures=number("SELECT count(*) FROM records WHERE name >= 'document/' AND name < 'document0'"),
        )

    @property
    def _path(self) -> Path:
        return self.folder / DATABASE_NAME

    def _last(self) -> tuple[int, str]:
        rows = self._rows("SELECT seq, line FROM entries ORDER BY seq DESC LIMIT 1", ())
        return (int(rows[0][0]), hashlib.sha256(rows[0][1]).hexdigest()) if rows else (0, NO_HASH)

    def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._mutex, translated(self._path):
            return self._connection.execute(query, values).fetchall()

    def _parsed(self, line: bytes, signature: bytes) -> Entry:
        try:
            return parse(line, signature)
        except ValueError as error:
            raise JournalDamagedError(f"An entry of the journal {self._path} cannot be read: {error}.") from error
