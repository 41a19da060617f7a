"""Micro-batching: answers reach those who asked, alone or in company, whatever happens to the others."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from devices.errors import BackendError, ClientGoneError, DeadlineError
from runtime.batching import MicroBatcher
from runtime.budget import UNLIMITED, Budget

Question = tuple[int, int]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Model:
    """Answers a question with itself and its kind; a question of a negative number makes its run fail."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, list[Question]]] = []
        self.under_way, self.most = 0, 0
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def __call__(self, kind: int, questions: Sequence[Question]) -> list[tuple[int, Question]]:
        with self._lock:
            self.runs.append((kind, list(questions)))
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.gate.wait(5)
        time.sleep(0.0002)
        with self._lock:
            self.under_way -= 1
        if any(number < 0 for _, number in questions):
            raise BackendError("a negative number")
        if any(number == 666 for _, number in questions):
            raise ZeroDivisionError
        return [(kind, question) for question in questions]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def threads() -> ThreadPoolExecutor:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def ask(
    shared: MicroBatcher[int, Question, tuple[int, Question]],
    kind: int,
    questions: Sequence[Question],
    budget: Budget = UNLIMITED,
) -> list[tuple[int, Question]]:
    return shared.submit(lambda: [(kind, question) for question in questions], budget)


def batcher(model: Model, limit: int = 8, **options: object) -> MicroBatcher[int, Question, tuple[int, Question]]:
    return MicroBatcher(model, lambda _kind: limit, **options)  # type: ignore[arg-type]


def test_one_alone_runs_at_once_without_waiting_for_company(model: Model) -> None:
    alone = batcher(model, wait_s=5.0)
    begin = time.monotonic()
    assert ask(alone, 1, [(0, 7)]) == [(1, (0, 7))]
    assert time.monotonic() - begin < 1
    assert ask(alone, 1, []) == []


def test_more_than_one_run_takes_is_answered_in_order(model: Model) -> None:
    questions = [(0, number) for number in range(21)]
    assert ask(batcher(model), 3, questions) == [(3, question) for question in questions]
    assert [len(asked) for _, asked in model.runs] == [8, 8, 5]


def test_those_who_come_while_a_run_is_under_way_run_together_in_order_of_arrival(
    model: Model, threads: ThreadPoolExecutor
) -> None:
    observed: list[int] = []
    shared = batcher(model, observe=observed.append)
    model.gate.clear()
    futures = [threads.submit(ask, shared, 1, [(0, 0)])]
    until(lambda: model.under_way == 1)
    for person in range(1, 12):
        futures.append(threads.submit(ask, shared, 2 if person == 3 else 1, [(person, 0)]))
        until(lambda person=person: shared.waiting == person)
    model.gate.set()
    for person, future in enumerate(futures):
        assert future.result(5) == [(2 if person == 3 else 1, (person, 0))]
    runs = [[person for person, _ in asked] for _, asked in model.runs]
    assert runs == [[0], [1, 2, 4, 5, 6, 7, 8, 9], [3], [10, 11]]
    assert observed == [1, 8, 1, 2]


def test_no_answer_reaches_another_caller_with_32_threads(model: Model, threads: ThreadPoolExecutor) -> None:
    shared = batcher(model, limit=6, wait_s=0.001)

    def person(me: int) -> None:
        chance = random.Random(me)
        for turn in range(40):
            questions = [(me, 1000 * turn + number) for number in range(chance.randrange(1, 9))]
            kinds = [chance.randrange(3) for _ in questions]
            wrong = chance.random() < 0.1
            impatient = chance.random() < 0.2
            budget = Budget.lasting(chance.random() * 0.004) if impatient else UNLIMITED
            try:
                asked = [*zip(kinds, questions, strict=True)] + [(0, (me, -1))] * wrong
                answers = shared.submit(lambda asked=asked: asked, budget)
            except BackendError:
                assert wrong
            except DeadlineError:
                assert impatient
            else:
                assert not wrong
                assert answers == asked

    list(threads.map(person, range(32)))
    assert shared.waiting == 0
    assert any(len({me for me, _ in asked}) > 1 for _, asked in model.runs)
    assert all(len(asked) <= 6 for _, asked in model.runs)
    begin = time.monotonic()
    assert ask(shared, 0, [(0, 5)]) == [(0, (0, 5))]  # the lead was not lost on the way
    assert time.monotonic() - begin < 1


