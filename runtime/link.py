"""The line between the supervisor and one worker: small JSON messages over a pair of Unix sockets.

From the worker: ``beat``, ``ready``, ``failed`` (with the error), ``replace`` (with the reason).
From the supervisor: ``leave``, ``stop``, ``facts`` (what ``/v1/status`` shall say about restarts and swaps).
"""

from __future__ import annotations

import json
import socket
from typing import Any

_MAX_BYTES = 64 * 1024


class Link:
    """One end. A message is sent whole or not at all, from any thread."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        end.setblocking(False)

    @classmethod
    def pair(cls) -> tuple[Link, Link]:
        """Two ends of a new line."""
        # a socket of packets keeps messages apart and writes of several threads whole
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(first), cls(second)

    def send(self, event: str, **facts: Any) -> None:
        """Send ``event``; lost where the other side is gone or has not read for long, which it learns by itself."""
        message = json.dumps({"event": event, **facts}, ensure_ascii=False).encode()
        try:
            self.socket.send(message)
        except (BlockingIOError, ConnectionError):
            return

    def receive(self) -> dict[str, Any] | None:
        """The next message; None at the end of the line.

        Raises:
            BlockingIOError: There is no message yet.
        """
        try:
            message = self.socket.recv(_MAX_BYTES)
        except ConnectionError:
            return None
        if not message:
            return None
        document: dict[str, Any] = json.loads(message)
        return document

    def close(self) -> None:
        """Close this end."""
        self.socket.close()
