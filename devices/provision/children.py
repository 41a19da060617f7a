"""Programs that an installer starts die with it: none goes on writing into a slot, or holds the device, by itself."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)


def die_with_parent() -> None:
    """For ``preexec_fn``: SIGKILL once the process that started this one has ended, however it ended."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
