"""The first of the two processes: it holds the listening sockets and keeps one worker serving at them.

It imports nothing heavy and runs one thread, so a fork of it is cheap and safe; models, and CUDA where there is any,
live in workers only. Every change of worker is the same move: a second worker is forked, loads, checks and warms up;
when it says ready, the first one leaves. A second worker that fails leaves the first one serving.

What leads to a change:
- SIGHUP: the bundle is verified and loaded again;
- the worker ended, or its serving loop gave no sign of life: it is replaced at once, then with growing pauses, while
  requests wait in the kernel's queue or, in a longer pause, are answered 503;
- the worker asks for it: its memory nears the limit, or a request hangs.

SIGTERM and Ctrl-C end both processes within ten seconds. SIGUSR2 says that another server has taken over at the same
sockets (docs/adr/0019): who is connected is answered, then both processes end. A worker dies with its supervisor
(docs/adr/0012).
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from devices.child import fork, how_it_ended
from devices.errors import EdgeKitError, ServeError
from devices.pause import answer_in_pause, ended_again
from runtime.front import Front
from runtime.link import Link
from runtime.signals import signals_as_bytes
from runtime.worker import Work, WorkerSide, work

log = logging.getLogger(__name__)

_TURN_S = 1.0
_HANDSHAKES_S = 2.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


@dataclass(frozen=True)
class SupervisorLimits:
    """When a worker counts as lost, and how often one may be replaced.

    Attributes:
        load_s: For loading and warming up.
        silent_s: Without a sign of life from the serving loop.
        stop_s: For all workers to end; the command itself promises ten seconds.
        leave_s: For a worker that was told to leave; it gives itself a little less.
        pause_s: Longest pause between two attempts to start a worker.
        settled_s: A worker that served so long starts the pauses anew when it ends.
        replace_s: Between two replacements that workers ask for. Where the limit is below what the models need, a
            new worker would not help.
    """

    load_s: float = 600.0
    silent_s: float = 20.0
    stop_s: float = 9.0
    leave_s: float = 65.0
    pause_s: float = 30.0
    settled_s: float = 60.0
    replace_s: float = 600.0


@dataclass
class _Worker:
    """One child process as its supervisor sees it."""

    pid: int
    link: Link
    reason: str
    state: Literal["loading", "serving", "leaving"] = "loading"
    since: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    failure: dict[str, Any] | None = None

    def enter(self, state: Literal["serving", "leaving"]) -> None:
        self.state, self.since = state, time.monotonic()


class Supervisor:
    """Keeps one worker serving at ``listeners``."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        load: Callable[[WorkerSide], Work],
        *,
        on_ready: Callable[[], None],
        on_turn: Callable[[], None] = lambda: None,
        on_lost: Callable[[str], None] = lambda _: None,
        fronts: Sequence[Front] = (),
        limits: SupervisorLimits | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            listeners: Listening sockets; closed when the server stops.
            load: Loads what a worker serves; called in the worker.
            on_ready: Called once, when the first worker serves.
            on_turn: Called about once a second, as long as this process works.
            on_lost: Called with the reason when a worker that served is gone, before a new one is started.
            fronts: Started when the first worker serves, kept running, and ended with the workers.
            limits: Other than the usual ones.
        """
        self._listeners = list(listeners)
        self._load, self._on_ready, self._fronts = load, on_ready, fronts
        self._on_turn, self._on_lost = on_turn, on_lost
        self._limits = limits or SupervisorLimits()
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._was_ready = False
        self._stop_by: float | None = None
        self._leaving = False
        self._leave_at: float | None = None
        self._start_at: float | None = None  # when a worker is to be started after a pause
        self._start_reason = "the command was started"
        self._trouble: EdgeKitError = ended_again("")  # what callers hear in a pause
        self._losses = 0  # workers lost in a row
        self._next_replacement = 0.0
        self._swap_wanted = False
        self._facts: dict[str, Any] = {"restarts": 0, "last_restart": None, "last_swap": None}  # see WorkerSide.facts

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            EdgeKitError: The first worker could not load what it was to serve; as the worker raised it.
        """
        with signals_as_bytes(_SIGNALS) as waiting:
            self._selector.register(waiting, selectors.EVENT_READ)
            try:
                self._start("the command was started")
                while self._stop_by is None or self._workers or any(front.running for front in self._fronts):
                    self._turn(waiting)
            finally:
                self._kill_all()
                self._close_listeners()
                self._selector.close()

    def _turn(self, waiting: socket.socket) -> None:
        began = time.monotonic()
        events = self._selector.select(self._patience(began))
        if time.monotonic() - began > _TURN_S + self._limits.silent_s / 2:
            # this process itself was held up, and the workers with it: they get time to show that they live
            for worker in self._workers:
                worker.heard = time.monotonic()
        for key, _ in events:
            if key.fileobj is waiting:
                for number in waiting.recv(64):
                    self._obey(number)
            elif isinstance(key.fileobj, Front):
                self._front_ended(key.fileobj)
            elif key.data is None:
                answer_in_pause(key.fileobj, self._trouble)  # type: ignore[arg-type]  # a listener, in a pause
            elif key.data in self._workers:
                self._listen_to(key.data)
        self._check(time.monotonic())
        self._on_turn()

    def _patience(self, now: float) -> float:
        return _TURN_S if self._start_at is None else max(0.0, min(_TURN_S, self._start_at - now))

    # what people ask

    def _obey(self, number: int) -> None:
        if number == signal.SIGHUP:
            if self._stop_by is None:
                self._swap()
            return
        if number == signal.SIGUSR2:
            if self._stop_by is None:
                self._leaving = True
                self._end("leave", self._limits.leave_s)
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._stop_by is not None and not self._leaving:
                self._stop_by = 0.0  # asked twice: now
            else:
                self._leaving = False
                self._end("stop", self._limits.stop_s)

    def _end(self, how: Literal["leave", "stop"], within_s: float) -> None:
        """Take no new callers; workers leave or stop, and this process ends with the last of them."""
        now = time.monotonic()
        self._stop_by = now + within_s
        self._start_at = None
        self._refuse_in_pause(False)
        for front in self._fronts:
            front.kill(signal.SIGTERM)
        if how == "leave" and self._fronts and self._leave_at is None:
            self._leave_at = now + _HANDSHAKES_S  # a TLS end may still bring those whom it has just accepted
            return
        self._leave_at = None
        self._close_listeners()
        for worker in self._workers:
            if worker.state == "loading":
                os.kill(worker.pid, signal.SIGKILL)
            else:
                worker.link.send(how)

    def _swap(self) -> None:
        if any(worker.state == "loading" for worker in self._workers):
            self._swap_wanted = True  # what is being loaded may be what was there before
        else:
            self._swap_wanted, self._start_at = False, None
            self._start("a swap was asked for")

    # what workers say

    def _listen_to(self, worker: _Worker) -> None:
        try:
            message = worker.link.receive()
        except BlockingIOError:
            return
        if message is None:
            self._ended(worker)
            return
        worker.heard = time.monotonic()
        match message["event"]:
            case "ready":
                self._ready(worker)
            case "failed":
                worker.failure = message
            case "replace":
                self._replace(worker, message["reason"])

    def _ready(self, worker: _Worker) -> None:
        for old in self._workers:
            if old.state == "serving":
                old.enter("leaving")
                old.link.send("leave")
        worker.enter("serving")
        if worker.reason == "a swap was asked for":
            self._facts["last_swap"] = {"time": _now(), "done": True}
            log.warning("The swap is done: process %d serves.", worker.pid)
        self._tell()
        self._refuse_in_pause(False)
        if not self._was_ready:
            self._was_ready = True
            for front in self._fronts:
                self._start_front(front)
            self._on_ready()
        if self._swap_wanted:
            self._swap()

    def _replace(self, worker: _Worker, reason: str) -> None:
        now = time.monotonic()
        if worker.state != "serving" or any(each.state == "loading" for each in self._workers):
            return
        if now < self._next_replacement:
            log.error("No new worker so soon after the last one. %s", reason)
            return
        self._next_replacement = now + self._limits.replace_s
        self._count_restart(reason)
        self._start(reason)

    def _ended(self, worker: _Worker) -> None:
        self._selector.unregister(worker.link.socket)
        worker.link.close()
        self._workers.remove(worker)
        _, status = os.waitpid(worker.pid, 0)
        if self._stop_by is not None:
            return
        how = how_it_ended(status)
        if worker.state == "leaving":
            log.info("The worker that left, process %d, %s.", worker.pid, how)
        elif worker.state == "serving":
            self._lost(f"The worker, process {worker.pid}, {how}.", time.monotonic() - worker.since)
        else:
            self._failed(worker, how)

    def _failed(self, worker: _Worker, how: str) -> None:
        """A worker ended before it served."""
        error = _as_error(worker, how)
        if not self._was_ready:
            raise error
        if any(each.state == "serving" for each in self._workers):
            log.error("A new worker failed, the old one goes on serving (%s). %s", worker.reason, error)
            if worker.reason == "a swap was asked for":
                self._facts["last_swap"] = {"time": _now(), "done": False, "error": error.as_dict()}
                self._tell()
        else:
            self._lost(f"A new worker could not start: {error}", 0.0, error)
        if self._swap_wanted:
            self._swap()

    def _lost(self, what: str, served_s: float, error: EdgeKitError | None = None) -> None:
        """Nobody serves: start a worker, at once the first time."""
        self._trouble = error or ended_again(what)
        self._losses = 1 if served_s >= self._limits.settled_s else self._losses + 1
        pause = 0.0 if self._losses == 1 else min(self._limits.pause_s, 2.0 ** (self._losses - 2))
        log.error("%s A new one starts %s.", what, f"in {pause:.0f} s" if pause else "at once")
        self._count_restart(what)
        self._on_lost(what)
        if any(each.state == "loading" for each in self._workers):
            return  # a swap was under way; it takes over
        self._start_at, self._start_reason = time.monotonic() + pause, what
        self._refuse_in_pause(pause > 1.0)

    def _count_restart(self, reason: str) -> None:
        self._facts["restarts"] += 1
        self._facts["last_restart"] = {"time": _now(), "reason": reason}

    def _tell(self) -> None:
        """Let the serving worker know what its status shall say."""
        for worker in self._workers:
            if worker.state == "serving":
                worker.link.send("facts", facts=self._facts)

    # what time brings

    def _check(self, now: float) -> None:
        limits = self._limits
        if self._start_at is not None and now >= self._start_at:
            self._start_at = None
            self._start(self._start_reason)
        for worker in self._workers:
            silent = worker.state != "loading" and now - worker.heard > limits.silent_s
            late = {"loading": limits.load_s, "serving": float("inf"), "leaving": limits.leave_s}[worker.state]
            if silent or now - worker.since > late:
                log.error("Process %d, %s, gives no sign of life or does not end: killed.", worker.pid, worker.state)
                worker.since = worker.heard = now
                os.kill(worker.pid, signal.SIGKILL)
        if self._leave_at is not None and now >= self._leave_at:
            self._end("leave", limits.leave_s)
        if self._stop_by is not None and now >= self._stop_by:
            self._kill_all()

    def _start(self, reason: str) -> None:
        here, there = Link.pair()
        worker = _Worker(fork(lambda: self._work(there, here)), here, reason)
        there.close()
        self._workers.append(worker)
        self._selector.register(here.socket, selectors.EVENT_READ, worker)

    def _start_front(self, front: Front) -> None:
        front.start()
        self._selector.register(front, selectors.EVENT_READ, front)

    def _front_ended(self, front: Front) -> None:
        self._selector.unregister(front)
        how = how_it_ended(front.reap())
        if self._stop_by is None:
            log.error("The TLS end %s; it is started again.", how)
            self._start_front(front)

    def _work(self, link: Link, other_end: Link) -> int:
        """In the child: keep nothing of the supervisor's, or no line would come to its end with it; then work."""
        self._selector.close()
        for each in (other_end, *(worker.link for worker in self._workers)):
            each.close()
        return work(link, self._listeners, self._load)

    def _kill_all(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
        for front in self._fronts:
            front.kill(signal.SIGKILL)

    def _close_listeners(self) -> None:
        while self._listeners:
            self._listeners.pop().close()

    def _refuse_in_pause(self, refuse: bool) -> None:
        """Answer callers in a long pause; in a short one they wait in the kernel's queue."""
        known = self._selector.get_map()
        for listener in self._listeners:
            if refuse and listener not in known:
                self._selector.register(listener, selectors.EVENT_READ, None)
            elif not refuse and listener in known:
                self._selector.unregister(listener)


def _as_error(worker: _Worker, how: str) -> EdgeKitError:
    """The error that the worker reported; or that it ended without a word."""
    if worker.failure is None:
        return ServeError(
            f"The worker process {how} while it loaded the models.",
            remedy="The lines above say more; if it was killed, look whether the machine ran out of memory.",
        )
    error = EdgeKitError.from_dict(worker.failure["error"])
    error.exit_code = worker.failure["exit_code"]
    return error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
