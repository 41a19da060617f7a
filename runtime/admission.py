"""A door in front of work that a small box can only do a little of at once.

So many requests are worked on, so many more may wait in the order in which they came, and the rest is refused at once
with the time after which to ask again. Nobody waits beyond his deadline, and a place in the queue is free again a
moment after its client has gone.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from devices.errors import OverloadedError
from runtime.budget import UNLIMITED, Budget

ASK_S = 0.05  # how often one who waits asks whether his client is still there
_LONGEST_RETRY_S = 60
_MEMORY = 0.2  # weight of the latest piece of work in the running mean


class Admission:
    """Places for work and a queue before them. Threads share one.

    Args:
        running: How much is worked on at once.
        waiting: How much more may wait.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._places, self._room = running, waiting
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()  # of those who wait; one whose event is set has got his place
        self._taken = 0
        self._mean_s = 0.0

    @property
    def running(self) -> int:
        """How many are worked on now."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._queue)

    @property
    def retry_after_s(self) -> int:
        """In how many whole seconds one more would probably be let in, by how long recent work has taken."""
        ahead = (len(self._queue) + 1) * self._mean_s / self._places
        return max(1, min(_LONGEST_RETRY_S, math.ceil(ahead)))

    @contextmanager
    def place(self, budget: Budget = UNLIMITED) -> Iterator[None]:
        """Hold a place, after waiting for one if none is free.

        Raises:
            OverloadedError: As many wait as may wait.
            DeadlineError: No place was free before the deadline.
            ClientGoneError: The client went away while waiting.
        """
        budget.check()
        self._enter(budget)
        begin = time.monotonic()
        try:
            yield
        finally:
            self._leave(time.monotonic() - begin)

    def _enter(self, budget: Budget) -> None:
        with self._lock:
            if self._taken < self._places:  # then nobody waits: who leaves hands his place on
                self._taken += 1
                return
            if len(self._queue) >= self._room:
                raise OverloadedError(
                    f"{self._taken} requests are worked on and {len(self._queue)} wait; no more may wait."
                )
            mine = threading.Event()
            self._queue.append(mine)
        try:
            while not mine.wait(min(ASK_S, budget.remaining_s)):
                budget.check()
            budget.check()
        except BaseException:
            with self._lock:
                given = mine.is_set()
                if not given:
                    self._queue.remove(mine)
            if given:  # the place came in the same moment
                self._pass_on()
            raise

    def _leave(self, spent_s: float) -> None:
        with self._lock:
            self._mean_s += _MEMORY * (spent_s - self._mean_s)
        self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._taken -= 1
