"""Processes that ``bench runtime`` drives: engines, servers and the client that loads them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import requests

from benchmarks.compress_speed import THREADS
from benchmarks.harness import ROOT, free_port
from benchmarks.recipes import EDGEKIT
from benchmarks.runtime_matching import PlacedText
from devices.errors import EdgeKitError

Lines = list[list[PlacedText]]  # by picture
Step = tuple[str, str, Path]  # path of a request, content type, file that is its body
_HERE = Path(__file__).parent
_BOUNDARY = "----edgekit-bench"
FORM = f"multipart/form-data; boundary={_BOUNDARY}"
_READY_WITHIN_S = 120.0
_STOP_WITHIN_S = 20.0


class Piped:
    """A process that answers a line of JSON with a line of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send and wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            EdgeKitError: The process ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EdgeKitError(
                f"{self._process.args!r} ended with status {self._process.wait()}.",
                remedy="Its last words stand above.",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


class Engine(Piped):
    """An engine's process: see ``engine.py``.

    Attributes:
        precisions: What OpenVINO computes in.
        peak_mb: The most memory that the process has held so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(process)
        self.peak_mb = 0.0
        self.precisions = sorted(set(self.answer()["precisions"]))

    def read(self, files: Sequence[Path]) -> tuple[list[float], Lines]:
        """Milliseconds and lines of each picture."""
        answer = self.ask({"read": list(map(str, files))})
        lines = [
            [PlacedText(np.array(line["box"], np.float32), line["text"]) for line in page] for page in answer["lines"]
        ]
        return answer["ms"], lines

    def profile(self, files: Sequence[Path]) -> dict[str, float]:
        """Where the time goes, in shares."""
        shares: dict[str, float] = self.ask({"profile": list(map(str, files))})["shares"]
        return shares

    def answer(self) -> dict[str, Any]:
        """The next answer; memory is noted from each."""
        answer = super().answer()
        self.peak_mb = answer["peak_mb"]
        return answer


@dataclass(frozen=True)
class Loaded:
    """What the client saw.

    Attributes:
        ms: Of each request that was answered with 200, in the order of the answers.
        seconds: From the first request to the last answer.
        failed: Answers that were not 200.
        answer: The last one's body.
        cpu_ms: Processor time that the server took for each right answer; 0 where nobody asked.
    """

    ms: Sequence[float]
    seconds: float
    failed: int
    answer: str
    cpu_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return len(self.ms) / self.seconds


class Client(Piped):
    """The client's process: see ``http_load.py``."""

    def load(self, url: str, plan: Sequence[Step], *, clients: int = 1, library: bool = False) -> Loaded:
        """Work through ``plan``."""
        host, _, port = url.removeprefix("http://").partition(":")
        steps = [[path, content_type, str(file)] for path, content_type, file in plan]
        order = {"host": host, "port": int(port), "clients": clients, "plan": steps, "library": library}
        answer = self.ask(order)
        failed = sum(count for status, count in answer["statuses"].items() if status != "200")
        return Loaded(answer["ms"], answer["seconds"], failed, answer["answer"])


def form(parts: Sequence[tuple[str, str, bytes]]) -> bytes:
    """A body of type ``FORM``: of each part its field, its file name and what is in it."""
    written = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for field, name, data in parts
    ]
    return b"".join([*written, f"--{_BOUNDARY}--\r\n".encode()])


@contextmanager
def engine(python: Path, name: str, warm_up: Path, **options: object) -> Iterator[Engine]:
    """Start an engine, and end it afterwards."""
    settings = json.dumps({"threads": THREADS, "warm_up": str(warm_up)} | options)
    with _piped([*_run(python, "engine.py"), name, settings]) as process:
        yield Engine(process)


@contextmanager
def client() -> Iterator[Client]:
    """Start the client, and end it afterwards."""
    with _piped(_run(Path(sys.executable), "http_load.py")) as process:
        yield Client(process)


@contextmanager
def _piped(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=_environment()) as process:
        try:
            yield process
        finally:
            process.terminate()


