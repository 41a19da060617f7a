"""Files that are whole after a power cut: the old contents or the new ones, never a part.

Where root makes a file or a directory, it belongs to whom the directory around it belongs: a command that an
administrator gives on a device must leave nothing that the service cannot open.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def draft_of(path: Path) -> Path:
    """Where ``path`` is written until it is whole; a power cut may leave it behind."""
    return path.with_name(f"{path.name}.new")


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data``; on return both the bytes and the name are on the disk.

    A power cut leaves what was there before or ``data``, and perhaps a draft, over which the next call writes. The
    file has exactly ``mode``, whatever the umask. Two writers of the same path at once need a lock of their own.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    draft = draft_of(path)
    draft.unlink(missing_ok=True)  # a link put there would lead the bytes elsewhere
    with os.fdopen(_made(draft, os.O_WRONLY, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make ``path`` and what lacks above it, for its owner alone; one that is there is left as it is.

    Raises:
        OSError: It cannot be made.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _hand_over(descriptor, path.parent)
    finally:
        os.close(descriptor)


def open_made(path: Path) -> int:
    """A descriptor of ``path``, to write and to lock; an empty file, for its owner alone, is made where there is none.

    Raises:
        OSError: It cannot be opened, or is a link.
    """
    while True:
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            with suppress(FileExistsError):  # another process was faster
                return _made(path, os.O_RDWR, 0o600)


def _made(path: Path, access: int, mode: int) -> int:
    descriptor = os.open(path, access | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        _hand_over(descriptor, path.parent)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _hand_over(descriptor: int, directory: Path) -> None:
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def hand_over_tree(path: Path) -> None:
    """Give ``path`` and all below it to whom the directory around it belongs, where root runs: what a library made.

    Raises:
        OSError: It may not be given.
    """
    if os.geteuid() == 0:
        give_tree(path, path.parent.stat())


def give_tree(path: Path, owner: os.stat_result) -> None:
    """Give ``path`` and all below it to ``owner``; no link that the service may have put there leads out of it.

    Raises:
        OSError: It may not be given.
    """

    def give(name: str | Path, folder: int | None) -> None:
        with suppress(FileNotFoundError):  # what its owner removed meanwhile, as a draft
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            own = stat.S_ISDIR(status.st_mode) or status.st_nlink == 1
            if own and (status.st_uid, status.st_gid) != (owner.st_uid, owner.st_gid):
                os.chown(name, owner.st_uid, owner.st_gid, dir_fd=folder, follow_symlinks=False)

    give(path, None)
    for _, names, files, folder in os.fwalk(path):
        for name in (*names, *files):
            give(name, folder)


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
