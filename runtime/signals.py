"""Signals as bytes to read, instead of interruptions anywhere in the code."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def signals_as_bytes(numbers: Sequence[signal.Signals]) -> Iterator[socket.socket]:
    """While inside, each of ``numbers`` that arrives is one byte at the socket, its value."""
    waiting, written = socket.socketpair()
    waiting.setblocking(False)
    written.setblocking(False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    previous = signal.set_wakeup_fd(written.fileno())
    try:
        yield waiting
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        waiting.close()
        written.close()
