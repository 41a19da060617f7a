"""Bundles that have decided here, kept under ``STATE/bundles/SHA256`` so that a decision can be scored again.

A bundle is named by the SHA-256 of its manifest, which the journal holds with every decision. It is copied, not linked:
somebody may change the served one in place. It stays as long as a decision on it can be scored again, and while there
is room; what goes is said in the log.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from devices.durable import hand_over_tree, sync_directory
from devices.errors import EdgeKitError, ReplayError
from devices.provision.slots import SWITCH_NAME, Layout
from devices.provision.switch import SLOT_NAMES
from devices.state import ensure_state_dir, state_dir
from edge.bundle.manifest import MANIFEST_NAME, sha256_hex

log = logging.getLogger(__name__)

_FOLDER = "bundles"
_MB = 1024 * 1024
_RESERVE_BYTES = 512 * _MB  # of the disk, for the journal
_KEPT = re.compile(r"([0-9a-f]{64})(\.new|\.gone)?")  # a bundle, a copy that was not finished, one half removed
_FRESH_S = 86_400  # a bundle that another process keeps may not have decided yet


def keep_bundle(sha256: str, directory: Path) -> None:
    """Keep the bundle in ``directory``; a failure is logged, since scoring does not depend on it."""
    try:
        folder = ensure_state_dir(_FOLDER)
        kept = folder / sha256
        if kept.exists():
            os.utime(kept)  # it served last now
            return
        draft = folder / f"{sha256}.new"
        shutil.rmtree(draft, ignore_errors=True)
        _check_room(folder, directory)
        try:
            shutil.copytree(directory, draft, copy_function=_copied)
            hand_over_tree(draft)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)  # half of a bundle serves nobody, and the journal needs the room
            raise
        os.utime(draft)  # the copy has the time of what was copied
        draft.rename(kept)
        sync_directory(folder)
    except (OSError, EdgeKitError) as error:  # shutil.Error is an OSError
        log.warning("The bundle is not kept, so its decisions can be scored again only while it serves: %s.", error)


def prune_bundles(serving: str, is_needed: Callable[[str], bool], most_bytes: int) -> None:
    """Remove kept bundles that no decision needs, and of the needed ones those beyond ``most_bytes``.

    Of these the ones that served last stay. What was kept within a day is left alone. A failure is logged.

    Args:
        serving: SHA-256 of the bundle that serves; it stays and does not count.
        is_needed: Whether a decision on the bundle of a SHA-256 can still be scored again.
        most_bytes: What the others may take.

    Raises:
        JournalError: As of ``is_needed``.
    """
    folder = state_dir() / _FOLDER
    left = most_bytes
    try:
        found = [(path.stat().st_mtime, path) for path in folder.iterdir() if _KEPT.fullmatch(path.name)]
        for at, path in sorted(found, reverse=True):
            sha256, _, unfinished = path.name.partition(".")
            if sha256 == serving and not unfinished:
                continue
            size = _size(path)
            needed = not unfinished and is_needed(sha256)
            left -= size if needed else 0
            if time.time() - at < _FRESH_S or (needed and left >= 0):
                continue
            _remove(path)
            if needed:
                log.warning(
                    "The bundle %s... (%d MB) is removed to keep to bundles_mb, though decisions of this device rest "
                    "on it: to score them again, give it with --bundle.", sha256[:12], size // _MB
                )  # fmt: skip
            else:
                log.info("The bundle %s... (%d MB) is removed: no decision needs it.", sha256[:12], size // _MB)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("Bundles that are not needed cannot be removed from %s: %s.", folder, error)


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
    if shutil.disk_usage(folder).free < _size(directory) + _RESERVE_BYTES:
        raise OSError(errno.ENOSPC, "the disk is nearly full, and what is left is for the journal", str(folder))


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _remove(path: Path) -> None:
    """Under another name first: what a power cut leaves must not look like a bundle."""
    gone = path.with_suffix(".gone")
    path.rename(gone)
    shutil.rmtree(gone)


def _copied(source: str, target: str) -> None:
    """Durable on return: a power cut must not leave files without their contents under the right name."""
    with Path(source).open("rb") as old, Path(target).open("xb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
