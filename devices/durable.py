"""Files that are whole after a power cut: the old contents or the new ones, never a part."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``; on return both the bytes and the name are on the disk.

    A power cut leaves what was there before or ``data``. A draft, ``NAME.new``, may stay behind; the next call writes
    over it. Two writers of the same path at once need a lock of their own.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)  # a link put there would lead the bytes elsewhere
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Put the names in the directory ``path`` on the disk.

    Raises:
        OSError: It cannot be opened or synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock on ``directory`` for a moment; who comes second waits. It ends with the process at the latest.

    Raises:
        OSError: It cannot be opened.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
