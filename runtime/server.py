"""The app behind waitress, a WSGI server in pure Python, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import errno
import logging
import signal
from collections.abc import Callable
from types import FrameType

from flask import Flask
from waitress.server import create_server

from devices.errors import ServeError
from runtime.app import MAX_BODY_BYTES

log = logging.getLogger(__name__)

_THREADS = 4
# beyond Flask's own limit, so that Flask answers a too large body with a problem document; waitress spools to disk
_TRANSPORT_BODY_BYTES = MAX_BODY_BYTES + 16 * 1024 * 1024


def serve(app: Flask, host: str, port: int, *, on_ready: Callable[[str], None]) -> None:
    """Serve ``app`` until the process is told to stop; requests in progress are finished.

    Args:
        app: Its models are loaded: the port opens only when every answer would be a real one.
        host: Address to listen on.
        port: 0 takes a free one.
        on_ready: Called once with the server's URL, after the port is open.

    Raises:
        ServeError: The port is taken or may not be used.
    """
    try:
        server = create_server(
            app,
            host=host,
            port=port,
            threads=_THREADS,
            max_request_body_size=_TRANSPORT_BODY_BYTES,
            channel_timeout=60,
            ident="edgekit",
            clear_untrusted_proxy_headers=True,
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServeError(
                f"Port {port} on {host} is already in use by another program.",
                remedy="Stop that program, or choose another port with --port.",
            ) from error
        raise ServeError(f"The server cannot listen on {host}:{port}: {error.strerror}.") from error

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        # a name such as localhost may stand for several addresses; then waitress returns a server of several sockets
        bound = getattr(server, "effective_listen", None) or [(server.effective_host, server.effective_port)]
        on_ready(f"http://{bound[0][0]}:{bound[0][1]}")
        server.run()  # returns after SystemExit or KeyboardInterrupt, when requests in progress are done
    finally:
        signal.signal(signal.SIGTERM, previous)
        server.close()
