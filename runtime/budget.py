"""What a request may still spend: time until its deadline, and only while somebody waits for the answer.

A budget is handed down with the work; long work asks it between model calls, where stopping costs nothing, and tells
it how long each stage took.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from devices.errors import ClientGoneError, DeadlineError

Item = TypeVar("Item")


def _stays() -> bool:
    return False


def _nobody_asks(_stage: str, _seconds: float) -> None:
    pass


@dataclass(frozen=True)
class Budget:
    """A deadline, and a way to ask whether the client has gone.

    Attributes:
        deadline: On ``time.monotonic``'s clock, which a change of the date does not move; infinite for none.
        client_gone: Whether nobody waits for the answer any more. Asked often, so it must be cheap.
        observe: Told each stage's name and how many seconds it took.
    """

    deadline: float = math.inf
    client_gone: Callable[[], bool] = _stays
    observe: Callable[[str, float], None] = _nobody_asks

    @classmethod
    def lasting(
        cls,
        seconds: float,
        client_gone: Callable[[], bool] = _stays,
        observe: Callable[[str, float], None] = _nobody_asks,
    ) -> Budget:
        """A budget that begins now."""
        return cls(time.monotonic() + seconds, client_gone, observe)

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, never below zero; infinite where there is none."""
        return max(0.0, self.deadline - time.monotonic())

    def check(self) -> None:
        """Return while the work is still worth doing.

        Raises:
            DeadlineError: The deadline has passed.
            ClientGoneError: The client has closed its connection.
        """
        if self.client_gone():
            raise ClientGoneError("The client closed its connection before the answer was ready.")
        if time.monotonic() >= self.deadline:
            raise DeadlineError("The request's time was up before its answer was ready.")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Check, and report how long the block took.

        Raises:
            DeadlineError: The deadline has passed.
            ClientGoneError: The client has closed its connection.
        """
        self.check()
        begin = time.perf_counter()
        yield
        self.observe(name, time.perf_counter() - begin)


UNLIMITED = Budget()


def each_within(stage: Callable[[], AbstractContextManager[None]], items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each of them made within a ``stage`` of its own."""
    while True:
        with stage():
            item = next(items, None)
        if item is None:
            return
        yield item
