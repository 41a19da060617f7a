"""kill -9 of whoever sends and of whoever takes, in the middle of it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.errors import SyncError
from edge.collector.keys import SEALING_NAME, make_keys, sealing_key, signing_key
from edge.journal.store import Journal
from edge.offline.sync import Session
from edge.offline.sync_credentials import Credentials
from edge.offline.sync_https import HttpsUplink
from tests.edge.branches import Branch, Headquarters

ROUNDS, EACH = 6, 25


class Collector:
    """``edgekit collector serve`` in a process that is killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [sys.executable, "-m", "edge.cli", "collector", "serve", str(folder), "--port", str(self.port)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the collector does not listen")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def taker(headquarters: Headquarters) -> Iterator[Collector]:
    make_keys(headquarters.folder)
    headquarters.signing = signing_key(headquarters.folder)
    headquarters.sealing = sealing_key(headquarters.folder / SEALING_NAME)
    made = Collector(headquarters.folder)
    yield made
    made.kill()


def send(branch: Branch, journal: Journal, port: int) -> None:
    uplink = HttpsUplink(f"http://127.0.0.1:{port}", branch.line.pack, Credentials, branch.clock)
    policy = branch.headquarters.policy(papers="all")
    Session(journal, branch.keys, uplink, policy, clock=branch.clock, state=branch.folder).run()


def send_in_a_child(branch: Branch, port: int) -> int:
    """A process with a journal of its own; returns its id."""
    child = os.fork()
    if child == 0:
        try:
            send(branch, Journal.open(branch.folder / "journal", branch.keys, now=branch.time), port)
        finally:
            os._exit(0)
    return child


def test_nothing_is_lost_or_doubled_whoever_is_killed(
    branch: Branch, headquarters: Headquarters, taker: Collector
) -> None:
    draw = random.Random(8)
    number = 0
    for turn in range(ROUNDS):
        for _ in range(EACH):
            number += 1
            branch.decide(number, papers={"receipt": b"r", "document/0": bytes(30_000)})
        branch.journal.close()
        child = send_in_a_child(branch, taker.port)
        time.sleep(draw.uniform(0.01, 0.25))
        if turn % 3 == 2:
            taker.kill()
            taker.start()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        branch.journal = Journal.open(branch.folder / "journal", branch.keys, now=branch.time)
    for _ in range(5):
        try:
            send(branch, branch.journal, taker.port)
        except SyncError:
            continue
    assert branch.journal.backlog() == 0
    query = "SELECT seq, hash FROM entries WHERE device = ? ORDER BY seq"
    held = headquarters.store.rows(query, branch.device)
    assert held == [(entry.seq, entry.hash) for entry in branch.journal.entries()]
    assert headquarters.store.rows("SELECT * FROM alarms") == []
    for entry in branch.journal.entries(kinds=("decision",)):
        assert set(headquarters.store.sealed(branch.device, entry.seq)) == {"receipt", "document/0"}
