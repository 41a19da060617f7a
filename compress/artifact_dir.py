"""Artifacts appear whole or not at all.

``fresh_directory`` hands out a draft beside the artifact's directory. Only when everything is written and on the disk
does the draft take the artifact's place; until then an earlier artifact stays as it was. After an error or Ctrl-C the
draft is gone at once; after a kill or a power cut the next run for the same directory removes it, and puts an earlier
artifact back should the power have gone between the two renames.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devices.errors import ArtifactError
from runtime.artifact import ARTIFACT_NAME

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def fresh_directory(out: Path) -> Iterator[Path]:
    """An empty directory to write an artifact into; it becomes ``out`` at the end of the ``with`` block.

    Also a full disk anywhere in the block, the temporary directory's included, ends in the kit's own error.

    Args:
        out: Missing, empty, or an earlier artifact, which is then replaced whole.

    Yields:
        The draft. Models may be loaded from it already; paths inside it change at the end.

    Raises:
        ArtifactError: ``out`` holds something else or cannot be written, another run writes it, or the disk is full.
    """
    out = out.absolute()  # not resolved: where out is a link to an artifact, the link is what gets replaced
    draft, replaced = (out.with_name(f".{out.name}.{kind}") for kind in ("draft", "replaced"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _put_back(replaced, out)
        _check_replaceable(out)
        draft.mkdir(exist_ok=True)
        with _locked(draft, out):
            try:
                for left in (replaced, *draft.iterdir()):
                    _remove(left)
                yield draft
                _sync(draft)
                if out.exists():
                    out.rename(replaced)
                draft.rename(out)
                _sync_entry(out.parent)
            finally:
                _remove(draft)
                _put_back(replaced, out)
                _remove(replaced)
    except OSError as error:
        if error.errno not in (*_FULL, *_FORBIDDEN):
            raise
        raise _translated(error, out) from error


def _put_back(replaced: Path, out: Path) -> None:
    if replaced.exists() and not out.exists():
        replaced.rename(out)


def _check_replaceable(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ArtifactError(f"{out} is a file; an artifact is a directory.", remedy="Name a new directory with --out.")
    if any(out.iterdir()) and not (out / ARTIFACT_NAME).is_file():
        raise ArtifactError(
            f"{out} holds files, but no {ARTIFACT_NAME}: it is no earlier artifact that may be replaced.",
            remedy="Name an empty or new directory with --out.",
        )


@contextmanager
def _locked(draft: Path, out: Path) -> Iterator[None]:
    """Hold the draft against a second run; the kernel lets go when this process ends, however it ends."""
    handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactError(
                f"Another run is writing {out} right now.", remedy="Wait for it to end, or name another --out."
            ) from error
        yield
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    """On return all of ``directory`` outlives a power cut. Some file systems notice only here that they are full."""
    for path in [directory, *directory.rglob("*")]:
        _sync_entry(path)


def _sync_entry(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _translated(error: OSError, out: Path) -> ArtifactError:
    state = "No artifact was written; an earlier one is as it was."
    if error.errno in _FORBIDDEN:
        return ArtifactError(
            f"{error.filename or out} cannot be written: {error.strerror}.",
            state=state,
            remedy="Name a directory that this user may write with --out.",
        )
    places = {str(out.parent): out.parent, "the temporary directory": Path(tempfile.gettempdir())}
    free = ", ".join(f"{shutil.disk_usage(place).free / 1e6:,.1f} MB in {name}" for name, place in places.items())
    return ArtifactError(
        f"The disk is full ({error.strerror}): {free} are left.",
        state=state,
        remedy="Free some space, or name an --out on another disk; TMPDIR moves the temporary directory.",
    )
