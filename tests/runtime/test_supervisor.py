"""Two real processes without models: every way in which a worker is changed for another one."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import pytest

from devices.errors import ServeError
from devices.listeners import open_listeners

SCRIPT = Path(__file__).with_name("small_server.py")
ROOT = Path(__file__).parents[2]


class Small:
    """One small server: its processes, and requests to it."""

    def __init__(self, directory: Path, port: int, limits: dict[str, float]) -> None:
        self.directory = directory
        with (directory / "log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, SCRIPT, directory, json.dumps(limits), str(port)],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                text=True,
            )
        self.connections: list[http.client.HTTPConnection] = []

    @cached_property
    def said(self) -> str:
        """What it printed once it served, or could not."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    @property
    def port(self) -> int:
        return int(self.said)

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def version(self, version: str) -> None:
        (self.directory / "version").write_text(version)

    def connect(self, timeout: float = 10) -> http.client.HTTPConnection:
        self.connections.append(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout))
        return self.connections[-1]

    def get(self, path: str, connection: http.client.HTTPConnection | None = None) -> dict[str, Any]:
        headers = {} if connection else {"Connection": "close"}
        connection = connection or self.connect()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
        return body | {"http": answer.status, "headers": answer.headers}

    def swap(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[..., Small]]:
    started: list[Small] = []

    def start(version: str = "1", port: int = 0, wait: bool = True, **limits: float) -> Small:
        (tmp_path / "version").write_text(version)
        started.append(Small(tmp_path, port, limits))
        assert not wait or started[-1].said
        return started[-1]

    yield start
    for each in started:
        for connection in each.connections:
            connection.close()
        left = [] if each.process.poll() is not None else each.workers()
        each.process.kill()
        each.process.wait()
        assert each.process.stdout is not None
        each.process.stdout.close()
        psutil.wait_procs(left, timeout=5)


