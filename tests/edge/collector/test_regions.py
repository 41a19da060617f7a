"""A leaf node per region, with the configuration files of examples/nats and real nats-servers behind TLS."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nats
import pytest

from devices.errors import CollectorFullError, SyncError
from edge.collector.nats_consumer import _Consumer, consume
from edge.collector.report import make_devices
from edge.offline.sync import Session
from edge.offline.sync_credentials import Credentials
from edge.offline.sync_message import Call, pack_message, unpack_message
from edge.offline.sync_nats import STREAM, NatsUplink
from tests.edge.authority import Authority
from tests.edge.branches import Branch, Headquarters

EXAMPLES = Path(__file__).parents[3] / "examples" / "nats"
SERVER = shutil.which("nats-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="nats-server is not installed (requirements/system.txt)")


class Region:
    """Headquarters' broker and two leaf nodes, each from its example with paths and ports of this test."""

    def __init__(self, folder: Path, bank: Authority) -> None:
        leaf_nodes, ports = free_port(), {name: free_port() for name in ("hub", "north", "south")}
        self.urls = {name: f"tls://127.0.0.1:{port}" for name, port in ports.items()}
        self.hub, self.leaf = self.urls["hub"], self.urls["north"]
        self.folder, self.running = folder, dict[str, subprocess.Popen[bytes]]()
        for name, port in ports.items():
            text = (EXAMPLES / ("hub.conf" if name == "hub" else "region.conf")).read_text(encoding="utf-8")
            certificate, key = map(str, bank.issue(name))
            own = "hub" if name == "hub" else "north"
            for written, here in (
                ("0.0.0.0:4222", f"127.0.0.1:{port}"),
                ("0.0.0.0:7422", f"127.0.0.1:{leaf_nodes}"),
                ("nats.bank.example:7422", f"127.0.0.1:{leaf_nodes}"),
                ("/var/lib/nats", str(folder / name)),
                (f"/etc/nats/{own}.pem", certificate),
                (f"/etc/nats/{own}-key.pem", key),
                ("/etc/nats/bank-ca.pem", str(bank.path)),
            ):
                assert (written in text) or (name == "hub") != written.startswith("0.0.0.0:7"), (name, written)
                text = text.replace(written, here)
            assert "/etc/" not in text
            text = text.replace("server_name: north", f"server_name: {name}").replace(
                "domain: north", f"domain: {name}"
            )
            (folder / f"{name}.conf").write_text(text, encoding="utf-8")
            self.start(name)

    def start(self, name: str) -> None:
        command = [str(SERVER), "-c", str(self.folder / f"{name}.conf")]
        self.running[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(int(self.urls[name].rpartition(":")[2])))

    def kill(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("bank") / "ca")


@pytest.fixture
def region(tmp_path: Path, bank: Authority) -> Iterator[Region]:
    made = Region(tmp_path, bank)
    yield made
    for name in made.running:
        made.kill(name)


@contextmanager
def consuming(region: Region, headquarters: Headquarters, bank: Authority) -> Iterator[None]:
    stop = threading.Event()
    context = Credentials(bank.path, *bank.issue("collector")).context()
    arguments = {"context": context, "regions": ["north", "south", "west"]}  # the west has no line at all
    taker = (region.hub, headquarters.store, headquarters.signing, stop)
    thread = threading.Thread(target=consume, args=taker, kwargs=arguments)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def in_the_region(url: str, context: ssl.SSLContext) -> list[bytes]:
    """The messages in the leaf node, in the order in which it hands them on."""

    async def kept() -> list[bytes]:
        client = await nats.connect(url, tls=context, allow_reconnect=False)
        try:
            stream = client.jetstream()
            state = (await stream.stream_info(STREAM)).state
            found = []
            for number in range(state.first_seq, state.last_seq + 1):
                with suppress(nats.js.errors.NotFoundError):  # taken meanwhile
                    found.append((await stream.get_msg(STREAM, number)).data or b"")
            return found
        finally:
            await client.close()

    return asyncio.run(kept())


def test_a_region_takes_what_its_branches_send_while_headquarters_is_cut_off(
    region: Region, branch: Branch, headquarters: Headquarters, bank: Authority
) -> None:
    device = Credentials(bank.path, *bank.issue("branch-7"))
    session = partial(session_through, region.leaf, branch, device)
    sent = partial(is_sent, region.leaf, branch, device)

    branch.decide(0)
    with consuming(region, headquarters, bank):
        wait_for(sent)  # the collector has made the region's stream
        region.kill("hub")
        for number in range(1, 31):
            branch.decide(number, decision="review" if number == 20 else "pass")
        with pytest.raises(SyncError, match="did not answer"):
            session(0.5).run()
        assert branch.journal.backlog() == 30  # the leaf node's word is not headquarters'
        messages = in_the_region(region.leaf, device.context())
        kept = [piece.seq for each in messages for piece in unpack_message(each).pieces]
        assert len(set(kept)) == 30
        assert kept[0] == branch.journal.decision("D-20").seq  # flagged first
        before = headquarters.entries(branch.device)

        region.start("hub")  # and the branch does not call again
        wait_for(lambda: len(headquarters.entries(branch.device)) >= len(before) + 30)
        arrived = headquarters.entries(branch.device)
        assert sorted(arrived) == list(range(1, len(arrived) + 1))
        assert headquarters.store.rows("SELECT * FROM alarms") == []

        headquarters.store.note(branch.device, "revocation", {"authority": "review_only"})
        wait_for(sent)
    assert "revocation" in [entry.kind for entry in branch.journal.entries()]
    assert sorted(headquarters.entries(branch.device)) == [entry.seq for entry in branch.journal.entries()]


