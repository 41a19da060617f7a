"""Sync as it goes on beside scoring: a session now and then, and patience while the line is down.

Pauses after a failure are drawn anew each time between nothing and a bound that doubles ("full jitter", Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so a thousand branches whose line comes back at once
do not come at once. ``Retry-After`` is waited for on top of that.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from devices.errors import EdgeKitError, SyncError
from edge.offline.sync import Outcome

log = logging.getLogger(__name__)

_FIRST_S = 2.0
_SPREAD = 0.25  # of the usual pause, to both sides


@dataclass
class Backoff:
    """How long to wait after failures in a row.

    Attributes:
        longest_s: Bound of all pauses.
        first_s: Bound of the first one.
        draw: Between 0 and 1.
    """

    longest_s: float
    first_s: float = _FIRST_S
    draw: Callable[[], float] = random.random
    _failures: int = field(default=0, init=False)

    def failed(self, retry_after_s: float = 0.0) -> float:
        """The pause after one more failure, in seconds."""
        bound = min(self.longest_s, self.first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return retry_after_s + bound * self.draw()

    def succeeded(self) -> None:
        """Begin with short pauses again."""
        self._failures = 0


class SyncLoop:
    """Sessions in a thread of its own, until ``stop``. Neither the line nor a full disk ends it.

    Args:
        session: ``Session.run``: takes what says whether to stop, and calls until nothing waits.
        every_s: Usual pause between two sessions, a quarter more or less; also the longest after a failure.
        backoff: For tests.
    """

    def __init__(
        self, session: Callable[[Callable[[], bool]], Outcome], every_s: float, backoff: Backoff | None = None
    ) -> None:
        self._session, self._every_s = session, every_s
        self._backoff = backoff or Backoff(every_s)
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._last: Outcome | None = None
        self._problem: EdgeKitError | None = None

    def start(self) -> None:
        """Begin with a session."""
        self._thread.start()

    def wake(self) -> None:
        """Do not wait for the pause to end; after a failure it is waited for all the same."""
        self._bell.set()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the call that is under way, which is not waited for longer than ``timeout_s``."""
        self._stopping.set()
        self._bell.set()
        self._thread.join(timeout_s)

    def status(self) -> dict[str, object]:
        """For ``/v1/status``: what the last whole session did, and the problem of a later one that failed."""
        last, problem = self._last, self._problem
        return {
            "sent": last.sent if last else None,
            "refused": len(last.refused) if last else None,
            "problem": problem.as_dict() if problem else None,
        }

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._last = self._session(self._stopping.is_set)
            except EdgeKitError as error:
                self._failed(error)
                continue
            except Exception as error:  # a defect; a thread that ended in silence would send nothing for months
                log.exception("A session with headquarters met a defect of the kit.")
                self._failed(SyncError(f"A session with headquarters ended by a defect, {type(error).__name__}."))
                continue
            self._problem = None
            self._backoff.succeeded()
            self._bell.wait(self._every_s * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311  # no secret
            self._bell.clear()

    def _failed(self, error: EdgeKitError) -> None:
        if self._problem is None or self._problem.problem != error.problem:  # once, not every few minutes for a week
            log.warning("%s", error)
        self._problem = error
        pause_s = self._backoff.failed(error.retry_after_s if isinstance(error, SyncError) else 0.0)
        self._stopping.wait(pause_s)
