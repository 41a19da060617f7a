"""A real bundle served by real processes: swapped, stopped, killed and set back a day while clients call."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

APPLICATION = Path(__file__).parents[2] / "examples" / "application"
TEXTS = {"texts": ["想用这笔贷款把网贷和信用卡还上"]}


class Served:
    """``edgekit serve`` as a process, and what it says."""

    def __init__(self, edgekit: Path, bundle: Path, *, port: int = 0, **environment: str) -> None:
        self.bundle = bundle
        self.log_path = bundle.parent / "log"
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                [edgekit, "serve", "--bundle", bundle, "--port", str(port), "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environment},
                text=True,
            )
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["url"]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = requests.get(f"{self.url}/v1/status", timeout=30).json()
        return answer

    def swap(self) -> dict[str, Any]:
        """Ask for a swap; returns what the status says of it when it is over."""
        before = self.status()["worker"]["last_swap"]
        self.process.send_signal(signal.SIGHUP)
        return until(lambda: (now := self.status()["worker"]["last_swap"]) != before and now)

    def worker(self) -> psutil.Process:
        return psutil.Process(self.status()["worker"]["pid"])


@pytest.fixture
def served(edgekit: Path, bundle: Path, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    started: list[Served] = []

    def start(**arguments: Any) -> Served:
        started.append(Served(edgekit, copy, **arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.terminate()
        each.process.wait(timeout=15)
        assert each.process.stdout is not None
        each.process.stdout.close()


def until(value: Callable[[], Any], seconds: float = 180) -> Any:
    end = time.monotonic() + seconds
    while not (found := value()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def load(served: Served) -> Iterator[Counter[int | str]]:
    """Clients that keep their connections, for texts and for a document; yields how they were answered."""
    answered: Counter[int | str] = Counter()
    stop = threading.Event()
    picture = (APPLICATION / "income.png").read_bytes()

    def call(path: str, **body: Any) -> None:
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    answer = session.post(f"{served.url}{path}", **body, timeout=60)
                    answered[answer.status_code] += 1
                except requests.RequestException as error:
                    answered[str(error)] += 1
                    stop.wait(0.1)

    threads = [threading.Thread(target=call, args=("/v1/text-risk",), kwargs={"json": TEXTS}) for _ in range(3)]
    threads.append(threading.Thread(target=call, args=("/v1/ocr",), kwargs={"data": picture}))
    for thread in threads:
        thread.start()
    try:
        until(lambda: answered[200] > 10)
        yield answered
        time.sleep(0.3)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_bundles_are_swapped_under_load_and_a_damaged_one_changes_nothing(served: Callable[..., Served]) -> None:
    server = served()
    before = server.status()
    with load(server) as answered:
        assert server.swap()["done"] is True
        after = server.status()
        policy = server.bundle / "policy.toml"
        good = policy.read_bytes()
        policy.write_bytes(good[:-1] + b"#")
        failed = server.swap()
        policy.write_bytes(good)
        assert failed["done"] is False
        assert failed["error"]["code"] == "BUNDLE-003"
        assert "policy.toml" in failed["error"]["problem"]
        assert server.status()["worker"]["pid"] == after["worker"]["pid"]
    assert set(answered) == {200}, answered
    assert after["worker"]["pid"] != before["worker"]["pid"]
    assert "BUNDLE-003" in server.log_path.read_text()
    until(lambda: not psutil.pid_exists(before["worker"]["pid"]))


def test_sigterm_under_load_finishes_what_runs_and_ends_in_time(served: Callable[..., Served]) -> None:
    server = served()
    worker = server.worker()
    with load(server) as answered:
        # the load's own connections fail from here on, as they should
        server.process.terminate()
        began = time.monotonic()
        assert server.process.wait(timeout=15) == 0
        assert time.monotonic() - began < 10
        cut = [each for each in answered if "RemoteDisconnected" in str(each) or "reset" in str(each)]
        assert not worker.is_running()
    assert cut == []
    assert {each for each in answered if isinstance(each, int)} <= {200, 503}


def test_a_worker_killed_under_load_costs_the_requests_it_held_and_no_others(served: Callable[..., Served]) -> None:
    server = served()
    with load(server) as answered:
        server.worker().kill()
        status = until(lambda: (now := server.status())["worker"]["restarts"] == 1 and now)
    assert "SIGKILL" in status["worker"]["last_restart"]["reason"]
    failures = [each for each in answered if each != 200]
    assert sum(answered[each] for each in failures) <= 4  # one each client
    assert not any("refused" in str(each) for each in failures)
    assert "edgekit_worker_restarts 1.0" in requests.get(f"{server.url}/metrics", timeout=10).text


def test_nothing_outlives_a_supervisor_that_is_killed(served: Callable[..., Served]) -> None:
    server = served()
    worker = server.worker()
    with load(server):
        server.process.kill()
        until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, seconds=5)
    named = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    assert not [each for each in named if str(server.bundle) in each]
    assert requests.get(f"{served(port=server.port).url}/v2/health/ready", timeout=10).status_code == 200


def test_the_date_set_back_a_day_is_nothing_to_the_server(served: Callable[..., Served], tmp_path: Path) -> None:
    library, flag = tmp_path / "set_clock.so", tmp_path / "flag"
    source = Path(__file__).with_name("set_clock.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source], check=True)
    server = served(LD_PRELOAD=str(library), SET_CLOCK_BACK=str(flag))
    with load(server) as answered:
        began = server.status()["worker"]["pid"]
        flag.touch()
        assert server.swap()["done"] is True
        time.sleep(1.5)
        assert server.status()["worker"]["pid"] != began
    assert set(answered) == {200}, answered
    swapped = server.status()["worker"]["last_swap"]["time"]
    assert time.mktime(time.strptime(swapped, "%Y-%m-%dT%H:%M:%S+00:00")) < time.time() - 80_000  # it was set back


def test_a_cache_that_cannot_be_had_only_costs_time(served: Callable[..., Served], own_state: Path) -> None:
    shutil.rmtree(own_state / "cache", ignore_errors=True)
    (own_state / "cache").write_text("in the way")
    server = served()
    assert server.status()["models"]
    assert "Nothing is kept for the next start" in server.log_path.read_text()
