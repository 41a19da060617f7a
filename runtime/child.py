"""A child process that dies with its parent and never runs the parent's code after its own."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def fork(run: Callable[[], int]) -> int:
    """Run ``run`` in a child process, whose exit status it returns; returns the child's process id.

    The caller must have one thread only, and that thread must live as long as the child shall.
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
    return f"ended with status {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"


def _become_child(run: Callable[[], int], parent: int) -> None:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # else it died before this was said
            status = run()
    except BaseException:  # noqa: BLE001  # nothing may climb up into the parent's frames
        sys.excepthook(*sys.exc_info())
    finally:
        logging.shutdown()
        # without the interpreter's own end, which not all libraries with threads survive
        os._exit(status)
