"""The app behind waitress, a WSGI server in pure Python, with what waitress leaves open.

- ages are measured on a clock that a change of the date does not move;
- a request must be complete, and its answer taken, within a time limit: waitress lets a client go on for ever that
  sends or takes one byte now and then;
- its own errors are problem documents, and a client that still sends gets to read the answer;
- it can leave, for another process at the same sockets, and stop: see ``Server.leave`` and ``Server.stop``.

waitress runs one poll loop, which reads and writes for all connections, and threads that call the app.
"""

from __future__ import annotations

import logging
import math
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, TcpWSGIServer, UnixWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error

from devices.errors import EdgeKitError, RequestError, ServeError
from runtime.problems import problem_response

log = logging.getLogger(__name__)


_RETRY_AFTER_S = 2
_LINGER_S = 2.0
_TICK_S = 1.0
_SEND_BYTES = 64 * 1024  # less than this waits for the answer's end, so head and body leave as one packet


@dataclass(frozen=True)
class ServerLimits:
    """What one client may take of the server.

    Attributes:
        connections: Open at once; more wait in the kernel's queue.
        header_bytes: Request line and headers.
        body_bytes: Above the app's own limit, so that the app answers a body that is a little too large.
        receive_s: From a request's first byte to its last. 48 MB in 30 s need 13 Mbit/s.
        send_s: From an answer's first byte to its last.
        idle_s: Between two requests on one connection.
        leave_idle_s: The same for a server that leaves.
        leave_s: For a request that still runs when the server leaves.
        stop_s: For a request that still runs when the server stops.
    """

    connections: int = 1000
    header_bytes: int = 32 * 1024
    body_bytes: int = 64 * 1024 * 1024
    receive_s: float = 30.0
    send_s: float = 30.0
    idle_s: float = 60.0
    leave_idle_s: float = 10.0
    leave_s: float = 60.0
    stop_s: float = 8.5


