"""Keeps the server of the active slot running; changes over to another slot without losing a request; goes back.

It is a box's own supervisor, and what systemd runs where there is systemd. It holds the listening sockets for as long
as it lives, reads the record of the slots, and gets from what is to what should be:

- the record names another slot: every file of it is checked, its server is started beside the one that serves, and
  when that one says that it is ready, which in a trial includes the health check, the old one is told to leave;
- a server in trial is counted before it starts. One that says why it cannot serve is given up at once, one that fails
  ``crashes`` times in a row too, and so is a watched one whose scores drift: then the record goes back to the other
  slot, if that one is whole, and says why;
- a server that ended or gave no sign of life for 30 s is started again, at once, then with growing pauses.

The record decides, not this process's memory: kill it at any moment and the next one goes on from the record.
On a disk that cannot be written to it goes on in memory. Standard library and this package only, for Python 3.9 on:
it runs with the box's own Python, from one file, ``launcher.pyz`` (devices.provision.package).
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from devices.errors import EdgeKitError, ProvisionError, SlotError, SwitchError
from devices.pause import answer_in_pause, ended_again
from devices.provision import notify
from devices.provision import switch as moves
from devices.provision.lock import launcher_lock
from devices.provision.process import WATCHDOG_S, Check, ServerProcess
from devices.provision.slots import Layout, change, read_switch, salvage
from devices.provision.switch import SlotName, Switch

log = logging.getLogger(__name__)

_TURN_S = 1.0
_MEMORY = "/dev/shm"  # noqa: S108  # what lies there is in a directory of this user's own, of a name nobody knows
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class LauncherLimits:
    """How long is waited for what, in seconds.

    Attributes:
        load_s: For a server to be ready.
        silent_s: Without a sign of life from a server.
        stop_s: For servers to end after SIGTERM; their own limit is ten seconds.
        leave_s: For a server that was told to leave.
        pause_s: Longest pause between two attempts.
        settled_s: A server that served so long starts the pauses anew when it ends.
    """

    load_s: float = 600.0
    silent_s: float = WATCHDOG_S
    stop_s: float = 12.0
    leave_s: float = 75.0
    pause_s: float = 30.0
    settled_s: float = 60.0


def _notifications() -> tempfile.TemporaryDirectory[str]:
    """Where servers' words arrive: in memory where there is such a place, since the disk may be full."""
    return tempfile.TemporaryDirectory(prefix="edgekit-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None)


class Launcher:
    """Serves the active slot of one root."""

    def __init__(
        self,
        root: Path,
        listeners: Sequence[socket.socket],
        arguments: Sequence[str] = (),
        *,
        on_ready: Callable[[], None] = lambda: None,
        limits: LauncherLimits | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            root: Of the device.
            listeners: Listening sockets; closed at the end.
            arguments: Further ones for ``edgekit serve``.
            on_ready: Called once, when the first server is ready.
            limits: Other than the usual ones.
        """
        self._root, self._listeners, self._arguments = root, list(listeners), tuple(arguments)
        self._on_ready, self._limits = on_ready, limits or LauncherLimits()
        self._switch = Switch()
        self._seen: tuple[int, int] | None = None
        self._servers: list[ServerProcess] = []
        self._check: Check | None = None
        self._selector = selectors.DefaultSelector()
        self._manager = notify.Notifier.from_environment()
        self._was_ready = False
        self._stop_by: float | None = None
        self._start_at = 0.0
        self._losses = 0  # failures in a row of the active slot
        self._serial = 0
        self._trouble: EdgeKitError = ended_again("")  # what callers hear in a pause

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            LockedError: Another launcher serves this root.
            ProvisionError: The record is lost, and no slot is whole.
        """
        with launcher_lock(self._root) as self._tell, _notifications() as folder:
            self._folder = Path(folder)
            waiting, written = socket.socketpair()
            for end in (waiting, written):
                end.setblocking(False)
            before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
            signal.set_wakeup_fd(written.fileno())
            self._selector.register(waiting, selectors.EVENT_READ, self._obey)
            try:
                while self._stop_by is None or self._servers:
                    self._turn()
            finally:
                for server in self._servers:
                    server.kill(signal.SIGKILL)
                signal.set_wakeup_fd(-1)
                for number, handler in before.items():
                    signal.signal(number, handler)
                self._selector.close()
                for each in (waiting, written, *self._listeners):
                    each.close()

    def _turn(self) -> None:
        now = time.monotonic()
        self._read_record()
        self._keep_time(now)
        self._steer(now)
        events = self._selector.select(max(0.0, min(_TURN_S, self._start_at - now)) or _TURN_S)
        if time.monotonic() - now > _TURN_S + self._limits.silent_s / 2:
            # this process itself was held up, and the servers with it: they get time to show that they live
            for server in self._servers:
                server.heard = server.heard and time.monotonic()
        for key, _ in events:
            key.data(key.fileobj)
        self._manager.alive()  # what hangs here is killed here; that this loop turns is what systemd has to know

    def _obey(self, waiting: socket.socket) -> None:
        for number in waiting.recv(64):
            if number == signal.SIGHUP:
                self._seen = None
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop_by = time.monotonic() + self._limits.stop_s if self._stop_by is None else 0.0
                self._manager.send(STOPPING="1")
                for server in self._servers:
                    server.kill(signal.SIGTERM)

    # the record

    def _read_record(self) -> None:
        try:
            status = Layout(self._root).switch.stat()
            seen: tuple[int, int] | None = (status.st_mtime_ns, status.st_ino)
        except OSError:
            seen = None
        if seen is None or seen != self._seen:
            self._take(self._read_or_salvage())
            self._seen = seen

    def _read_or_salvage(self) -> Switch:
        try:
            return read_switch(self._root)
        except SwitchError as error:
            log.error("%s", error)
            try:
                return salvage(self._root, error.problem)
            except ProvisionError:
                if not self._servers:
                    raise
                return self._switch  # what serves, serves on

    def _record(self, move: Callable[[Switch], Switch]) -> None:
        """Change the record; only here in memory where the disk does not take it."""
        try:
            self._take(change(self._root, move))
        except SwitchError as error:  # it is lost, or a person changed it meanwhile so that the move no longer fits
            log.error("%s", error)
            self._take(self._read_or_salvage())
        except ProvisionError as error:
            log.error("%s", error)
            self._take(move(self._switch))

    def _take(self, switch: Switch) -> None:
        if switch.active != self._switch.active:
            self._losses, self._start_at = 0, 0.0
        self._switch = switch

    # from what is to what should be

    def _steer(self, now: float) -> None:
        active = self._switch.active
        if self._stop_by is not None or self._check is not None or active is None or now < self._start_at:
            return
        for server in self._servers:
            if server.slot != active and server.state == "starting":
                server.kill(signal.SIGKILL)  # nobody wants it any more, and once ready it would take calls
        serving = next((each for each in self._servers if each.slot == active and each.state != "leaving"), None)
        if serving is not None:
            if serving.drift and serving.state == "ready" and self._switch.watch is not None:
                why, serving.drift = serving.drift, ""
                self._give_up(why)
            return
        self._look_at(active, lambda problem: self._looked_at(active, problem))

    def _look_at(self, name: SlotName, then: Callable[[str], None]) -> None:
        self._check = Check(self._root, name, then)
        self._selector.register(self._check, selectors.EVENT_READ, self._checked)

    def _checked(self, check: Check) -> None:
        self._selector.unregister(check)
        self._check = None
        problem = check.reap()
        self._read_record()
        if self._stop_by is None:
            check.then(problem)

    def _looked_at(self, name: SlotName, problem: str) -> None:
        if name != self._switch.active:
            return
        if problem:
            self._give_up(problem, damaged=True)
        elif moves.attempts_are_over(self._switch) and self._switch.fallback:
            why = self._switch.serving.why or "the device went down each time that it was started"
            self._give_up(f"Given up after {self._switch.serving.attempts} starts: {why}")
        else:
            self._record(moves.attempt)
            self._start(name)

    def _start(self, name: SlotName) -> None:
        self._serial += 1
        notifications = self._folder / str(self._serial)
        server = ServerProcess(self._root, name, self._listeners, self._arguments, notifications)
        self._servers.append(server)
        self._selector.register(server, selectors.EVENT_READ, self._ended)
        self._selector.register(server.listener, selectors.EVENT_READ, lambda _: self._hear(server))
        self._answer_in_pause(False)
        log.info("Release %s is started from slot %s.", self._switch.slots[name].release, name)

    # what servers say

    def _hear(self, server: ServerProcess) -> None:
        while words := server.listener.receive():
            server.heard = time.monotonic()
            if words.get("READY") == "1" and server.state == "starting":
                self._ready(server)
            server.failure = words.get(notify.FAILED, server.failure)
            server.drift = words.get(notify.DRIFTED, server.drift)
            server.error = notify.error_in(words) or server.error
            if server.slot != self._switch.active or server.state == "leaving":
                continue
            if notify.CRASHED in words:
                self._crashed(words[notify.CRASHED])
            if notify.SETTLED in words:
                self._record(partial(moves.settle, why=words[notify.SETTLED]))

    def _ready(self, server: ServerProcess) -> None:
        if server.slot != self._switch.active:
            return
        server.state, server.since = "ready", time.monotonic()
        self._record(moves.mark_good)
        for old in self._servers:
            if old is not server and old.state == "ready":
                old.tell_to_leave()
        release = self._switch.slots[server.slot].release
        log.warning("Release %s serves from slot %s, process %d.", release, server.slot, server.pid)
        self._tell({"pid": os.getpid(), "slot": server.slot, "release": release, "server": server.pid})
        self._manager.send(READY="1", STATUS=f"Release {release} serves from slot {server.slot}.")
        if not self._was_ready:
            self._was_ready = True
            self._on_ready()

    def _ended(self, server: ServerProcess) -> None:
        self._hear(server)
        self._selector.unregister(server)
        self._selector.unregister(server.listener)
        self._servers.remove(server)
        how = server.reap()
        if self._stop_by is not None or server.state == "leaving" or server.slot != self._switch.active:
            return
        if server.state == "ready" and time.monotonic() - server.since >= self._limits.settled_s:
            self._losses = 0
        why = server.failure or f"Its server, process {server.pid}, {how}."
        self._trouble = server.error or ended_again(why)
        if server.failure and self._switch.serving.state == "trial":
            self._give_up(why)  # it will not be another one next time
        else:
            self._lost(why)

    def _crashed(self, why: str) -> None:
        """A worker of a server that goes on by itself."""
        if self._switch.watch is not None:
            self._record(moves.count_crash)
            if moves.crashes_are_over(self._switch):
                self._give_up(why)

    def _lost(self, why: str) -> None:
        """The active slot's server is gone."""
        self._losses += 1
        pause = 0.0 if self._losses == 1 else min(self._limits.pause_s, 2.0 ** (self._losses - 2))
        log.error("%s It is started again %s.", why, f"in {pause:.0f} s" if pause else "at once")
        self._wait(pause)
        self._crashed(why)
        crashes = self._switch.serving.crashes
        if (
            self._check is None
            and max(self._losses, self._switch.serving.attempts) >= crashes
            and self._switch.fallback
        ):
            self._give_up(f"Given up after {crashes} failures: {why}")
        elif self._check is None:
            self._record(lambda switch: moves.note_failure(switch, why))

    # back

    def _give_up(self, why: str, *, damaged: bool = False) -> None:
        """The active slot shall serve no more, if the other one can."""
        if self._check is not None:
            return  # a way back is being looked at already
        back = moves.inactive(self._switch)
        usable = moves.COMPLETE if damaged else {"good"}
        if self._switch.slots[back].state not in usable:
            self._stay(why, damaged)
            return
        given_up = self._switch.active

        def looked_at(problem: str) -> None:
            if self._switch.active != given_up:
                return
            if problem:
                self._record(lambda switch: moves.found_damaged(switch, back, problem))
                self._stay(why, damaged)
                return
            log.error("Slot %s is given up, slot %s serves again. %s", given_up, back, why)
            good = self._switch.slots[back].state == "good"
            self._record(lambda s: moves.roll_back(s, why) if good else moves.give_up_damaged(s, why))
            self._manager.send(STATUS=f"Back in slot {back}. {why}")

        self._look_at(back, looked_at)

    def _stay(self, why: str, damaged: bool) -> None:
        log.error("There is no other slot to go back to. %s", why)
        if damaged:
            self._trouble = SlotError(why)
        self._record(lambda switch: moves.note_failure(switch, why))
        self._losses += 1
        self._wait(min(self._limits.pause_s, 2.0**self._losses))

    def _wait(self, pause: float) -> None:
        self._start_at = time.monotonic() + pause
        self._answer_in_pause(pause > _TURN_S and not self._servers and "--tls-cert" not in self._arguments)

    def _answer_in_pause(self, answer: bool) -> None:
        """Answer callers in a long pause; in a short one they wait in the kernel's queue."""
        known = self._selector.get_map()
        for listener in self._listeners:
            if answer and listener not in known:
                self._selector.register(listener, selectors.EVENT_READ, self._answer_caller)
            elif not answer and listener in known:
                self._selector.unregister(listener)

    def _answer_caller(self, listener: socket.socket) -> None:
        answer_in_pause(listener, self._trouble)

    # what time brings

    def _keep_time(self, now: float) -> None:
        limits = self._limits
        late = {"starting": limits.load_s, "ready": float("inf"), "leaving": limits.leave_s}
        for server in self._servers:
            silent = server.heard is not None and now - server.heard > limits.silent_s + _TURN_S
            if silent or now - server.since > late[server.state]:
                log.error("Process %d, %s, gives no sign of life or does not end: killed.", server.pid, server.state)
                server.heard, server.since = None, now
                server.kill(signal.SIGKILL)
        if self._stop_by is not None and now >= self._stop_by:
            for server in self._servers:
                server.kill(signal.SIGKILL)
