"""Micro-batching: what different callers ask of one model at the same time is answered by one run of it.

There is no thread for it. A caller who finds the model idle leads: he takes what waits and runs it together with his
own; the others sleep until their answers are there. So one alone is never delayed. When a leader is done, the one who
has waited longest leads next.

    - Only values of the same kind run together, for example texts padded to the same length.
    - An answer belongs to the ticket of its caller and never passes through anything shared.
    - If a run fails, everybody in it runs alone: the one who caused it gets the error, the others their answers.
    - A leader waits for company only while others are known to be on their way, and no longer than ``wait_s``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

from devices.errors import EdgeKitError
from runtime.admission import ASK_S
from runtime.budget import UNLIMITED, Budget

Kind = TypeVar("Kind", bound=Hashable)
Value = TypeVar("Value")
Answer = TypeVar("Answer")


class _Ticket(Generic[Kind, Value, Answer]):
    """What one caller asks in one go."""

    __slots__ = ("answers", "kind", "leads", "values", "wake")

    def __init__(self, kind: Kind, values: Sequence[Value]) -> None:
        self.kind, self.values = kind, values
        self.answers: Sequence[Answer] | None = None
        self.leads = False
        self.wake = threading.Event()  # set when the answers are there, the run has failed, or the ticket shall lead


class MicroBatcher(Generic[Kind, Value, Answer]):
    """Runs what several threads ask at the same time in common batches.

    Args:
        run: Answers values of one kind, one answer each, in their order.
        limit: How many values of a kind one run takes.
        leaders: How many runs may be under way at once.
        wait_s: The longest that a leader waits for others who are on their way.
        observe: Told the size of every run.
    """

    def __init__(
        self,
        run: Callable[[Kind, Sequence[Value]], Sequence[Answer]],
        limit: Callable[[Kind], int],
        *,
        leaders: int = 1,
        wait_s: float = 0.0,
        observe: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self._run, self._limit, self._leaders, self._wait_s, self._observe = run, limit, leaders, wait_s, observe
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[_Ticket[Kind, Value, Answer]] = deque()  # in order of arrival, none of them leading
        self._leading = 0
        self._coming = 0

    @property
    def waiting(self) -> int:
        """How many tickets wait for a run."""
        return len(self._waiting)

    def submit(self, prepare: Callable[[], Sequence[tuple[Kind, Value]]], budget: Budget = UNLIMITED) -> list[Answer]:
        """The answers to what ``prepare`` returns, (kind, value) each, in the same order.

        ``prepare`` runs in this thread, and a leader knows meanwhile that something is on its way. More values than
        one run takes go one run after another, so that a large request does not hold up small ones.

        Raises:
            DeadlineError: The answers were not there in time.
            ClientGoneError: The client went away meanwhile.
            EdgeKitError: What ``prepare`` raised, or ``run`` for these values.
        """
        with self._changed:
            self._coming += 1
        is_coming = True
        try:
            asked = prepare()
            answers: dict[int, Answer] = {}
            for kind, members in self._rounds([kind for kind, _ in asked]):
                budget.check()
                ticket: _Ticket[Kind, Value, Answer] = _Ticket(kind, [asked[member][1] for member in members])
                with self._changed:
                    self._coming -= is_coming
                    is_coming = False
                    self._enter(ticket)
                answers.update(zip(members, self._answers(ticket, budget), strict=True))
            return [answers[index] for index in range(len(asked))]
        finally:
            if is_coming:
                with self._changed:
                    self._coming -= 1
                    self._changed.notify_all()

    def _rounds(self, kinds: Sequence[Kind]) -> Iterator[tuple[Kind, list[int]]]:
        """Indices of values that go together: of one kind, and no more than one run takes."""
        by_kind: dict[Kind, list[int]] = {}
        for index, kind in enumerate(kinds):
            by_kind.setdefault(kind, []).append(index)
        for kind, members in by_kind.items():
            size = self._limit(kind)
            for start in range(0, len(members), size):
                yield kind, members[start : start + size]

    def _enter(self, ticket: _Ticket[Kind, Value, Answer]) -> None:
        """Lead where a lead is free, else wait. The lock is held."""
        if self._leading < self._leaders:  # then nobody waits: who is done hands the lead on
            self._leading += 1
            ticket.leads = True
        else:
            self._waiting.append(ticket)
        self._changed.notify_all()

    def _answers(self, ticket: _Ticket[Kind, Value, Answer], budget: Budget) -> Sequence[Answer]:
        if not ticket.leads:
            self._await(ticket, budget)
        if ticket.leads:
            self._lead(ticket)
        if ticket.answers is None:  # the run with the others failed
            return self._run(ticket.kind, ticket.values)
        return ticket.answers

    def _await(self, ticket: _Ticket[Kind, Value, Answer], budget: Budget) -> None:
        try:
            while not ticket.wake.wait(min(ASK_S, budget.remaining_s)):
                budget.check()
        except BaseException:
            with self._changed:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                elif ticket.leads:  # the lead came in the same moment
                    self._hand_on()
                # else it is in a run; what comes of it is nobody's
            raise

    def _lead(self, ticket: _Ticket[Kind, Value, Answer]) -> None:
        company: list[_Ticket[Kind, Value, Answer]] = []
        try:
            company = self._gather(ticket)
            batch = [ticket, *company]
            values = [value for each in batch for value in each.values]
            self._observe(len(values))
            answers = self._run(ticket.kind, values)
            begin = 0
            for each in batch:
                each.answers = answers[begin : begin + len(each.values)]
                begin += len(each.values)
        except EdgeKitError:
            if not company:
                raise
        finally:
            with self._changed:
                self._hand_on()
            for each in company:
                each.wake.set()

    def _gather(self, ticket: _Ticket[Kind, Value, Answer]) -> list[_Ticket[Kind, Value, Answer]]:
        """Take those out of the queue who run with ``ticket``."""
        room = self._limit(ticket.kind) - len(ticket.values)
        until = time.monotonic() + self._wait_s
        with self._changed:
            while (
                self._coming
                and sum(len(each.values) for each in self._waiting if each.kind == ticket.kind) < room
                and (left := until - time.monotonic()) > 0
            ):
                self._changed.wait(left)
            company = []
            for each in list(self._waiting):
                if each.kind == ticket.kind and len(each.values) <= room:
                    room -= len(each.values)
                    company.append(each)
                    self._waiting.remove(each)
        return company

    def _hand_on(self) -> None:
        """Give the lead to the one who has waited longest. The lock is held."""
        if self._waiting:
            following = self._waiting.popleft()
            following.leads = True
            following.wake.set()
        else:
            self._leading -= 1
