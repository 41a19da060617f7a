"""The door in front of heavy work: places, the queue before them, and who gives up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from devices.errors import ClientGoneError, DeadlineError, OverloadedError
from runtime.admission import Admission
from runtime.budget import UNLIMITED, Budget


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Crowd:
    """Threads that hold a place until they are told to go."""

    def __init__(self, door: Admission, threads: ThreadPoolExecutor) -> None:
        self.door, self.threads = door, threads
        self.order: list[str] = []

    def enter(self, name: str, budget: Budget = UNLIMITED) -> tuple[threading.Event, Future[None]]:
        leave = threading.Event()

        def work() -> None:
            with self.door.place(budget):
                self.order.append(name)
                leave.wait(5)

        return leave, self.threads.submit(work)


@pytest.fixture
def threads() -> ThreadPoolExecutor:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def test_places_are_given_in_the_order_of_arrival_and_no_more_than_there_are(threads: ThreadPoolExecutor) -> None:
    door = Admission(2, 8)
    crowd = Crowd(door, threads)
    people = []
    for index, name in enumerate("abcdef"):
        people.append(crowd.enter(name))
        until(lambda index=index: door.running + door.waiting == index + 1)
    assert (door.running, door.waiting) == (2, 4)
    for index, (leave, done) in enumerate(people):
        leave.set()
        done.result(5)
        until(lambda index=index: len(crowd.order) == min(6, index + 3))  # the next one has come in
        assert door.running <= 2
    assert sorted(crowd.order[:2]) == ["a", "b"]
    assert crowd.order[2:] == ["c", "d", "e", "f"]
    assert (door.running, door.waiting) == (0, 0)


def test_who_finds_the_queue_full_is_refused_at_once_and_told_when_to_come_again(threads: ThreadPoolExecutor) -> None:
    door = Admission(1, 1)
    crowd = Crowd(door, threads)
    people = [crowd.enter("a"), crowd.enter("b")]
    until(lambda: door.waiting == 1)
    begin = time.monotonic()
    with pytest.raises(OverloadedError, match="1 requests are worked on and 1 wait"), door.place():
        pass
    assert time.monotonic() - begin < 0.5
    assert door.retry_after_s >= 1
    for leave, done in people:
        leave.set()
        done.result(5)
    with door.place():
        assert door.running == 1


def test_without_room_to_wait_a_second_one_is_refused() -> None:
    door = Admission(1, 0)
    with door.place(), pytest.raises(OverloadedError), door.place():
        pass
    assert door.running == 0


def test_nobody_waits_beyond_his_deadline_and_the_queue_is_free_again(threads: ThreadPoolExecutor) -> None:
    door = Admission(1, 1)
    leave, done = Crowd(door, threads).enter("a")
    until(lambda: door.running == 1)
    begin = time.monotonic()
    with pytest.raises(DeadlineError), door.place(Budget.lasting(0.08)):
        pass
    assert 0.07 < time.monotonic() - begin < 2
    assert door.waiting == 0
    leave.set()
    done.result(5)
    assert door.running == 0


def test_a_spent_budget_never_gets_a_place() -> None:
    door = Admission(1, 1)
    with pytest.raises(DeadlineError), door.place(Budget.lasting(0)):
        pass
    assert door.running == 0


def test_a_client_that_goes_away_frees_his_place_in_the_queue_for_the_next(threads: ThreadPoolExecutor) -> None:
    door = Admission(1, 1)
    crowd = Crowd(door, threads)
    leave, _ = crowd.enter("a")
    until(lambda: door.running == 1)
    gone: list[bool] = []
    _, left = crowd.enter("gone", Budget(client_gone=lambda: bool(gone)))
    until(lambda: door.waiting == 1)
    gone.append(True)
    with pytest.raises(ClientGoneError):
        left.result(5)
    leave_b, done = crowd.enter("b")
    until(lambda: door.waiting == 1)
    leave.set()
    leave_b.set()
    done.result(5)
    assert crowd.order == ["a", "b"]
    assert (door.running, door.waiting) == (0, 0)


def test_a_place_that_comes_to_one_whose_client_has_just_gone_is_passed_on_unused(threads: ThreadPoolExecutor) -> None:
    door, gone = Admission(1, 2), []
    crowd = Crowd(door, threads)
    people = []
    for index, (name, budget) in enumerate(
        (("a", UNLIMITED), ("gone", Budget(client_gone=lambda: bool(gone))), ("b", UNLIMITED))
    ):
        people.append(crowd.enter(name, budget))
        until(lambda index=index: door.running + door.waiting == index + 1)
    gone.append(True)
    for leave, _ in people:
        leave.set()
    with pytest.raises(ClientGoneError):
        people[1][1].result(5)
    people[2][1].result(5)
    assert "gone" not in crowd.order
    assert (door.running, door.waiting) == (0, 0)


def test_an_error_inside_gives_the_place_back() -> None:
    door = Admission(1, 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), door.place():
            _ = 1 / 0
    assert (door.running, door.waiting) == (0, 0)


def test_no_place_is_lost_or_given_twice_when_many_come_and_many_give_up(threads: ThreadPoolExecutor) -> None:
    door = Admission(3, 40)
    inside, most, outcomes = [0], [0], []
    lock = threading.Lock()

    def visit(index: int) -> None:
        # every third gives up about when a place may come to him
        budget = Budget.lasting(0.001 * (1 + index % 7)) if index % 3 == 0 else UNLIMITED
        try:
            with door.place(budget):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                with lock:
                    inside[0] -= 1
            outcomes.append("in")
        except (DeadlineError, OverloadedError) as error:
            outcomes.append(error.code)

    list(threads.map(visit, range(1500)))
    assert len(outcomes) == 1500
    assert {"in", "SERVE-003"} <= set(outcomes)
    assert most[0] == 3
    assert (door.running, door.waiting) == (0, 0)


def test_the_time_to_come_again_follows_how_long_the_work_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    door, now = Admission(2, 0), [0.0]
    assert door.retry_after_s == 1
    monkeypatch.setattr("runtime.admission.time.monotonic", lambda: now[0])
    for _ in range(40):
        with door.place():
            now[0] += 9
    assert door.retry_after_s == 5  # two places, nine seconds each
    for _ in range(40):
        with door.place():
            now[0] += 9000
    assert door.retry_after_s == 60
