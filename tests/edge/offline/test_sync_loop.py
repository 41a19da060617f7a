"""Patience while the line is down, and an end when asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from devices.errors import JournalFullError, SyncError
from edge.offline.sync import Outcome
from edge.offline.sync_loop import Backoff, SyncLoop


def test_pauses_are_drawn_below_a_bound_that_doubles_and_ends() -> None:
    longest = Backoff(60, first_s=2, draw=lambda: 1.0)
    assert [longest.failed() for _ in range(7)] == [2, 4, 8, 16, 32, 60, 60]
    assert [Backoff(60, draw=lambda: 0.0).failed() for _ in range(3)] == [0, 0, 0]
    longest.succeeded()
    assert longest.failed() == 2
    assert longest.failed(retry_after_s=30) == 34


def test_a_thousand_branches_do_not_come_back_at_once() -> None:
    pauses = []
    for _ in range(1000):
        backoff = Backoff(300)
        for _ in range(8):
            pause = backoff.failed()
        pauses.append(pause)
    buckets = [sum(start <= pause < start + 30 for pause in pauses) for start in range(0, 256, 30)]
    assert max(buckets) < 200


def sessions(*outcomes: Exception | Outcome) -> tuple[Callable[[Callable[[], bool]], Outcome], threading.Event]:
    left, done = list(outcomes), threading.Event()

    def session(stop: Callable[[], bool]) -> Outcome:
        outcome = left.pop(0)
        if not left:
            done.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return session, done


def test_the_loop_outlives_every_fault_and_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    down = [SyncError("The line is down.") for _ in range(3)]
    defect = ZeroDivisionError()
    session, done = sessions(*down, JournalFullError("The disk is full."), defect, Outcome(sent=5))
    loop = SyncLoop(session, 600, Backoff(0.001))
    with caplog.at_level(logging.WARNING):
        loop.start()
        assert done.wait(10)
        loop.stop()
    assert loop.status() == {"sent": 5, "refused": 0, "problem": None}
    assert [record.message.split(".")[0] for record in caplog.records] == [
        "The line is down",
        "The disk is full",
        "A session with headquarters met a defect of the kit",
        "A session with headquarters ended by a defect, ZeroDivisionError",
    ]


def test_the_status_names_the_problem_while_it_lasts() -> None:
    session, done = sessions(Outcome(sent=5), SyncError("The line is down."))
    loop = SyncLoop(session, 0.001, Backoff(600, draw=lambda: 1.0))
    loop.start()
    assert done.wait(10)
    loop.stop()
    status = loop.status()
    assert status["sent"] == 5
    assert isinstance(status["problem"], dict)
    assert status["problem"]["code"] == "SYNC-001"


def test_a_flagged_decision_wakes_it_and_stop_ends_it_at_once() -> None:
    session, done = sessions(Outcome(), Outcome())
    loop = SyncLoop(session, 600)
    loop.start()
    loop.wake()
    assert done.wait(10)
    loop.stop(10)
    assert not loop._thread.is_alive()
