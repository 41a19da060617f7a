"""The journal's file: its tables, how it is opened, and what its errors are called."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devices.errors import JournalDamagedError, JournalError, JournalFullError

DATABASE_NAME = "journal.sqlite"
IN_USE_NAME = "in-use"  # locked by who has the journal open, and alone by who salvages it
# what reading a damaged file can raise; the second comes from messages that hold bytes of the file
UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
BUSY_MS = 10_000  # so long a connection waits for another one
_INDEX_BYTES = 1024 * 1024  # what SQLite's index of the log may grow to; it begins with 32 KiB

SCHEMA = """
CREATE TABLE entries (seq INTEGER PRIMARY KEY, line BLOB NOT NULL, signature BLOB NOT NULL, kind TEXT NOT NULL,
                      decision TEXT) STRICT;
CREATE INDEX entries_of_decision ON entries (decision) WHERE decision IS NOT NULL;
CREATE INDEX entries_of_kind ON entries (kind, seq);
CREATE TABLE record_keys (seq INTEGER PRIMARY KEY, day INTEGER NOT NULL, wrapped BLOB NOT NULL) STRICT;
CREATE INDEX record_keys_by_day ON record_keys (day);
CREATE TABLE records (seq INTEGER NOT NULL, name TEXT NOT NULL, ciphertext BLOB NOT NULL,
                      PRIMARY KEY (seq, name)) STRICT;
CREATE TABLE unsent (later INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (later, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE retention (id INTEGER PRIMARY KEY CHECK (id = 1), counted INTEGER NOT NULL, looked INTEGER NOT NULL)
STRICT;
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits durably and overwrites what it deletes.

    Raises:
        sqlite3.Error: It cannot be opened, or is no database.
    """
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "journal_size_limit=16777216"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """What is done within is committed as a whole, or not at all.

    Raises:
        sqlite3.Error: It cannot be begun or committed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise


def create_tables(connection: sqlite3.Connection, schema: str) -> None:
    """Run the statements of ``schema`` within the transaction that is open; ``executescript`` would commit it first.

    Raises:
        sqlite3.Error: One fails.
    """
    for statement in schema.split(";"):
        connection.execute(statement)


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing, also on a disk that cannot be written or is full.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_MS / 1000, check_same_thread=False)
    try:
        connection.execute("SELECT 1 FROM sqlite_schema")
    except sqlite3.OperationalError as error:
        log = path.with_name(f"{path.name}-wal")
        known = _primary(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
        if not known or (log.exists() and log.stat().st_size):
            connection.close()
            raise
        connection.close()  # SQLite wants to make its index of the log, which is empty: it can be left out
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    except UNREADABLE:
        return connection  # damaged; whoever reads on finds out where
    return connection


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the disk as the kit's own."""
    try:
        yield
    except sqlite3.Error as error:
        if is_full(error, path):
            raise JournalFullError(f"The disk under the journal {path} is full.") from error
        if _primary(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise JournalDamagedError(f"The journal {path} is damaged: {error}.") from error
        raise JournalError(f"The journal {path} cannot be used: {error}.") from error
    except UnicodeDecodeError as error:
        raise JournalDamagedError(f"The journal {path} is damaged: it holds text that is none.") from error
    except OSError as error:
        if is_full(error, path):
            raise JournalFullError(f"The disk under the journal {path} is full.") from error
        raise JournalError(f"The journal {path} cannot be used: {error.strerror}.") from error


def is_full(error: sqlite3.Error | OSError, path: Path) -> bool:
    """Whether ``error`` says that the disk of the database ``path``, or the account's share of it, is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = _primary(error)
    if code != sqlite3.SQLITE_IOERR:
        return code == sqlite3.SQLITE_FULL
    try:  # SQLite does not tell a disk that fails from one that lacks room for its index of the log
        return shutil.disk_usage(path.parent).free < _INDEX_BYTES
    except OSError:
        return False


def _primary(error: sqlite3.Error) -> int:
    """SQLite's primary code; an error of Python's own module has none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