def together(
    model: Model,
    shared: MicroBatcher[int, Question, tuple[int, Question]],
    threads: ThreadPoolExecutor,
    asked: Sequence[Question],
    budgets: dict[int, Budget] | None = None,
) -> list[object]:
    """Make all of ``asked`` wait for one run; returns answers or errors."""
    model.gate.clear()
    first = threads.submit(ask, shared, 1, [(99, 0)])
    until(lambda: model.under_way == 1)
    futures = []
    for index, question in enumerate(asked):
        futures.append(threads.submit(ask, shared, 1, [question], (budgets or {}).get(index, UNLIMITED)))
        until(lambda index=index: shared.waiting == index + 1)
    model.gate.set()
    assert first.result(5) == [(1, (99, 0))]
    return [future.exception(5) or future.result(5) for future in futures]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_who_makes_a_run_fail_gets_the_error_and_the_others_their_answers(
    model: Model, threads: ThreadPoolExecutor, position: int
) -> None:
    asked = [(person, 5) for person in range(3)]
    asked[position] = (position, -1)
    shared = batcher(model)
    answers = together(model, shared, threads, asked)
    for person, answer in enumerate(answers):
        if person == position:
            assert isinstance(answer, BackendError)
        else:
            assert answer == [(1, (person, 5))]
    assert ask(shared, 1, [(0, 1)]) == [(1, (0, 1))]


def test_a_bug_in_the_model_reaches_its_leader_and_leaves_nobody_waiting(
    model: Model, threads: ThreadPoolExecutor
) -> None:
    shared = batcher(model)
    answers = together(model, shared, threads, [(0, 5), (1, 666), (2, 5)])
    assert isinstance(answers[0], ZeroDivisionError)  # he led the run that failed
    assert isinstance(answers[1], ZeroDivisionError)
    assert answers[2] == [(1, (2, 5))]
    assert ask(shared, 1, [(0, 1)]) == [(1, (0, 1))]


def test_a_client_that_goes_while_waiting_leaves_the_queue(model: Model, threads: ThreadPoolExecutor) -> None:
    shared = batcher(model)
    model.gate.clear()
    first = threads.submit(ask, shared, 1, [(0, 0)])
    until(lambda: model.under_way == 1)
    gone: list[bool] = []
    second = threads.submit(ask, shared, 1, [(1, 0)], Budget(client_gone=lambda: bool(gone)))
    until(lambda: shared.waiting == 1)
    gone.append(True)
    with pytest.raises(ClientGoneError):
        second.result(5)
    assert shared.waiting == 0
    model.gate.set()
    assert first.result(5) == [(1, (0, 0))]
    assert len(model.runs) == 1


def test_a_spent_budget_runs_nothing(model: Model) -> None:
    with pytest.raises(DeadlineError):
        ask(batcher(model), 1, [(0, 0)], Budget.lasting(0))
    assert model.runs == []


def test_a_deadline_holds_also_for_those_whose_run_is_under_way(model: Model, threads: ThreadPoolExecutor) -> None:
    shared = batcher(model)
    model.gate.clear()
    first = threads.submit(ask, shared, 1, [(0, 0)])
    until(lambda: model.under_way == 1)
    with pytest.raises(DeadlineError):
        ask(shared, 1, [(1, 0)], Budget.lasting(0.05))
    model.gate.set()
    first.result(5)


def test_a_leader_waits_for_those_on_their_way_but_not_forever(model: Model, threads: ThreadPoolExecutor) -> None:
    shared = batcher(model, limit=2, wait_s=0.1)
    arriving, arrive = threading.Event(), threading.Event()

    def slowly() -> list[tuple[int, Question]]:
        arriving.set()
        arrive.wait(5)
        return [(1, (1, 0))]

    second = threads.submit(shared.submit, slowly)
    arriving.wait(5)
    begin = time.monotonic()
    assert ask(shared, 1, [(0, 0)]) == [(1, (0, 0))]
    assert 0.09 < time.monotonic() - begin < 1
    arriving.clear()
    third = threads.submit(shared.submit, slowly)
    threading.Timer(0.02, arrive.set).start()
    assert ask(shared, 1, [(0, 0)]) == [(1, (0, 0))]
    assert second.result(5) == third.result(5) == [(1, (1, 0))]
    assert 2 in [len(asked) for _, asked in model.runs]


def test_one_who_fails_on_his_way_keeps_nobody_waiting(model: Model) -> None:
    shared = batcher(model, wait_s=5.0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            shared.submit(lambda: [(1 // 0, (0, 0))])
    begin = time.monotonic()
    assert ask(shared, 1, [(0, 7)]) == [(1, (0, 7))]
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize("leaders", [1, 3])
def test_no_more_runs_are_under_way_than_there_are_leaders(
    model: Model, threads: ThreadPoolExecutor, leaders: int
) -> None:
    shared = batcher(model, limit=2, leaders=leaders)
    list(threads.map(lambda person: ask(shared, person % 2, [(person, turn) for turn in range(5)]), range(40)))
    assert model.most == leaders