def until(true: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def end_of(process: subprocess.Popen[str]) -> float:
    """Seconds until it ends with status 0."""
    began = time.monotonic()
    assert process.wait(timeout=15) == 0
    return time.monotonic() - began


@contextlib.contextmanager
def callers(server: Small, number: int = 4) -> Iterator[list[dict[str, Any] | Exception]]:
    """Clients with connections that they keep; yields what they were answered, of which none may be a failure."""
    answers: list[dict[str, Any] | Exception] = []
    stop = threading.Event()

    def call() -> None:
        connection = server.connect()
        while not stop.is_set():
            try:
                answers.append(server.get("/sleep/0.002", connection))
            except (OSError, http.client.HTTPException, ValueError) as error:
                answers.append(error)
                return

    threads = [threading.Thread(target=call) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_swap_under_load_loses_no_request_and_the_old_worker_goes(small: Callable[..., Small]) -> None:
    server = small("1")
    first = server.get("/version")["pid"]
    with callers(server) as answers:
        server.version("2")
        server.swap()
        until(lambda: server.get("/version")["version"] == "2")
        until(lambda: not psutil.pid_exists(first))
    assert len(answers) > 50
    assert [each for each in answers if isinstance(each, Exception) or each["http"] != 200] == []
    assert {each["version"] for each in answers if isinstance(each, dict)} == {"1", "2"}
    assert server.get("/status")["last_swap"]["done"] is True


def test_a_swap_that_fails_leaves_the_old_worker_serving_and_says_why(small: Callable[..., Small]) -> None:
    server = small("1")
    before = server.get("/version")
    with callers(server) as answers:
        for version in ("broken", "dying"):
            server.version(version)
            server.swap()
            until(lambda: (server.get("/status")["last_swap"] or {}).get("done") is False)
        until(lambda: "status 3" in server.get("/status")["last_swap"]["error"]["problem"])
    assert [each for each in answers if isinstance(each, Exception) or each["http"] != 200] == []
    assert server.get("/version")["pid"] == before["pid"]
    assert "The version is broken." in server.log
    server.version("2")
    server.swap()
    until(lambda: server.get("/version")["version"] == "2")


def test_a_second_wish_to_swap_while_one_is_under_way_is_not_forgotten(small: Callable[..., Small]) -> None:
    server = small("1")
    server.version("slow")
    server.swap()
    until(lambda: len(server.workers()) == 2)
    time.sleep(0.3)  # it has read the version by now
    server.version("3")
    server.swap()
    until(lambda: server.get("/version")["version"] == "3")


def test_sigterm_finishes_what_runs_and_refuses_what_is_new(small: Callable[..., Small]) -> None:
    server = small("1")
    open_before = server.connect()
    server.get("/version", open_before)
    results: list[dict[str, Any]] = []
    running = threading.Thread(target=lambda: results.append(server.get("/sleep/1.0")))
    running.start()
    time.sleep(0.3)
    server.process.terminate()
    time.sleep(0.3)
    refused = server.get("/version", open_before)
    assert refused["http"] == 503
    assert refused["headers"]["Retry-After"]
    assert refused["headers"]["Connection"] == "close"
    assert refused["code"] == "SERVE-001"
    with pytest.raises(ConnectionRefusedError):
        server.get("/version")
    assert end_of(server.process) < 3
    running.join()
    assert results[0]["http"] == 200


def test_a_server_that_another_one_replaces_answers_who_is_connected_and_ends(small: Callable[..., Small]) -> None:
    server = small("1")
    running, kept = server.connect(), server.connect()
    server.get("/version", kept)
    running.request("GET", "/sleep/1")
    time.sleep(0.3)
    server.process.send_signal(signal.SIGUSR2)
    time.sleep(0.3)
    last = server.get("/version", kept)
    assert last["http"] == 200
    assert last["headers"]["Connection"] == "close"
    assert running.getresponse().status == 200
    with pytest.raises(ConnectionRefusedError):
        server.get("/version")
    end_of(server.process)


def test_sigterm_ends_a_server_that_is_leaving_in_time(small: Callable[..., Small]) -> None:
    server = small("1")
    hung = server.connect()
    hung.request("GET", "/sleep/60")
    time.sleep(0.3)
    server.process.send_signal(signal.SIGUSR2)
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    assert end_of(server.process) < 12


def test_a_request_that_never_ends_does_not_keep_the_server_from_stopping(small: Callable[..., Small]) -> None:
    server = small("1", stop_s=1.0)
    endless = server.connect()
    endless.request("GET", "/sleep/1000")
    time.sleep(0.2)
    server.process.terminate()
    assert end_of(server.process) < 4
    endless.close()


def test_ctrl_c_at_a_terminal_reaches_both_processes_and_stops_them_in_order(small: Callable[..., Small]) -> None:
    server = small("1")
    slow = server.connect()
    slow.request("GET", "/sleep/0.5")
    time.sleep(0.2)
    for process in (*server.workers(), psutil.Process(server.process.pid)):
        process.send_signal(signal.SIGINT)
    assert slow.getresponse().status == 200
    assert end_of(server.process) < 3


def test_a_killed_worker_is_replaced_and_requests_meanwhile_wait(small: Callable[..., Small]) -> None:
    server = small("1")
    [worker] = server.workers()
    worker.kill()
    answer = server.get("/version")  # sent while nobody serves
    assert answer["http"] == 200
    assert answer["pid"] != worker.pid
    facts = server.get("/status")
    assert facts["restarts"] == 1
    assert "SIGKILL" in facts["last_restart"]["reason"]


def test_a_worker_that_gives_no_sign_of_life_is_replaced(small: Callable[..., Small]) -> None:
    server = small("1", silent_s=2.0)
    [worker] = server.workers()
    worker.suspend()
    assert server.get("/version")["pid"] != worker.pid
    assert not psutil.pid_exists(worker.pid)


def test_a_worker_on_which_a_request_hangs_is_replaced_and_the_request_may_still_end(
    small: Callable[..., Small],
) -> None:
    server = small("1")
    hung = server.connect()
    hung.request("GET", "/sleep/5")
    first = server.get("/version")["pid"]
    until(lambda: server.get("/version")["pid"] != first)
    assert "worked on for" in server.get("/status")["last_restart"]["reason"]
    assert hung.getresponse().status == 200


def test_workers_that_keep_dying_are_started_with_growing_pauses_and_callers_are_told(
    small: Callable[..., Small],
) -> None:
    server = small("1", pause_s=4.0)
    server.version("dying")
    server.workers()[0].kill()
    until(lambda: "A new one starts in 2 s" in server.log, 20)
    answer = server.get("/version")
    assert (answer["http"], answer["code"]) == (503, "SERVE-001")
    assert answer["headers"]["Retry-After"]
    server.version("2")
    until(lambda: server.get("/version").get("version") == "2")
    until(lambda: server.get("/status")["restarts"] >= 3)  # the supervisor tells a new worker once it serves


def test_a_worker_may_ask_for_a_replacement_but_not_at_every_moment(small: Callable[..., Small]) -> None:
    server = small("1")
    first = server.get("/ask")["pid"]
    until(lambda: server.get("/version")["pid"] != first)
    second = server.get("/ask")["pid"]
    until(lambda: "No new worker so soon" in server.log)
    assert server.get("/version")["pid"] == second
    assert server.get("/status")["last_restart"]["reason"] == "Asked over HTTP."


def test_the_worker_dies_with_its_supervisor_and_the_port_is_free_at_once(small: Callable[..., Small]) -> None:
    server = small("1")
    [worker] = server.workers()
    kept = server.connect()
    server.get("/version", kept)
    server.process.kill()
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    again = small("2", port=server.port)
    assert again.get("/version")["version"] == "2"


def test_a_first_worker_that_fails_ends_the_command_with_its_error(small: Callable[..., Small]) -> None:
    server = small("broken")
    assert json.loads(server.said) == {
        "code": "BUNDLE-001",
        "problem": "The version is broken.",
        "state": "Nothing was loaded.",
        "remedy": "Mend it.",
    }
    assert server.process.wait(timeout=5) == 4


def test_a_first_worker_that_dies_without_a_word_is_an_error_too(small: Callable[..., Small]) -> None:
    server = small("dying")
    assert "ended with status 3" in json.loads(server.said)["problem"]
    assert server.process.wait(timeout=5) == 9


def test_sigterm_while_loading_ends_the_command_at_once(small: Callable[..., Small]) -> None:
    server = small("slow", wait=False)
    until(server.workers)
    server.process.terminate()
    assert end_of(server.process) < 0.9
    assert server.said == ""


def test_a_port_in_use_is_said_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServeError, match="already in use"):
        open_listeners("127.0.0.1", taken.getsockname()[1])


def test_a_name_of_several_addresses_gets_one_port_on_each() -> None:
    listeners = open_listeners("localhost", 0)
    assert len({each.getsockname()[1] for each in listeners}) == 1
    for each in listeners:
        each.close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ServeError, match="192.0.2.1"):
        open_listeners("192.0.2.1", 0)
