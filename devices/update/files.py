"""Files by their hash: measure one, copy one and know that the copy is right."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from devices.durable import draft_of, sync_directory
from devices.update.release import Blob

_CHUNK_BYTES = 1024 * 1024


def blob_of(data: bytes) -> Blob:
    """SHA-256 and size of ``data``."""
    return Blob(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def blob_of_file(path: Path) -> Blob:
    """SHA-256 and size of the file ``path``, read piece by piece.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return _measure(file, None)


def copy_durably(source: Path, target: Path) -> Blob:
    """Copy ``source`` to ``target``, which appears whole or not at all; returns what was copied.

    Raises:
        OSError: One cannot be read or the other not be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(target)
    draft.unlink(missing_ok=True)
    with source.open("rb") as file, draft.open("xb") as copy:
        blob = _measure(file, copy)
        copy.flush()
        os.fsync(copy.fileno())
    draft.replace(target)
    sync_directory(target.parent)
    return blob


def _measure(file: BinaryIO, copy: BinaryIO | None) -> Blob:
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        if copy is not None:
            copy.write(chunk)
    return Blob(sha256=digest.hexdigest(), size=size)