def test_regions_do_not_acknowledge_for_each_other(region: Region, headquarters: Headquarters, bank: Authority) -> None:
    """NATS 2.9 sends an acknowledgement to every consumer of that name, in whatever domain, and numbers are alike."""
    context = Credentials(bank.path, *bank.issue("branch-7")).context()

    async def begin_to_take(name: str, take: int) -> None:
        """Five messages into a region, of which somebody took some and died before it had committed them."""
        client = await nats.connect(region.urls[name], tls=context)
        stream = client.jetstream()
        for _ in range(5):
            await stream.publish("edgekit.up.a", b"", stream=STREAM)
        (consumer,) = await stream.consumers_info(STREAM)
        if take:
            pulled = await stream.pull_subscribe_bind(consumer.name, stream=STREAM)
            assert len(await pulled.fetch(take, timeout=5)) == take
        await client.close()

    with consuming(region, headquarters, bank):
        for name in ("north", "south"):
            wait_for(partial(streams_are_there, region.urls[name], context))
    asyncio.run(begin_to_take("north", 0))
    asyncio.run(begin_to_take("south", 5))
    with consuming(region, headquarters, bank):
        wait_for(lambda: not in_the_region(region.urls["north"], context))
    assert len(in_the_region(region.urls["south"], context)) == 5  # they come again when their time is over


def test_what_one_server_took_the_other_does_not_take_too(
    region: Region, headquarters: Headquarters, bank: Authority
) -> None:
    context = Credentials(bank.path, *bank.issue("branch-7")).context()

    async def both() -> list[int]:
        hub, leaf = [await nats.connect(url, tls=context) for url in (region.hub, region.leaf)]
        counts = []
        for client in (hub, leaf):
            await client.jetstream().publish("edgekit.up.a", b"", stream=STREAM)
        await asyncio.sleep(0.3)
        for client in (hub, leaf):
            counts.append((await client.jetstream().stream_info(STREAM)).state.last_seq)
            await client.close()
        return counts

    with consuming(region, headquarters, bank):
        wait_for(partial(streams_are_there, region.leaf, context))
    assert asyncio.run(both()) == [1, 1]


def test_the_brokers_clock_says_when_a_call_was_taken(branch: Branch, headquarters: Headquarters) -> None:
    """A region keeps a call for hours, and the device's own clock may be wrong."""
    call = Call.make(branch.time(), (1, "ab" * 32), 0, [], headquarters.sealing.public_key())
    acknowledged: list[bool] = []

    async def nothing(*_: object, **__: object) -> None:
        acknowledged.append(True)

    metadata = SimpleNamespace(timestamp=branch.time() - timedelta(hours=2))
    data = pack_message(branch.keys, "b", [], call)
    message: Any = SimpleNamespace(data=data, subject="edgekit.up.a", metadata=metadata, ack=nothing)
    client: Any = SimpleNamespace(publish=nothing, flush=nothing)
    consumer = _Consumer("", headquarters.store, headquarters.signing, threading.Event(), None, ())
    asyncio.run(consumer._take(client, [message]))
    assert make_devices(headquarters.store)[0]["clock_ahead_s"] == 7200
    assert len(acknowledged) == 3


def test_a_collector_that_takes_nothing_does_not_blame_the_broker(
    headquarters: Headquarters, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()

    async def connect(*_: object, **__: object) -> None:
        if caplog.messages:
            stop.set()
        raise CollectorFullError("The disk is full.")

    monkeypatch.setattr(nats, "connect", connect)
    monkeypatch.setattr("edge.collector.nats_consumer._PAUSE_S", 0.0)
    asyncio.run(_Consumer("nats://b", headquarters.store, headquarters.signing, stop, None, ()).run())
    assert len(caplog.messages) == 1  # said once
    assert "The collector takes nothing from brokers" in caplog.text
    assert "nats://b" not in caplog.text


def session_through(url: str, branch: Branch, device: Credentials, answered_s: float) -> Session:
    uplink = NatsUplink(url, branch.device, branch.line.pack, lambda: device, branch.clock, answered_s=answered_s)
    where = {"clock": branch.clock, "state": branch.folder}
    return Session(branch.journal, branch.keys, uplink, branch.headquarters.policy(), **where)  # type: ignore[arg-type]


def is_sent(url: str, branch: Branch, device: Credentials) -> bool:
    try:
        session_through(url, branch, device, 2).run()
    except SyncError:
        return False
    return branch.journal.backlog() == 0


def streams_are_there(url: str, context: ssl.SSLContext) -> bool:
    """Whether the collector has made stream and consumer."""

    async def count() -> int:
        client = await nats.connect(url, tls=context, allow_reconnect=False)
        try:
            return len(await client.jetstream().consumers_info(STREAM))
        except nats.js.errors.NotFoundError:
            return 0
        finally:
            await client.close()

    return asyncio.run(count()) == 1
