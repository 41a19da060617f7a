"""Where this device keeps what must outlive a process: keys, caches, later the journal."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from devices.durable import hand_over_tree, make_directory
from devices.errors import EdgeKitError

log = logging.getLogger(__name__)

VARIABLE = "EDGEKIT_STATE_DIR"
_CACHE_ROOM_BYTES = 64 * 1024 * 1024  # the compiled models of one bundle take some 10 to 50 MB


def state_dir() -> Path:
    """``EDGEKIT_STATE_DIR``, or ``$XDG_STATE_HOME/edgekit``, or ``~/.local/state/edgekit``; not created here."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "edgekit"


def ensure_state_dir(*parts: str) -> Path:
    """A directory under the state directory, created for its owner alone.

    Raises:
        EdgeKitError: It cannot be created.
    """
    path = state_dir().joinpath(*parts)
    try:
        make_directory(path)
    except OSError as error:
        raise EdgeKitError(
            f"The state directory {path} cannot be created: {error.strerror}.",
            remedy=f"Set {VARIABLE} to a directory that this user may write to.",
        ) from error
    return path


def cache_dir(*parts: str) -> Path | None:
    """A directory under ``cache`` of the state directory, for what can be made again.

    None, with a warning in the log, where it cannot be had: whoever keeps something there does without. On a full
    disk what is there is still read, with a warning too.
    """
    try:
        path = ensure_state_dir("cache", *parts)
        free = shutil.disk_usage(path).free
    except (EdgeKitError, OSError) as error:
        log.warning("Nothing is kept for the next start, which will take longer. %s", error)
        return None
    if free < _CACHE_ROOM_BYTES:
        log.warning("The disk under %s is full: what is not kept there yet is made again at every start.", path)
    return path


def hand_over_cache(*parts: str) -> None:
    """Let the state directory's owner have what libraries made under ``cache_dir(*parts)``; only root needs to.

    A failure is logged: the service makes it again.
    """
    path = state_dir().joinpath("cache", *parts)
    try:
        if path.is_dir():
            hand_over_tree(path)
    except OSError as error:
        log.warning("What is kept under %s is root's, so the service makes it anew: %s.", path, error.strerror)
