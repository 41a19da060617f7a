"""One launcher, one installer at a time, and one change of the record at a time.

All are ``flock`` on a file, which the kernel gives back when its holder dies, however it dies.
The launcher's lock is held for its life, the installer's for minutes, the record's for milliseconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from devices.errors import LockedError, ProvisionError

INSTALLER = "lock"
RECORD_FOLDER = "record"
RECORD = f"{RECORD_FOLDER}/switch.lock"
LAUNCHER = f"{RECORD_FOLDER}/launcher.lock"
_MODE = 0o666  # root's commands and the launcher's own user both take them
_RECORD_PATIENCE_S = 10.0
_RETRY_S = 0.02


@contextmanager
def installer_lock(root: Path) -> Iterator[None]:
    """Hold the device for one command that changes slots.

    Raises:
        LockedError: Another command holds it; the message names its process.
        ProvisionError: The root cannot be written.
    """
    descriptor = _open(root / INSTALLER)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise LockedError(f"Another command, process {holder}, is changing the device in {root}.") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def record_lock(root: Path) -> Iterator[None]:
    """Hold the record of the slots for one change of it.

    Raises:
        LockedError: It was not free for ten seconds.
        ProvisionError: The root cannot be written.
    """
    descriptor = _open(root / RECORD)
    try:
        end = time.monotonic() + _RECORD_PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise LockedError(f"The record of the slots in {root} is held by another process.") from error
                time.sleep(_RETRY_S)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def launcher_lock(root: Path) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Be the launcher of ``root``; yields what tells others the facts that ``launcher_facts`` gives them.

    Raises:
        LockedError: There is one already.
        ProvisionError: The root cannot be written.
    """
    descriptor = _open(root / LAUNCHER)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            facts = launcher_facts(root) or {}
            raise LockedError(
                f"The device in {root} is served already, by process {facts.get('pid', 'unknown')}.",
                remedy="Stop that one first.",
            ) from error

        def tell(facts: Mapping[str, Any]) -> None:
            with suppress(OSError):  # a full disk keeps nobody from serving; others see that it is served, not by whom
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(facts).encode(), 0)

        tell({"pid": os.getpid()})
        yield tell
    finally:
        os.close(descriptor)


def launcher_facts(root: Path) -> dict[str, Any] | None:
    """What the launcher of ``root`` told last; None where none runs.

    ``pid``, and once a server is ready ``slot``, ``release`` and ``server``, that one's process.
    """
    try:
        descriptor = os.open(root / LAUNCHER, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return dict(json.loads(os.pread(descriptor, 4096, 0)))
        except ValueError:  # it is being written
            return {}
    finally:
        os.close(descriptor)
    return None


def _open(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    except OSError as error:
        raise ProvisionError(
            f"{path} cannot be opened for writing: {error.strerror}.",
            remedy="Run the command as the user that owns the device's root, on a disk that can be written.",
        ) from error
    if os.fstat(descriptor).st_uid == os.geteuid():
        os.fchmod(descriptor, _MODE)  # whatever the umask
    return descriptor
