"""The launcher's child processes: servers of a slot, and checks of a slot's files. All die with the launcher."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from devices.child import fork, how_it_ended
from devices.errors import EdgeKitError, SlotError
from devices.provision import notify
from devices.provision.slots import Layout, verify_slot
from devices.provision.switch import SlotName

WATCHDOG_S = 30
_FIRST_INHERITED = 3  # SD_LISTEN_FDS_START
_NOT_INHERITED = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID", "PYTHONHOME", "PYTHONPATH")


class Child:
    """One process. Its ``fileno`` is readable once it has ended."""

    def __init__(self, run: Callable[[], int]) -> None:
        self.pid = fork(lambda: _with_usual_signals(run))
        self.since = time.monotonic()
        self._ended = os.pidfd_open(self.pid)

    def fileno(self) -> int:
        """For a selector."""
        return self._ended

    def kill(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def reap(self) -> str:
        """Wait for the end; returns it in words that follow the process's name."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self._ended)
        return how_it_ended(status)


class Check(Child):
    """Compares every file of a slot with its list, beside the launcher's own work."""

    def __init__(self, root: Path, name: SlotName, then: Callable[[str], None]) -> None:
        """``then`` is for the launcher: called with what is wrong with the slot, or with nothing."""
        self.slot, self.then = name, then
        self._read, self._write = os.pipe()
        super().__init__(lambda: self._run(root))
        os.close(self._write)

    def reap(self) -> str:
        """See ``Child``; here what is wrong with the slot."""
        how = super().reap()
        problem = os.read(self._read, 4096).decode("utf-8", "replace")
        os.close(self._read)
        return problem or ("" if how == "ended with status 0" else f"The check of slot {self.slot} {how}.")

    def _run(self, root: Path) -> int:
        try:
            verify_slot(root, self.slot)
        except (SlotError, OSError) as error:
            os.write(self._write, (error.problem if isinstance(error, SlotError) else str(error)).encode()[:4096])
            return 1
        return 0


class ServerProcess(Child):
    """``edgekit serve`` of one slot, in the slot's own environment.

    Attributes:
        slot: Which one.
        state: ``starting`` until it said that it is ready, ``leaving`` once it was told to.
        heard: When it last said anything, on the monotonic clock; None before its first word, however long that takes.
        failure: Why it cannot serve the release, if it said so.
        error: The same with all its sentences, for those who call meanwhile.
        drift: How the scores differ from those of the release before, if it said that they do.
    """

    def __init__(
        self,
        root: Path,
        name: SlotName,
        listeners: Sequence[socket.socket],
        arguments: Sequence[str],
        notifications: Path,
    ) -> None:
        self.slot, self.state, self.failure, self.drift = name, "starting", "", ""
        self.error: EdgeKitError | None = None
        self.heard: float | None = None
        self.listener = notify.Listener(notifications)
        python = str(Layout(root).python(name))
        # -I: nothing but the environment's own modules; -B: nothing is written into the slot
        command = [python, "-I", "-B", "-m", "edge.cli", "serve", "--root", str(root), "--slot", name, *arguments]
        environment = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
        environment |= {
            "EDGEKIT_STATE_DIR": str(Layout(root).state),
            "PYTHONDONTWRITEBYTECODE": "1",
            notify.VARIABLE: str(notifications),
            "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000),
        }
        super().__init__(lambda: _execute(command, environment, root, listeners))

    def tell_to_leave(self) -> None:
        """Have it answer those who are connected, and end."""
        self.state, self.since = "leaving", time.monotonic()
        self.kill(signal.SIGUSR2)

    def reap(self) -> str:
        """See ``Child``."""
        self.listener.close()
        return super().reap()


def _with_usual_signals(run: Callable[[], int]) -> int:
    """In the child: a signal that comes before it is a server ends it; the launcher's own handlers would lose it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    return run()


def _execute(
    command: Sequence[str], environment: Mapping[str, str], root: Path, listeners: Sequence[socket.socket]
) -> int:
    """In the child: become the server. Its sockets are those from 3 on, as ``inherited_listeners`` expects them."""
    # first away from there, since a listener may stand where another one has to go
    spare = [os.dup2(each.fileno(), 100 + index) for index, each in enumerate(listeners)]
    for index, descriptor in enumerate(spare):
        os.dup2(descriptor, _FIRST_INHERITED + index)
        os.close(descriptor)
    os.chdir(root)
    os.dup2(2, 1)  # what the command line says there is not for those who read the launcher's
    os.closerange(_FIRST_INHERITED + len(listeners), 4096)
    told = {"LISTEN_FDS": str(len(listeners)), "LISTEN_PID": str(os.getpid())}
    os.execve(command[0], list(command), {**environment, **told})  # noqa: S606  # a list of our own, no shell