class Server:
    """Serves one app at sockets that are already listening, until ``leave`` or ``stop`` has come to its end."""

    def __init__(
        self,
        app: Callable[..., Any],
        listeners: Sequence[socket.socket],
        *,
        threads: int,
        url_scheme: str = "http",
        limits: ServerLimits | None = None,
    ) -> None:
        self.limits = limits or ServerLimits()
        self._map: dict[int, wasyncore.dispatcher] = {}
        settings = Adjustments(
            host="127.0.0.1",  # it would look another name up, though it is given sockets that listen already
            threads=threads,
            url_scheme=url_scheme,
            connection_limit=self.limits.connections,
            max_request_header_size=self.limits.header_bytes,
            max_request_body_size=self.limits.body_bytes,
            inbuf_overflow=1024 * 1024,  # larger bodies wait on the disk
            channel_request_lookahead=1,  # keeps reading while a request runs, and so sees a client that goes away
            asyncore_use_poll=True,  # select() ends at 1024 descriptors
            log_socket_errors=False,
            send_bytes=_SEND_BYTES,
            ident=None,
        )
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(threads)
        self._acceptors = [self._accept(app, listener, dispatcher, settings) for listener in listeners]
        self._leaving_since: float | None = None
        self._stopping_since: float | None = None

    @property
    def leaving(self) -> bool:
        """Whether connections end with the answer that is next on them."""
        return self._leaving_since is not None or self.stopping

    @property
    def stopping(self) -> bool:
        """Whether new requests are refused."""
        return self._stopping_since is not None

    @property
    def oldest_request_s(self) -> float:
        """For how long the request that has been worked on longest is; not above 0 when none is."""
        now = time.monotonic()
        return max((now - each.working_since for each in self._channels()), default=0.0)

    def watch(self, end: socket.socket, on_readable: Callable[[], None]) -> None:
        """Call ``on_readable`` from the serving loop whenever there is something to read at ``end``."""
        _Watched(end, on_readable, self._map)

    def run(self, on_tick: Callable[[], None]) -> None:
        """Serve; ``on_tick`` is called from the serving loop about once a second."""
        next_tick = 0.0
        while not self._finished():
            wasyncore.loop(timeout=0.05 if self.leaving else _TICK_S, use_poll=True, map=self._map, count=1)
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + _TICK_S
                for channel in self._channels():
                    channel.check_age(now)
                on_tick()

    def leave(self) -> None:
        """Accept nothing more, go on answering on open connections, and end when these are gone.

        Each answer ends its connection. Connections on which nothing comes are closed after a while.
        """
        if not self.leaving:
            self._close_listeners()
            self._leaving_since = time.monotonic()

    def stop(self) -> None:
        """Accept nothing more, finish what runs, refuse new requests with 503, and end."""
        if not self.stopping:
            self._close_listeners()
            self._stopping_since = time.monotonic()

    def _accept(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        dispatcher: ThreadedTaskDispatcher,
        settings: Adjustments,
    ) -> BaseWSGIServer:
        kind = UnixWSGIServer if listener.family == socket.AF_UNIX else TcpWSGIServer
        where = (listener.family, listener.type, listener.proto, listener.getsockname())
        acceptor = kind(
            app, self._map, True, listener, dispatcher=dispatcher, adj=settings, bind_socket=False, sockinfo=where
        )
        acceptor.channel_class = _Channel
        acceptor.next_channel_cleanup = math.inf  # ages are checked here, not by the clock on the wall
        acceptor.owner = self
        return acceptor

    def _close_listeners(self) -> None:
        for acceptor in self._acceptors:
            if acceptor.accepting:
                # not its own close(), which also closes what request threads wake the loop with
                wasyncore.dispatcher.close(acceptor)
                acceptor.accepting = False

    def _channels(self) -> list[_Channel]:
        return [each for each in list(self._map.values()) if isinstance(each, _Channel)]

    def _finished(self) -> bool:
        now = time.monotonic()
        if self._stopping_since is not None:
            spent = now - self._stopping_since
            # a moment more for requests that were on their way
            return spent >= self.limits.stop_s or (spent >= _TICK_S / 5 and not any(c.busy for c in self._channels()))
        if self._leaving_since is not None:
            return not self._channels() or now - self._leaving_since >= self.limits.leave_s
        return False


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One connection."""

    server: Any
    request: Any
    close_when_flushed: bool
    lingering = False
    working_since = math.inf
    _more_is_sent = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._owner: Server = self.server.owner
        self._served = 0
        self._phase, self._phase_since = ("idle", 0), time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether a request is queued or worked on, or an answer is not sent yet."""
        return bool(self.requests or self.total_outbufs_len or self.close_when_flushed)

    def service(self) -> None:
        self.working_since = time.monotonic()
        super().service()
        self.working_since = math.inf
        self._served += 1

    def send_now(self) -> None:
        """Send what was written, in the thread that wrote it: by way of the poll loop it would take longer."""
        with self.outbuf_lock:
            if self.total_outbufs_len:
                self._flush_exception(self._flush_some, do_close=False)

    def received(self, data: bytes) -> bool:
        try:
            return bool(super().received(data))
        except OSError as error:  # the disk on which large bodies wait is full
            self._refuse(503, ServeError(f"The request could not be kept: {error.strerror}.", state=_REFUSED_STATE))
            return False

    def check_age(self, now: float) -> None:
        """Cut the connection off if it has been in one phase of one request for too long."""
        phase = self._phase_now()
        if (phase, self._served) != self._phase:
            self._phase, self._phase_since = (phase, self._served), now
            return
        limits = self._owner.limits
        allowed = {
            "lingering": _LINGER_S,
            "working": math.inf,  # the app's own deadlines
            "sending": limits.send_s,
            "receiving": limits.receive_s,
            "idle": limits.leave_idle_s if self._owner.leaving else limits.idle_s,
        }[phase]
        if now - self._phase_since < allowed:
            return
        if phase == "receiving":
            seconds = f"{limits.receive_s:.0f}"
            self._refuse(408, RequestError(f"The request did not arrive whole within {seconds} seconds."))
        else:
            if phase == "sending":  # or the kernel would keep what is not taken, and go on trying
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.handle_close()

    def _phase_now(self) -> str:
        if self.lingering:
            return "lingering"
        if self.total_outbufs_len:
            return "sending"
        if self.requests:
            return "working"
        return "idle" if self.request is None else "receiving"

    def _refuse(self, status: int, error: EdgeKitError) -> None:
        """Answer the request that is being received with ``error``, and close."""
        with self.requests_lock:
            request = self.request or self.parser_class(self.adj)
            request.error = _Refusal(status, error)
            request.completed = True
            self.request = None
            self.requests.append(request)
            if len(self.requests) == 1:
                self.server.add_task(self)

    # closing while the client still sends would make its system throw our answer away: stop sending, read on, discard
    def linger(self) -> None:
        """After the answer that is being written, wait for the client to stop sending before closing."""
        self._more_is_sent = True

    def handle_write(self) -> None:
        if self._more_is_sent and self.close_when_flushed:
            self._flush_exception(self._flush_some)
            if not self.total_outbufs_len and not self.will_close:
                self.close_when_flushed, self._more_is_sent, self.lingering = False, False, True
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_write()

    def readable(self) -> bool:
        return self.lingering or super().readable()

    def handle_read(self) -> None:
        if self.lingering:
            self.recv(self.adj.recv_bytes)  # closes the channel at the end of the stream
        else:
            super().handle_read()


