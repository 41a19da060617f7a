"""Through a real nats-server of Debian: the same entries, in any mishap once."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import nats
import pytest

from devices.clock import Clock
from devices.errors import AcknowledgementError, SyncCertificateError, SyncError
from edge.collector.nats_consumer import consume
from edge.offline.sync import Session
from edge.offline.sync_credentials import Credentials
from edge.offline.sync_nats import DOWN, NONCE_HEADER, NatsUplink
from tests.edge.authority import NOW, Authority
from tests.edge.branches import Branch, Headquarters

SERVER = shutil.which("nats-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="nats-server is not installed (requirements/system.txt)")


class Broker:
    """nats-server with a store on the disk, which can be killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [str(SERVER), "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("nats-server does not listen")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "broker")
    yield made
    made.kill()


@pytest.fixture
def consumer(broker: Broker, headquarters: Headquarters) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=consume, args=(broker.url, headquarters.store, headquarters.signing, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


def session(
    branch: Branch,
    broker: Broker,
    *,
    answered_s: float = 20,
    credentials: Credentials = Credentials(),  # noqa: B008
    clock: Clock | None = None,
) -> Session:
    uplink = NatsUplink(
        broker.url, branch.device, branch.line.pack, lambda: credentials, clock or branch.clock, answered_s=answered_s
    )
    where = {"clock": branch.clock, "state": branch.folder}
    return Session(branch.journal, branch.keys, uplink, branch.headquarters.policy(), **where)


def until_all_is_sent(branch: Branch, broker: Broker) -> None:
    for _ in range(60):
        try:
            session(branch, broker, answered_s=3).run()
        except AcknowledgementError:
            raise
        except SyncError:
            time.sleep(0.1)
        if not branch.journal.backlog():
            return
    raise AssertionError("it never arrived")


@pytest.mark.usefixtures("consumer")
def test_entries_papers_and_notes_go_through_the_broker(
    branch: Branch, headquarters: Headquarters, broker: Broker
) -> None:
    for number in range(20):
        branch.decide(number, decision="review" if number == 9 else "pass", papers={"receipt": bytes(200_000)})
    until_all_is_sent(branch, broker)
    assert headquarters.entries(branch.device)[:2] == [11, 1]
    assert sorted(headquarters.entries(branch.device))[:21] == list(range(1, 22))
    assert len(headquarters.store.sealed(branch.device, 2)["receipt"]) == 2
    headquarters.store.note(branch.device, "revocation", {"authority": "stopped"})
    assert session(branch, broker).run().notes == 1


@pytest.mark.usefixtures("consumer")
def test_a_broker_that_is_killed_twice_loses_nothing_and_doubles_nothing(
    branch: Branch, headquarters: Headquarters, broker: Broker
) -> None:
    for number in range(60):
        branch.decide(number)
    stop = threading.Event()

    def kill_and_start() -> None:
        for _ in range(2):
            time.sleep(0.15)
            broker.kill()
            broker.start()
        stop.set()

    killer = threading.Thread(target=kill_and_start)
    killer.start()
    until_all_is_sent(branch, broker)
    killer.join()
    until_all_is_sent(branch, broker)
    assert sorted(headquarters.entries(branch.device))[:61] == list(range(1, 62))
    assert headquarters.store.rows("SELECT * FROM alarms") == []


def test_while_headquarters_is_away_the_broker_keeps_what_the_branch_does_not_forget(
    branch: Branch, headquarters: Headquarters, broker: Broker
) -> None:
    first = threading.Event()
    thread = threading.Thread(target=consume, args=(broker.url, headquarters.store, headquarters.signing, first))
    thread.start()
    until_all_is_sent(branch, broker)  # the stream is there now
    first.set()
    thread.join()
    branch.decide(1)
    with pytest.raises(SyncError, match="did not answer"):
        session(branch, broker, answered_s=0.5).run()
    assert [entry.kind for entry in branch.journal.unsent(limit=5)] == ["decision"]
    again = threading.Event()
    thread = threading.Thread(target=consume, args=(broker.url, headquarters.store, headquarters.signing, again))
    thread.start()
    until_all_is_sent(branch, broker)
    again.set()
    thread.join()
    assert branch.journal.decision("D-1").seq in headquarters.entries(branch.device)


@pytest.mark.usefixtures("consumer")
def test_answers_to_other_calls_are_passed_over(branch: Branch, broker: Broker) -> None:
    stop = threading.Event()

    async def noise() -> None:
        client = await nats.connect(broker.url)
        while not stop.is_set():
            for headers in ({NONCE_HEADER: "old"}, None):
                await client.publish(f"{DOWN}.{branch.device}", b"an answer to another call", headers=headers)
            await asyncio.sleep(0.001)
        await client.close()

    thread = threading.Thread(target=asyncio.run, args=(noise(),))
    thread.start()
    for number in range(3):
        branch.decide(number)
        until_all_is_sent(branch, broker)
    stop.set()
    thread.join()


def test_no_broker_is_said_in_one_sentence(branch: Branch, broker: Broker) -> None:
    broker.kill()
    with pytest.raises(SyncError, match="cannot be reached"):
        session(branch, broker).run()


def test_behind_tls_device_and_collector_show_their_certificates(
    branch: Branch, headquarters: Headquarters, tmp_path: Path
) -> None:
    bank = Authority(tmp_path / "bank")
    certificate, key = map(str, bank.issue("broker"))
    options = ("--tls", "--tlscert", certificate, "--tlskey", key, "--tlscacert", str(bank.path), "--tlsverify")
    broker = Broker(tmp_path / "broker", *options)
    broker.url = broker.url.replace("nats:", "tls:")
    stop = threading.Event()
    context = Credentials(bank.path, *bank.issue("collector")).context()
    taker = (broker.url, headquarters.store, headquarters.signing, stop)
    thread = threading.Thread(target=partial(consume, context=context), args=taker)
    thread.start()
    try:
        branch.decide(1)
        good = Credentials(bank.path, *bank.issue("branch"))
        for _ in range(100):  # until the consumer has made the stream
            try:
                session(branch, broker, credentials=good).run()
                break
            except SyncError:
                time.sleep(0.1)
        assert branch.journal.backlog() == 0

        ended = Credentials(bank.path, *bank.issue("old", until=NOW - timedelta(days=3)))
        with pytest.raises(SyncCertificateError, match="This device's certificate ended on"):
            session(branch, broker, credentials=ended, clock=Clock(None)).run()
        stranger = Credentials(None, good.certificate, good.key)
        with pytest.raises(SyncCertificateError, match="not accepted"):
            session(branch, broker, credentials=stranger).run()
    finally:
        stop.set()
        thread.join()
        broker.kill()
