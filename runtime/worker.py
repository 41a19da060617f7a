"""The worker process: bundle and models loaded and warm, then requests, until the supervisor says otherwise."""

from __future__ import annotations

import gc
import logging
import resource
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from devices.errors import EdgeKitError
from runtime.link import Link
from runtime.memory import MemoryWatch, bound_allocator, release_memory

log = logging.getLogger(__name__)

_DESCRIPTORS = 8192
_ASK_EVERY_S = 600.0


@dataclass(frozen=True)
class Work:
    """What a worker serves, loaded and warm.

    Attributes:
        app: The WSGI application.
        threads: That call it.
        memory: Started by the worker once it serves.
        url_scheme: By which callers reach it.
        stuck_s: A request that is worked on for longer shows that a model hangs, and the worker is replaced.
        rehearse: Called last, when the memory that loading took has been handed back.
    """

    app: Callable[..., Any]
    threads: int
    memory: MemoryWatch | None = None
    url_scheme: str = "http"
    stuck_s: float = 300.0
    rehearse: Callable[[], None] = lambda: None


class WorkerSide:
    """What the code in a worker may know of and ask from its supervisor.

    Attributes:
        facts: What the supervisor last told: restarts and the last swap, for ``/v1/status``.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._next_ask = 0.0
        self.facts: dict[str, Any] = {"restarts": 0, "last_restart": None, "last_swap": None}

    def ask_replacement(self, reason: str) -> None:
        """Have a new worker take over; asked again and again, this counts every few minutes."""
        if time.monotonic() >= self._next_ask:
            self._next_ask = time.monotonic() + _ASK_EVERY_S
            log.warning("A new worker is asked for. %s", reason)
            self._link.send("replace", reason=reason)


def work(link: Link, listeners: Sequence[socket.socket], load: Callable[[WorkerSide], Work]) -> int:
    """The whole life of a worker process; returns its exit status.

    Args:
        link: To the supervisor.
        listeners: Shared with it and with other workers.
        load: Loads what is to be served. A kit error that it raises is reported to the supervisor, not here.
    """
    # terminals and service managers send these to all processes; the supervisor says what they mean
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _allow_descriptors()
    bound_allocator()
    gc.disable()  # loading makes much that stays and little that is garbage
    side = WorkerSide(link)
    try:
        loaded = load(side)
    except EdgeKitError as error:
        link.send("failed", error=error.as_dict(), exit_code=error.exit_code)
        return error.exit_code
    _serve(link, listeners, loaded, side)
    return 0


def _serve(link: Link, listeners: Sequence[socket.socket], loaded: Work, side: WorkerSide) -> None:
    from runtime.server import Server  # the supervisor, which imports this module, never needs it

    server = Server(loaded.app, listeners, threads=loaded.threads, url_scheme=loaded.url_scheme)

    def obey() -> None:
        while True:
            try:
                message = link.receive()
            except BlockingIOError:
                return
            if message is None or message["event"] == "stop":
                server.stop()
                return
            if message["event"] == "leave":
                server.leave()
            else:
                side.facts = message["facts"]

    def tick() -> None:
        link.send("beat")
        if server.oldest_request_s > loaded.stuck_s:
            side.ask_replacement(f"A request has been worked on for {server.oldest_request_s:.0f} seconds.")

    signal.signal(signal.SIGTERM, lambda _number, _frame: server.stop())
    server.watch(link.socket, obey)
    release_memory()
    loaded.rehearse()
    gc.freeze()  # what is loaded stays: later collections need not look at it
    gc.enable()
    if loaded.memory is not None:
        loaded.memory.start()
    link.send("ready")
    server.run(tick)


def _allow_descriptors() -> None:
    """Each connection takes one, and a large body another; many systems allow 1024 unless asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
