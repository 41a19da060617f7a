"""A new journal of what verifies in a damaged one. Never by itself: a person asks for it, and what is lost is said.

What was appended keeps its number, its hash and its signature; the new journal goes on after the last number that the
device remembers, with an entry ``salvage`` that names every number and record that is lost. So headquarters sees one
chain with a gap that is owned up to, and may still hold what is missing. The damaged file is kept beside for the
auditor. Erasures do not reach into it, so it is to be destroyed when it has been looked at.

Two passes: entry by entry through SQLite, then, for what it cannot reach, over the bytes of file and log: an entry is a
line of JSON with its signature behind it, which is enough to know it again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from devices.durable import make_directory, open_made, sync_directory
from devices.errors import JournalDamagedError, JournalError
from edge.journal.anchor import Anchor
from edge.journal.database import (
    DATABASE_NAME,
    IN_USE_NAME,
    SCHEMA,
    UNREADABLE,
    connect,
    create_tables,
    read_only,
    transaction,
    translated,
)
from edge.journal.entry import NO_HASH, Entry, Head, is_flagged, parse
from edge.journal.keys import DeviceKeys
from edge.journal.sealing import key_hash
from edge.journal.store import Journal
from edge.journal.verify import verify_entry, verify_journal

_LINE_START = re.compile(rb'\{"body":\{')
_LINE_END = re.compile(rb',"v":\d+\}')
_LONGEST_LINE = 1 << 20
_SIGNATURE_BYTES = 64
_SHORTEST_ROW = 128  # bytes that an entry takes at least
_AHEAD = 16  # entries that the head, kept after each commit, may lag behind


@dataclass(frozen=True)
class Salvage:
    """What became of a damaged journal.

    Attributes:
        kept: Entries that verify.
        lost: First and last numbers of what is lost.
        lost_records: Number and name of records that are lost though their entry is kept.
        damaged: Where the damaged journal is kept; None where there was none left.
        head: Of the new journal.
    """

    kept: int
    lost: tuple[tuple[int, int], ...]
    lost_records: tuple[tuple[int, str], ...]
    damaged: Path | None
    head: Head


def salvage(folder: Path, keys: DeviceKeys, *, now: Callable[[], datetime]) -> Salvage:
    """Make a new journal of what verifies in the one in ``folder``.

    Raises:
        JournalError: The journal is good, another process uses it, or the new one cannot be written.
    """
    anchor = Anchor(keys.folder)
    draft = folder.with_name(f"{folder.name}.new")
    with translated(folder):
        if not anchor.exists() and not folder.exists():
            raise JournalError("This device has no journal.", state="Nothing was done.", remedy="It begins by itself.")
        remembered = _remembered(anchor, keys)
        finished = not folder.exists() and draft.exists()  # the power went between the two renames below
        make_directory(folder)
        with _alone(folder):
            if not finished and _is_good(folder, keys):
                raise JournalError(
                    f"The journal {folder} verifies: there is nothing to salvage.",
                    state="Nothing was done.",
                    remedy="No step is needed.",
                )
            if not finished:
                _remove(draft)
                make_directory(draft)
                _rebuild(folder / DATABASE_NAME, draft / DATABASE_NAME, keys, remembered, now)
            damaged = None if finished else _beside(folder)
            if damaged is None:
                _remove(folder)
            else:
                folder.rename(damaged)
            draft.rename(folder)
            sync_directory(folder.parent)
            return _taken_over(folder, keys, damaged, now)


def _taken_over(folder: Path, keys: DeviceKeys, damaged: Path | None, now: Callable[[], datetime]) -> Salvage:
    """Keep the new journal's head, and read from it what it says of itself."""
    anchor = Anchor(keys.folder)
    with closing(connect(folder / DATABASE_NAME)) as connection:
        line, signature = connection.execute("SELECT line, signature FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        count = connection.execute("SELECT count(*) FROM entries").fetchone()[0]
    entry = parse(line, signature)
    head = keys.sign_head(entry.seq, entry.hash)
    if not anchor.exists():
        anchor.begin(keys)
    anchor.write(head)
    Journal.open(folder, keys, now=now).close()
    lost = tuple((int(start), int(end)) for start, end in entry.body["lost"])
    return Salvage(count - 1, lost, tuple((int(s), str(n)) for s, n in entry.body["lost_records"]), damaged, head)


def _remembered(anchor: Anchor, keys: DeviceKeys) -> Head:
    try:
        return anchor.read(keys.public)
    except (FileNotFoundError, JournalDamagedError):
        return Head(0, NO_HASH)  # then only what is found counts


def _is_good(folder: Path, keys: DeviceKeys) -> bool:
    try:
        return not verify_journal(folder, keys).findings
    except (JournalError, FileNotFoundError):
        return False


def _rebuild(old: Path, new: Path, keys: DeviceKeys, remembered: Head, now: Callable[[], datetime]) -> None:
    found: dict[int, Entry] = {}
    size = old.stat().st_size if old.exists() else 0
    os.close(open_made(new))
    with closing(connect(new)) as target, closing(_source(old)) as source:
        with transaction(target):
            create_tables(target, SCHEMA)
            for entry in [*_through_sqlite(source, remembered.seq, size // _SHORTEST_ROW), *_through_bytes(old)]:
                if entry.seq not in found and verify_entry(entry, entry.seq, None, keys.public) is None:
                    found[entry.seq] = entry
            gone = _gone(found)
            lost_records = list[tuple[int, str]]()
            for seq in sorted(found):
                lost_records += _copy(source, target, found[seq], gone)
            last = max(found, default=0)
            end = max(last, remembered.seq)
            body = {
                "public_key": keys.public_bytes.hex(),
                "remembered": remembered.seq or None,  # without it nobody knows whether the end is the end
                "lost": _ranges(found, end),
                "lost_records": [list(each) for each in lost_records],
            }
            journal = Journal(new.parent, keys, target, now=now)
            after = Head(last, found[last].hash) if last == end and found else remembered
            journal._append("salvage", body, {}, after=after)
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _source(old: Path) -> sqlite3.Connection:
    """The damaged database, read-only; an empty one where there is none to open."""
    if not old.exists():
        return sqlite3.connect(":memory:")
    return read_only(old)


def _through_sqlite(source: sqlite3.Connection, last: int, most: int) -> Iterator[Entry]:
    """Every entry that SQLite can reach, each looked up by itself: one bad page ends no walk.

    Args:
        source: The damaged database.
        last: The last number that the device remembers; 0 if none.
        most: More rows than the file can hold, so that a damaged page cannot make this endless.
    """
    numbers = set(range(1, last + _AHEAD))
    for way in ("", "DESC"):  # where no number is remembered, and for what was appended after it
        with suppress(*UNREADABLE):
            numbers.update(seq for (seq,) in source.execute(f"SELECT seq FROM entries ORDER BY seq {way} LIMIT {most}"))  # noqa: S608
    for seq in sorted(numbers):
        try:
            row = source.execute("SELECT line, signature FROM entries WHERE seq = ?", (seq,)).fetchone()
            if row is not None:
                yield parse(bytes(row[0]), bytes(row[1]))
        except (*UNREADABLE, ValueError, TypeError):
            continue


def _through_bytes(old: Path) -> Iterator[Entry]:
    """Every entry that stands in one piece in the bytes of the file or its log."""
    for path in (old, old.with_name(f"{old.name}-wal")):
        if not path.exists():
            continue
        data = path.read_bytes()
        for start in _LINE_START.finditer(data):
            end = _LINE_END.search(data, start.start(), start.start() + _LONGEST_LINE)
            if end is not None:
                try:
                    yield parse(data[start.start() : end.end()], data[end.end() : end.end() + _SIGNATURE_BYTES])
                except ValueError:
                    continue


def _gone(found: dict[int, Entry]) -> tuple[set[int], set[int]]:
    """The entries whose records, and those whose pictures, were let go of on purpose."""
    said = [entry.body for entry in found.values() if entry.kind in ("erasure", "retention")]
    return {s for body in said for s in body.get("entries", ())}, {
        s for body in said for s in body.get("documents", ())
    }


def _copy(
    source: sqlite3.Connection, target: sqlite3.Connection, entry: Entry, gone: tuple[set[int], set[int]]
) -> list[tuple[int, str]]:
    """Put an entry with its records into the new journal; returns the records that are lost."""
    decision = entry.body.get("decision_id")
    values = (entry.seq, entry.raw, entry.signature, entry.kind, None if decision is None else str(decision))
    target.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", values)
    target.execute("INSERT INTO unsent VALUES (?, ?)", (0 if is_flagged(entry) else 1, entry.seq))
    erased, pictures = gone
    if not entry.records or entry.seq in erased:
        return []
    key = _one(source, "SELECT day, wrapped FROM record_keys WHERE seq = ?", entry.seq)
    if key is None or key_hash(key[0], key[1]) != entry.key:
        return [(entry.seq, ""), *((entry.seq, ref.name) for ref in entry.records)]
    target.execute("INSERT INTO record_keys VALUES (?, ?, ?)", (entry.seq, *key))
    lost = []
    for ref in entry.records:
        row = _one(source, "SELECT ciphertext FROM records WHERE seq = ? AND name = ?", entry.seq, ref.name)
        if row is not None and hashlib.sha256(row[0]).hexdigest() == ref.sha256:
            target.execute("INSERT INTO records VALUES (?, ?, ?)", (entry.seq, ref.name, row[0]))
        elif not (ref.name.startswith("document/") and entry.seq in pictures):
            lost.append((entry.seq, ref.name))
    return lost


def _one(source: sqlite3.Connection, query: str, *values: object) -> tuple[Any, ...] | None:
    try:
        row: tuple[Any, ...] | None = source.execute(query, values).fetchone()
    except UNREADABLE:
        return None
    return row


def _ranges(found: dict[int, Entry], end: int) -> list[list[int]]:
    """First and last numbers of what is missing from 1 to ``end``."""
    ranges: list[list[int]] = []
    for seq in range(1, end + 1):
        if seq not in found:
            if ranges and ranges[-1][1] == seq - 1:
                ranges[-1][1] = seq
            else:
                ranges.append([seq, seq])
    return ranges


def _beside(folder: Path) -> Path:
    """A free name for the damaged journal."""
    numbers = iter(range(1, 10_000))
    return next(path for n in numbers if not (path := folder.with_name(f"{folder.name}.damaged-{n}")).exists())


def _remove(draft: Path) -> None:
    if draft.exists():
        for path in draft.iterdir():
            path.unlink()
        draft.rmdir()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else has the journal open.

    Raises:
        JournalError: Somebody has.
    """
    descriptor = open_made(folder / IN_USE_NAME)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise JournalError(
            f"The journal {folder} is in use.",
            state="Nothing was done.",
            remedy="Stop the server and other commands, and run the command again.",
        ) from error
    finally:
        os.close(descriptor)
