"""Sockets that listen, made by the supervisor or the launcher and shared with who serves."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from devices.errors import ServeError

_BACKLOG = 1024
_FIRST_INHERITED = 3  # SD_LISTEN_FDS_START


def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on ``port`` of every address that ``host`` stands for; port 0 takes a free one.

    Raises:
        ServeError: The port is taken, or the address is not this machine's or may not be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServeError(f"The server cannot listen on {host}: {error.strerror}.") from error
    listeners: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listener = socket.socket(family, kind, protocol)
        try:
            # a port whose last connections are still being wound up may be taken again at once
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], port, *address[2:]))
            listener.listen(_BACKLOG)
        except OSError as error:
            for each in (*listeners, listener):
                each.close()
            raise _listen_error(host, port, error) from error
        port = listener.getsockname()[1]  # the next address gets the same
        listener.setblocking(False)
        listeners.append(listener)
    return listeners


def inherited_listeners() -> list[socket.socket]:
    """The sockets that whoever started this process opened for it, by systemd's protocol (sd_listen_fds(3)).

    Empty where there are none. They are meant for this process alone: its children are not told of them.
    """
    meant = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    listeners = [socket.socket(fileno=_FIRST_INHERITED + index) for index in range(count)] if meant else []
    for listener in listeners:
        listener.set_inheritable(False)
        listener.setblocking(False)
    return listeners


def open_private_listener(path: Path) -> socket.socket:
    """A Unix socket that listens at ``path``, for a process of the same user."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _listen_error(host: str, port: int, error: OSError) -> ServeError:
    if error.errno == errno.EADDRINUSE:
        return ServeError(
            f"Port {port} on {host} is already in use by another program.",
            remedy="Stop that program, or choose another port with --port.",
        )
    return ServeError(f"The server cannot listen on {host}:{port}: {error.strerror}.")