class Server:
    """A server that is ready.

    Attributes:
        url: Without a slash at its end.
        ready_s: From the start of the process to the first answer that it is ready.
    """

    def __init__(self, process: subprocess.Popen[str], url: str, ready_s: float) -> None:
        self._process, self.url, self.ready_s = process, url, ready_s

    def stages_ms(self) -> dict[str, float]:
        """The mean of every stage and of every route's requests so far, as the kit's ``/metrics`` tells them."""
        return mean_stages_ms(requests.get(f"{self.url}/metrics", timeout=30).text)

    def memory_mb(self, kind: Literal["rss", "pss"] = "rss") -> float:
        """What all its processes hold; RSS counts what they share once for each, PSS once."""
        return float(sum(getattr(each.memory_full_info(), kind) for each in self._family())) / 2**20

    def charged(self, load: Callable[[], Loaded]) -> Loaded:
        """What ``load`` saw, with the processor time that all processes of this server took meanwhile."""
        before = self._cpu_s()
        seen = load()
        return replace(seen, cpu_ms=1000 * (self._cpu_s() - before) / max(1, len(seen.ms)))

    def _cpu_s(self) -> float:
        return float(sum(sum(each.cpu_times()[:2]) for each in self._family()))

    def _family(self) -> list[psutil.Process]:
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]


def mean_stages_ms(exposition: str) -> dict[str, float]:
    """Of Prometheus' text: sums by counts of the histograms of durations, by their label."""
    found: dict[str, dict[str, float]] = {"sum": {}, "count": {}}
    pattern = r'^edgekit_(?:stage|request)_duration_seconds_(sum|count)\{\w+="([^"]*)"\} (\S+)$'
    for part, label, value in re.findall(pattern, exposition, re.MULTILINE):
        found[part][label] = float(value)
    return {label: round(1000 * found["sum"][label] / count, 3) for label, count in found["count"].items() if count}


@contextmanager
def kit_server(bundle: Path) -> Iterator[Server]:
    """``edgekit serve`` on a free port; stopped as a service manager would."""
    command = [str(EDGEKIT), "serve", "--bundle", str(bundle), "--port", str(free_port()), "--json"]
    with _serving(command, f"http://127.0.0.1:{command[-2]}", "/v2/health/ready") as server:
        yield server


@contextmanager
def peer_server(python: Path, script: str, arguments: Sequence[str | Path], health: str) -> Iterator[Server]:
    """One of the peers' servers; ``{port}`` in ``arguments`` is where it shall listen."""
    port = str(free_port())
    command = [*_run(python, script), *(str(each).replace("{port}", port) for each in arguments)]
    with _serving(command, f"http://127.0.0.1:{port}", health) as server:
        yield server


@contextmanager
def _serving(command: Sequence[str], url: str, health: str) -> Iterator[Server]:
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as log,
        subprocess.Popen(command, stdout=log, stderr=log, text=True, env=_environment()) as process,
    ):
        try:
            if not _is_ready(process, url + health):
                log.seek(0)
                raise EdgeKitError(f"{command[:2]} did not get ready: {log.read()[-500:]}")
            yield Server(process, url, time.perf_counter() - started)
        finally:
            _stop(process)


def _is_ready(process: subprocess.Popen[str], url: str) -> bool:
    """Whether it answers 200 there before long."""
    deadline = time.monotonic() + _READY_WITHIN_S
    with requests.Session() as session:
        session.trust_env = False
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if session.get(url, timeout=5).status_code == 200:
                    return True
            except requests.RequestException:
                pass  # it does not listen yet
            time.sleep(0.01)
    return False


def _stop(process: subprocess.Popen[str]) -> None:
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in family:  # LitServe leaves its worker behind
        if child.is_running():
            child.kill()


def _run(python: Path, script: str) -> list[str]:
    # -P: else this folder would be searched first, where runtime.py hides the package of that name
    return [str(python), "-P", str(_HERE / script)]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(THREADS)}
