"""The app behind the real server: a client that hangs up frees its place, and a full door leaves status answering."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from runtime.app import Limits, SentApplication, Services, create_app
from runtime.budget import Budget
from runtime.server import Server

FORM = b'--x\r\nContent-Disposition: form-data; name="application"\r\n\r\n%s\r\n--x--\r\n'


@dataclass
class Slow:
    """Scores for as long as it is told to, asking its budget; keeps the names of those that it began."""

    began: list[str] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)

    def score(self, sent: SentApplication, budget: Budget) -> dict[str, Any]:
        self.began.append(sent.application.decode())
        while not self.end.wait(0.01):
            budget.check()
        return {"name": sent.application.decode()}


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def served() -> Iterator[tuple[Slow, tuple[str, int]]]:
    slow, nothing = Slow(), None
    limits = Limits(requests=1, texts=1, queue=2)
    services = Services("1", {}, nothing, nothing, slow.score, lambda: {"device_id": "d"}, limits)  # type: ignore[arg-type]
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = Server(create_app(services), [listener], threads=limits.threads)
    thread = threading.Thread(target=server.run, args=(lambda: None,))
    thread.start()
    try:
        yield slow, listener.getsockname()
    finally:
        slow.end.set()
        server.stop()
        thread.join()
        listener.close()


@pytest.fixture
def ask(served: tuple[Slow, tuple[str, int]]) -> Iterator[Callable[[str], http.client.HTTPConnection]]:
    """Sends an application of a name; the answer is still to be read."""
    with contextlib.ExitStack() as open_ones:

        def ask(name: str) -> http.client.HTTPConnection:
            connection = open_ones.enter_context(contextlib.closing(http.client.HTTPConnection(*served[1], timeout=10)))
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            connection.request("POST", "/v1/score", FORM % name.encode(), headers)
            return connection

        yield ask


def metric(address: tuple[str, int], name: str) -> float:
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return float(next(line for line in lines if line.startswith(name)).split()[-1])


def test_clients_that_hang_up_free_their_places_for_those_behind_them(
    served: tuple[Slow, tuple[str, int]], ask: Callable[[str], http.client.HTTPConnection]
) -> None:
    slow, address = served
    first = ask("first")
    until(lambda: slow.began == ["first"])
    second = ask("second")
    until(lambda: metric(address, 'edgekit_requests_waiting{door="main"}') == 1)
    third = ask("third")
    until(lambda: metric(address, 'edgekit_requests_waiting{door="main"}') == 2)
    refused = ask("refused").getresponse()
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert json.loads(refused.read())["code"] == "SERVE-002"
    second.close()
    until(lambda: metric(address, 'edgekit_requests_waiting{door="main"}') == 1)
    first.close()
    until(lambda: slow.began == ["first", "third"])
    slow.end.set()
    assert json.loads(third.getresponse().read()) == {"name": "third"}
    assert metric(address, 'edgekit_requests_rejected_total{reason="client_gone"}') == 2
    assert metric(address, 'edgekit_requests_running{door="main"}') == 0


def test_a_hundred_clients_at_once_get_an_answer_or_a_refusal_and_nobody_hangs(
    served: tuple[Slow, tuple[str, int]], ask: Callable[[str], http.client.HTTPConnection]
) -> None:
    slow, address = served
    connections = [ask(str(index)) for index in range(100)]
    until(lambda: metric(address, 'edgekit_requests_rejected_total{reason="queue_full"}') == 97)
    slow.end.set()
    answers = [connection.getresponse() for connection in connections]
    assert sorted({answer.status for answer in answers}) == [200, 503]
    for index, answer in enumerate(answers):
        document = json.loads(answer.read())
        assert document.get("name", str(index)) == str(index)
    assert sum(answer.status == 200 for answer in answers) == 3
