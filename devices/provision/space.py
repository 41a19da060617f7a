"""Room on the disk: what a new slot and its download take, a refusal before anything is touched, and the disk's own.

There are never more than two slots and one download. What the inactive slot holds is given up first, so it counts as
room; the active one is never touched for room.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devices.errors import EdgeKitError, ProvisionError, RootNotWritableError, SpaceError
from devices.provision import bootstrap
from devices.provision.slots import create_root

RESERVE_BYTES = 96 * 1024 * 1024  # journal, compiled models, the launcher: what must go on while the disk is this full
_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS))
_UNPACKED = 3.7  # times the wheels' size: the serving set measured 3.3, bytecode included


def taken_bytes(folder: Path) -> int:
    """What ``folder`` takes on its disk; nothing if it is not there."""
    total = 0
    for directory, _, files in os.walk(folder):
        for name in files:
            total += os.lstat(Path(directory, name)).st_blocks * 512
    return total


def environment_bytes(wheels: Iterable[int]) -> int:
    """A guess at an environment before its wheels of these sizes are here to be looked into."""
    return int(sum(wheels) * _UNPACKED)


def check_space(root: Path, parts: Mapping[str, int], *, freed: int = 0) -> None:
    """Refuse if the disk under ``root`` cannot take ``parts``.

    Args:
        root: Of the device.
        parts: Bytes by what they are for, for the message.
        freed: Bytes that will be given up first: the inactive slot's.

    Raises:
        SpaceError: It is too small; the message says what is needed and what is free.
    """
    free = shutil.disk_usage(root).free
    needed = sum(parts.values()) + RESERVE_BYTES
    if free + freed < needed:
        listed = ", ".join(f"{what} {_mb(size)}" for what, size in parts.items())
        raise SpaceError(
            f"The disk under {root} has {_mb(free)} free, and {_mb(freed)} more will be given up; {_mb(needed)} are "
            f"needed ({listed}, reserve {_mb(RESERVE_BYTES)}).",
            remedy=f"Free {_mb(needed - free - freed)} on that disk, or have a larger one put in, and run the command "
            "again.",
        )


def prepare_root(root: Path) -> None:
    """Make the device's directory, if it is not there.

    Raises:
        RootNotWritableError: It cannot be made there.
        SpaceError: The disk is full.
    """
    try:
        create_root(root)
    except ProvisionError as error:
        if isinstance(error.__cause__, OSError):
            raise _refused(root, error.__cause__) from error
        raise


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Errors of the disk under ``root`` as a clerk can read them.

    Raises:
        SpaceError: It is full.
        RootNotWritableError: It is read-only, or this user may not write there.
    """
    try:
        yield
    except OSError as error:
        raise _refused(root, error) from error
    except EdgeKitError as error:
        # other parts have their own words for a disk that takes nothing; here it has one code, wherever it filled up
        if isinstance(error.__cause__, OSError) and _errno(error.__cause__) in _DISK:
            raise _refused(root, error.__cause__) from error
        raise


def _refused(root: Path, error: OSError) -> EdgeKitError:
    refusal = bootstrap.cannot_write(root, OSError(_errno(error), error.strerror or str(error)))
    kind = SpaceError if refusal.code == SpaceError.code else RootNotWritableError
    return kind(refusal.problem, state=refusal.state, remedy=refusal.remedy)


def _errno(error: OSError) -> int:
    """Its number; what shutil collects over many files, and pip prints, has one in its text alone."""
    if error.errno is not None:
        return error.errno
    found = re.search(r"\[Errno (\d+)\]", str(error))
    return int(found[1]) if found else 0


def _mb(size: int) -> str:
    return f"{max(0, size) / 1e6:,.0f} MB"
