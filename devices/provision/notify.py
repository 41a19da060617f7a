"""What a server tells whoever started it: systemd's protocol of datagrams (sd_notify(3)), and a few words of our own.

The words of systemd: ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``, ``STATUS=...``. Ours, each with a sentence, stand
below; systemd passes over what it does not know. Without ``NOTIFY_SOCKET`` nobody listens and nothing is sent.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from devices.errors import EdgeKitError

VARIABLE = "NOTIFY_SOCKET"
FAILED = "X_EDGEKIT_FAILED"  # the release cannot be served on this device; the server ends
ERROR = "X_EDGEKIT_ERROR"  # why the server ends, as JSON of the error, for those who call meanwhile
CRASHED = "X_EDGEKIT_CRASHED"  # a worker was lost; the server starts a new one by itself
DRIFTED = "X_EDGEKIT_DRIFTED"  # the scores are not those of the release before
SETTLED = "X_EDGEKIT_SETTLED"  # enough applications were scored as before
_MAX_BYTES = 16 * 1024


class Notifier:
    """The server's side."""

    def __init__(self, address: str) -> None:
        """``address``: as in ``NOTIFY_SOCKET``; empty where nobody listens."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._socket:
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls) -> Notifier:
        """To whoever started this process."""
        return cls(os.environ.get(VARIABLE, ""))

    def send(self, **words: str) -> None:
        """Say ``NAME=value``. Lost where nobody listens any more, or does not keep up."""
        if self._socket is None:
            return
        lines = "".join(f"{name}={' '.join(value.split())}\n" for name, value in words.items())
        with suppress(OSError):
            self._socket.sendto(lines.encode()[:_MAX_BYTES], self._address)

    def alive(self) -> None:
        """Feed the watchdog."""
        self.send(WATCHDOG="1")


def error_in(words: dict[str, str]) -> EdgeKitError | None:
    """What ``ERROR`` says; None where it is not there, or was cut off."""
    with suppress(ValueError, KeyError, TypeError):
        return EdgeKitError.from_dict(json.loads(words[ERROR]))
    return None


class Listener:
    """The other side: a socket of its own for each server, so that none can speak for another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Readable when there is something to receive."""
        return self._socket.fileno()

    def receive(self) -> dict[str, str]:
        """One message, empty when there is none."""
        try:
            text = self._socket.recv(_MAX_BYTES).decode("utf-8", "replace")
        except OSError:
            return {}
        return dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
        self.path.unlink(missing_ok=True)
