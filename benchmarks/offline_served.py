"""kill -9 of a whole serving device: the server with its models, its callers, and its way to headquarters.

``edgekit serve`` with the demonstration's models decides applications that callers send with an ``Idempotency-Key``,
and sends its journal to a collector. All its processes are killed at a random moment and started again; a caller that
lost its answer sends again. What was answered must be in the journal once, and at the end at headquarters once.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from benchmarks.harness import ROOT
from benchmarks.offline_kill import Found, judge
from benchmarks.offline_sync import compare, send_all
from benchmarks.recipes import EDGEKIT, PROFILE, edgekit
from devices.state import VARIABLE
from edge.collector.keys import SEALING_NAME, sealing_key, signing_key

CALLERS = 2
_STARTING = 0.2  # of all kills come while the server starts
_LONGEST_S = 1.5  # that it lives when it is ready
_EVERY_PAPER = 4  # one application of so many brings a card, which takes OCR
_ASKED_AGAIN = 0.2  # of all answers are asked for once more
_PATIENCE_S = 120.0
_SAMPLE = ROOT / "examples" / "application"


@dataclass
class Callers:
    """Who sends applications, and what they were told.

    Attributes:
        told: Decision by key, for each request that was answered.
        waiting: Keys of requests that were not.
        wrong: What was answered otherwise than before, or with an error that no kill explains.
        again: How many requests were sent again after a kill.
    """

    told: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    again: int = 0

    def __post_init__(self) -> None:
        self._lock, self._draw, self._made = threading.Lock(), random.Random(5), 0  # noqa: S311
        self._document: dict[str, Any] = json.loads((_SAMPLE / "application.json").read_bytes())
        self._card = (_SAMPLE / self._document["documents"][0]["file"]).read_bytes()

    def call(self, url: str, end: threading.Event, *, only_waiting: bool = False) -> None:
        """Send until ``end``, or until the server is gone."""
        with urllib3.PoolManager(retries=False, timeout=30.0) as line:
            while not end.is_set():
                key = self._next(only_waiting=only_waiting)
                if key is None or not self._send(line, url, key):
                    return

    def _next(self, *, only_waiting: bool) -> str | None:
        with self._lock:
            if self.waiting:
                self.again += 1
                return self.waiting.pop(0)
            if only_waiting:
                return None
            if self.told and self._draw.random() < _ASKED_AGAIN:
                return self._draw.choice(list(self.told))
            self._made += 1
            return f"request-{self._made}"

    def _send(self, line: urllib3.PoolManager, url: str, key: str) -> bool:
        """Whether the server still answers."""
        try:
            answer = line.request("POST", f"{url}/v1/score", fields=self._form(key), headers={"Idempotency-Key": key})
        except urllib3.exceptions.HTTPError:
            self._wait(key)
            return False
        if answer.status == 503:  # it is about to go, or has come only just
            self._wait(key)
            time.sleep(0.05)
            return True
        with self._lock:
            decision = str(answer.json()["decision_id"]) if answer.status == 200 else f"{answer.status} {answer.data!r}"
            if answer.status != 200 or self.told.setdefault(key, decision) != decision:
                self.wrong.append(f"{key}: {decision}")
        return True

    def _wait(self, key: str) -> None:
        with self._lock:
            if key not in self.told:
                self.waiting.append(key)

    def _form(self, key: str) -> dict[str, tuple[str, bytes]]:
        papers = self._document["documents"][:1] if int(key.rpartition("-")[2]) % _EVERY_PAPER == 0 else []
        document = {**self._document, "application_id": key, "documents": papers}
        parts = {each["file"]: (each["file"], self._card) for each in papers}
        return {"application": ("application.json", json.dumps(document).encode()), **parts}


def device_bundle(made: Path, headquarters: Path, url: str, state: Path, out: Path) -> Path:
    """The demonstration's models in a bundle that the device of ``state`` trusts and that names this headquarters.

    Args:
        made: The demonstration's bundle.
        headquarters: The collector's directory.
        url: Where it listens.
        state: Of the device.
        out: A directory for bundle and policy.
    """
    given = (ROOT / "examples" / "policy.toml").read_text(encoding="utf-8")
    keys = signing_key(headquarters).public_key(), sealing_key(headquarters / SEALING_NAME).public_key()
    acknowledged_by, sealed_for = (key.public_bytes_raw().hex() for key in keys)
    sync = f'[sync]\nurl = "{url}"\nacknowledged_by = "{acknowledged_by}"\nsealed_for = "{sealed_for}"\n'
    out.mkdir(parents=True)
    policy, bundle = out / "policy.toml", out / "bundle"
    policy.write_text(f"{given[: given.index('[sync]')]}{sync}every_minutes = 0.005\n", encoding="utf-8")
    artifacts = [made / name for name in ("ocr", "text-risk", "behaviour")]
    with own_state(state):
        edgekit("bundle", "build", *artifacts, "--profile", PROFILE.stem, "--policy", policy, "--out", bundle)
    return bundle


@contextmanager
def own_state(folder: Path) -> Iterator[None]:
    """What is done meanwhile in this process, and by its children, has ``folder`` for its state."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def kill_servers(
    bundle: Path,
    state: Path,
    callers: Callers,
    *,
    kills: int,
    until: float | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Found, int]:
    """Start the server and kill it, ``kills`` times or until that monotonic time; the first fault, and how many kills.

    Args:
        bundle: Of the device.
        state: Of the device.
        callers: Who send meanwhile.
        kills: At most so many.
        until: When to stop at the latest.
        progress: Gets the share that is done.
    """
    draw = random.Random(12)  # noqa: S311
    found = Found((), (), ())
    for number in range(kills):
        if until is not None and time.monotonic() > until:
            return found, number
        _killed(bundle, state, callers, draw)
        found = judge(state, list(callers.told.values()))
        progress((number + 1) / kills)
        if found or callers.wrong:
            return found, number + 1
    return found, kills


