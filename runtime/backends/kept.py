"""Compiled models and engines that are kept from one start to the next: a directory for each, the latest of a model."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from devices.errors import BackendError
from runtime.predictor import ModelFiles

_ROOM_BYTES = 64 * 1024 * 1024  # a compiled model takes up to some 30 MB
_LATEST = 2  # of each model: that of the bundle that serves and that of the one before, or the next


def kept_dir(cache: Path, files: ModelFiles, key: Mapping[str, str]) -> Path:
    """The directory for what was made of a model under the conditions ``key``; made if need be.

    All but the two latest of the same model are removed.

    Raises:
        BackendError: It cannot be written.
    """
    told = json.dumps(key, indent=2, sort_keys=True)
    family = _family(cache, key["backend"], files)
    path = family / hashlib.sha256(told.encode()).hexdigest()[:32]
    try:
        if not path.is_dir() and shutil.disk_usage(cache).free < _ROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # and the last bytes are left to others
        path.mkdir(parents=True, exist_ok=True)
        marker = path / "key.json"
        if marker.is_file():
            os.utime(marker)  # the newest now; a full disk would not take more
        else:
            marker.write_text(told + "\n", encoding="utf-8")
        by_age = sorted(family.iterdir(), key=lambda each: (each / "key.json").stat().st_mtime_ns, reverse=True)
        for outdated in by_age[_LATEST:]:
            shutil.rmtree(outdated)
    except OSError as error:
        raise BackendError(
            f"The cache {path} cannot be written: {error.strerror}.",
            remedy="Make room on the disk, or give this user the right to write there.",
        ) from error
    return path


def forget(cache: Path, backend: str, files: ModelFiles) -> None:
    """Remove all that is kept of a model, as far as that is possible."""
    shutil.rmtree(_family(cache, backend, files), ignore_errors=True)


def _family(cache: Path, backend: str, files: ModelFiles) -> Path:
    return cache / backend.partition(":")[0] / files.name
