"""Bundles that have decided here, kept under ``STATE/bundles/SHA256`` so that a decision can be scored again.

A bundle is named by the SHA-256 of its manifest, which the journal holds with every decision. It is copied, not linked:
somebody may change the served one in place.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from devices.durable import sync_directory
from devices.errors import EdgeKitError, ReplayError
from devices.provision.slots import SWITCH_NAME, Layout
from devices.provision.switch import SLOT_NAMES
from devices.state import ensure_state_dir, state_dir
from edge.bundle.manifest import MANIFEST_NAME, sha256_hex

log = logging.getLogger(__name__)

_FOLDER = "bundles"
_RESERVE_BYTES = 512 * 1024 * 1024  # of the disk, for the journal


def keep_bundle(sha256: str, directory: Path) -> None:
    """Keep the bundle in ``directory``; a failure is logged, since scoring does not depend on it."""
    try:
        folder = ensure_state_dir(_FOLDER)
        kept = folder / sha256
        if kept.exists():
            return
        draft = folder / f"{sha256}.new"
        shutil.rmtree(draft, ignore_errors=True)
        _check_room(folder, directory)
        try:
            shutil.copytree(directory, draft, copy_function=_copied)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)  # half of a bundle serves nobody, and the journal needs the room
            raise
        draft.rename(kept)
        sync_directory(folder)
    except (OSError, EdgeKitError) as error:  # shutil.Error is an OSError
        log.warning("The bundle is not kept, so its decisions can be scored again only while it serves: %s.", error)


def find_bundle(sha256: str, given: Sequence[Path] = ()) -> Path:
    """Where the bundle with this hash lies.

    Args:
        sha256: Of its manifest.
        given: Directories to look at first.

    Raises:
        ReplayError: Nowhere; the message says where it was looked for.
    """
    looked = [*given, *_places(sha256)]
    for place in looked:
        try:
            if sha256_hex((place / MANIFEST_NAME).read_bytes()) == sha256:
                return place
        except OSError:
            continue
    raise ReplayError(
        f"The bundle {sha256[:12]}..., which decided, is in none of {', '.join(map(str, looked))}.",
        remedy="Copy that bundle here and give it with --bundle DIR; headquarters keeps every release.",
    )


def _places(sha256: str) -> Iterator[Path]:
    yield state_dir() / _FOLDER / sha256
    root = state_dir().parent
    if (root / SWITCH_NAME).exists():  # the state directory is a provisioned device's
        for name in SLOT_NAMES:
            yield Layout(root).bundle(name)


def _check_room(folder: Path, directory: Path) -> None:
    """Refuse a copy for which the journal would have to give up papers, or to stop.

    Raises:
        OSError: It would.
    """
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    if shutil.disk_usage(folder).free < size + _RESERVE_BYTES:
        raise OSError(errno.ENOSPC, "the disk is nearly full, and what is left is for the journal", str(folder))


def _copied(source: str, target: str) -> None:
    """Durable on return: a power cut must not leave files without their contents under the right name."""
    with Path(source).open("rb") as old, Path(target).open("xb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
