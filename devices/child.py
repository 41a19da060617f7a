"""Child processes that die with their parent, whatever ended it.

Standard library only, for Python 3.9 on: the launcher runs these lines too.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None)


def die_with_parent() -> None:
    """In a child, or for ``preexec_fn``: SIGKILL once the process that started this one has ended, however it ended."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def fork(run: Callable[[], int]) -> int:
    """Run ``run`` in a child process, whose exit status it returns; returns the child's process id.

    The child never runs the parent's code after its own. The caller must have one thread only, and that thread must
    live as long as the child shall.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or the child would write it too
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_child(run, parent)
    return pid


def how_it_ended(status: int) -> str:
    """A wait status in words, to follow the name of the process."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with status {code}"
    names = {each.value: each.name for each in signal.Signals}  # real-time signals have none
    return f"was killed by {names.get(-code, f'signal {-code}')}"


def _become_child(run: Callable[[], int], parent: int) -> None:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        die_with_parent()
        if os.getppid() == parent:  # else it died before this was said
            status = run()
    except BaseException:  # noqa: BLE001  # nothing may climb up into the parent's frames
        sys.excepthook(*sys.exc_info())
    finally:
        logging.shutdown()
        # without the interpreter's own end, which not all libraries with threads survive
        os._exit(status)