class _Task(WSGITask):  # type: ignore[misc]  # waitress has no types
    """One request for the app."""

    def execute(self) -> None:
        if self.channel.server.owner.stopping:
            stopping = ServeError("The server is stopping.", state=_REFUSED_STATE, remedy="Send it again in a moment.")
            _answer(self, _Refusal(503, stopping))
        else:
            super().execute()

    def finish(self) -> None:
        super().finish()
        self.channel.send_now()

    def build_response_header(self) -> bytes:
        if self.channel.server.owner.leaving:
            self.set_close_on_finish()
        return bytes(super().build_response_header())


class _ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """A request that never reaches the app: malformed, too large, too slow."""

    def execute(self) -> None:
        self.channel.linger()
        error = self.request.error
        if not isinstance(error, _Refusal):  # one of waitress's own
            error = _Refusal(error.code, _translated(error))
        _answer(self, error)


def _translated(error: Error) -> EdgeKitError:
    if error.code == 500:  # the app raised, and waitress has logged what
        return EdgeKitError("The server met an error of its own while answering.", state=_REFUSED_STATE)
    return RequestError(f"The request was refused: {error.reason} ({error.body}).")


class _Refusal(Error):  # type: ignore[misc]  # waitress has no types
    """An error of ours in the place where waitress keeps its own."""

    def __init__(self, status: int, error: EdgeKitError) -> None:
        super().__init__(error.problem)
        self.status, self.error = status, error


def _answer(task: WSGITask | ErrorTask, refusal: _Refusal) -> None:
    response = problem_response(refusal.error, refusal.status)
    body = response.get_data()
    task.status, task.complete = response.status, True
    task.response_headers.append(("Content-Type", response.content_type))
    if refusal.status == 503:
        task.response_headers.append(("Retry-After", str(_RETRY_AFTER_S)))
    task.set_close_on_finish()
    task.content_length = len(body)
    task.write(body)


class _Watched(wasyncore.dispatcher):  # type: ignore[misc]  # waitress has no types
    """A socket that is not a client's in waitress's loop."""

    def __init__(self, end: socket.socket, on_readable: Callable[[], None], map_: dict[int, Any]) -> None:
        super().__init__(end, map=map_)
        self._on_readable = on_readable

    def writable(self) -> bool:
        return False

    def handle_read(self) -> None:
        self._on_readable()


_REFUSED_STATE = "This request was not worked on."
_Channel.task_class = _Task
_Channel.error_task_class = _ProblemTask