def settle(bundle: Path, state: Path, headquarters: Path, url: str, callers: Callers) -> dict[str, Any]:
    """Start once more, answer whoever waits, and send everything; what is wrong then, empty if nothing is.

    Args:
        bundle: Of the device.
        state: Of the device.
        headquarters: The collector's directory.
        url: Where it listens.
        callers: Who sent.
    """
    with _server(bundle, state) as process:
        server = _ready(process)
        if server is None:
            raise RuntimeError("the server does not start any more")
        callers.call(server, threading.Event(), only_waiting=True)
        end = time.monotonic() + _PATIENCE_S
        while _backlog(server) and time.monotonic() < end:
            time.sleep(0.1)
        sent_by_itself = not _backlog(server)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    send_all(state, headquarters, url)  # its end may have cut off a contact that it was about to say
    wrong = {
        "entries": compare(state, headquarters, set())[0],
        "unanswered": list(callers.waiting),
        "answers": list(callers.wrong),
        "not sent by the server": [] if sent_by_itself else ["some"],
    }
    return {name: each for name, each in wrong.items() if each}


def _killed(bundle: Path, state: Path, callers: Callers, draw: random.Random) -> None:
    end = threading.Event()
    with _server(bundle, state) as process:
        if draw.random() < _STARTING:
            time.sleep(draw.uniform(0.0, 2 * _LONGEST_S))
            return
        url = _ready(process)
        if url is None:
            raise RuntimeError("the server does not start any more")
        threads = [threading.Thread(target=callers.call, args=(url, end)) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        time.sleep(draw.uniform(0.05, _LONGEST_S))
        os.killpg(process.pid, signal.SIGKILL)
        end.set()
        for thread in threads:
            thread.join()


@contextmanager
def _server(bundle: Path, state: Path) -> Iterator[subprocess.Popen[str]]:
    """A server in a group of its own, which is killed as a whole in the end."""
    command = [str(EDGEKIT), "serve", "--bundle", str(bundle), "--port", "0", "--json"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, VARIABLE: str(state)},
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _ready(process: subprocess.Popen[str]) -> str | None:
    """Its URL; None if it ended, or said nothing for too long."""
    assert process.stdout is not None
    line = process.stdout.readline() if select.select([process.stdout], [], [], _PATIENCE_S)[0] else ""
    return json.loads(line).get("url") if line else None


def _backlog(url: str) -> int:
    status = urllib3.request("GET", f"{url}/v1/status", timeout=30.0).json()
    return int(status["journal"]["backlog"])
