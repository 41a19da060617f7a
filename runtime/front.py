"""A process between callers and workers: the TLS end at the public address."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from devices.child import fork


class Front:
    """One such process."""

    def __init__(self, run: Callable[[], None]) -> None:
        """``run`` is called in the process; it returns some time after SIGTERM."""
        self._run = run
        self._pid = 0
        self._ended = -1

    def start(self) -> None:
        """Fork it."""
        self._pid = fork(self._serve)
        self._ended = os.pidfd_open(self._pid)

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._ended

    @property
    def running(self) -> bool:
        """Whether it was started and not reaped yet."""
        return self._pid != 0

    def kill(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        with contextlib.suppress(ProcessLookupError):
            if self._pid:
                os.kill(self._pid, number)

    def reap(self) -> int:
        """Wait for its end; returns its wait status."""
        _, status = os.waitpid(self._pid, 0)
        os.close(self._ended)
        self._pid = 0
        return status

    def _serve(self) -> int:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._run()
        return 0
