"""Where this device keeps what must outlive a process: keys, caches, later the journal."""

from __future__ import annotations

import os
from pathlib import Path

from devices.errors import EdgeKitError

VARIABLE = "EDGEKIT_STATE_DIR"


def state_dir() -> Path:
    """``EDGEKIT_STATE_DIR``, or ``$XDG_STATE_HOME/edgekit``, or ``~/.local/state/edgekit``; not created here."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "edgekit"


def ensure_state_dir(*parts: str) -> Path:
    """A directory under the state directory, created for this user alone.

    Raises:
        EdgeKitError: It cannot be created.
    """
    path = state_dir().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EdgeKitError(
            f"The state directory {path} cannot be created: {error.strerror}.",
            remedy=f"Set {VARIABLE} to a directory that this user may write to.",
        ) from error
    return path
