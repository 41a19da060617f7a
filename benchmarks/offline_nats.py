"""The rows of ``bench offline`` about NATS JetStream: a thousand branches at once, and regions that are cut off."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.harness import Figure, Goal, Report, Row
from benchmarks.offline_sync import (
    Progress,
    collector,
    compare,
    decide,
    held,
    make_headquarters,
    session_with,
    until_sent,
)
from devices.clock import Clock
from devices.errors import SyncError
from edge.collector.store import Store
from edge.journal.keys import open_keys
from edge.journal.store import Journal
from edge.offline.sync import Session
from edge.offline.sync_credentials import Credentials
from edge.offline.sync_loop import Backoff
from edge.offline.sync_message import device_id, pack_message
from edge.offline.sync_nats import NatsUplink

BRANCHES, EACH = 1_000, 5
REGIONS, REGIONAL = ("north", "south"), 200
_NONE = Goal(0, at_least=False)
_WAIT_S = 300.0


def branches_row(report: Report, scratch: Path, progress: Progress) -> None:
    """A thousand branches whose line comes back at once, into a broker that is killed twice."""
    what = f"{BRANCHES:,} branches into JetStream, broker killed twice: lost or doubled"
    server = shutil.which("nats-server")
    if server is None:
        report.add(Row(what, None, "", _NONE, "Needs nats-server (requirements/system.txt)."))
        return
    headquarters, port = make_headquarters(scratch / "headquarters"), _free_port()
    broker_url = f"nats://127.0.0.1:{port}"
    branches = [scratch / "branches" / str(number) for number in range(BRANCHES)]
    for number, folder in enumerate(branches):
        decide(folder, EACH, lambda share, n=number: progress("branches decide", (n + share) / BRANCHES))  # type: ignore[misc]
    command = [server, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(scratch / "broker")]
    start_broker = partial(subprocess.Popen, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    broker, kills, failures = start_broker(), 0, [0] * BRANCHES
    with collector(headquarters, "--nats", broker_url):
        start = time.monotonic()
        threads = [
            threading.Thread(target=_branch, args=(folder, headquarters, broker_url, failures, number))
            for number, folder in enumerate(branches)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            share = held(headquarters) / (BRANCHES * (EACH + 2))
            progress("branches send", share)
            if kills < 2 and share > (kills + 1) / 3:
                broker.send_signal(signal.SIGKILL)
                broker.wait()
                kills, broker = kills + 1, start_broker()
            time.sleep(0.2)
        seconds = time.monotonic() - start
    broker.kill()
    broker.wait()
    faults = sum(compare(folder, headquarters, set())[0] for folder in branches)
    with closing(Store(headquarters)) as store:
        faults += len(store.rows("SELECT 1 FROM alarms"))
    note = (
        f"{BRANCHES * (EACH + 2):,} entries with their papers in {seconds:.0f} s; the broker was killed {kills} times "
        f"(-9), {sum(failures):,} sessions failed and were repeated."
    )
    report.add(Row(what, Figure.exact(faults + 2 - kills), "", _NONE, note))


def regions_row(report: Report, scratch: Path, progress: Progress) -> None:
    """Regions whose branches send while headquarters is cut off, and are silent when the line comes back."""
    what = f"{REGIONAL} branches in {len(REGIONS)} regions, headquarters cut off: lost or doubled"
    server = shutil.which("nats-server")
    if server is None:
        report.add(Row(what, None, "", _NONE, "Needs nats-server (requirements/system.txt)."))
        return
    headquarters = make_headquarters(scratch / "regions-headquarters")
    ports = {name: _free_port() for name in ("hub", "leaf nodes", *REGIONS)}
    urls = {name: f"nats://127.0.0.1:{port}" for name, port in ports.items()}
    branches = [scratch / "regional" / str(number) for number in range(REGIONAL)]
    for number, folder in enumerate(branches):
        decide(folder, EACH, lambda share, n=number: progress("regional branches decide", (n + share) / REGIONAL))  # type: ignore[misc]
    brokers = {name: _start(server, scratch, name, ports) for name in ("hub", *REGIONS)}
    where = [urls[REGIONS[number % len(REGIONS)]] for number in range(REGIONAL)]
    with collector(headquarters, "--nats", urls["hub"], *(word for name in REGIONS for word in ("--region", name))):
        for folder, url in zip(branches, where[:2], strict=False):  # then each region has its stream
            _until(partial(_once, folder, headquarters, url))
        before = held(headquarters)
        brokers["hub"].send_signal(signal.SIGKILL)
        brokers["hub"].wait()
        _run(
            threading.Thread(target=_hand_in, args=(folder, headquarters, url))
            for folder, url in zip(branches, where, strict=True)
        )
        while_cut_off, expected = held(headquarters) - before, sum(map(_length, branches))
        start = time.monotonic()
        brokers["hub"] = _start(server, scratch, "hub", ports)
        while (arrived := held(headquarters)) < expected and time.monotonic() < start + _WAIT_S:
            progress("regions hand over", arrived / expected)
            time.sleep(0.2)
        seconds = time.monotonic() - start
        _run(
            threading.Thread(target=_branch, args=(folder, headquarters, url, [0] * REGIONAL, number))
            for number, (folder, url) in enumerate(zip(branches, where, strict=True))
        )
    for broker in brokers.values():
        broker.kill()
        broker.wait()
    faults = sum(compare(folder, headquarters, set())[0] for folder in branches) + while_cut_off + (expected - arrived)
    with closing(Store(headquarters)) as store:
        faults += len(store.rows("SELECT 1 FROM alarms"))
    note = (
        f"The branches sent once while headquarters' broker was dead, and no more. {seconds:.0f} s after it was "
        f"started all {expected:,} entries with their papers had come."
    )
    report.add(Row(what, Figure.exact(faults), "", _NONE, note))


def _start(server: str, scratch: Path, name: str, ports: dict[str, int]) -> subprocess.Popen[bytes]:
    """Headquarters' broker or a leaf node, as examples/nats without TLS."""
    leaf = f'listen: "127.0.0.1:{ports["leaf nodes"]}"'
    if name != "hub":
        deny = 'deny_exports: ["edgekit.up.>"], deny_imports: ["edgekit.up.>"]'
        leaf = f'remotes: [{{url: "nats-leaf://127.0.0.1:{ports["leaf nodes"]}", {deny}}}]'
    path = scratch / f"{name}.conf"
    path.write_text(
        f'server_name: {name}\nlisten: "127.0.0.1:{ports[name]}"\n'
        f'jetstream {{store_dir: "{scratch / f"store-{name}"}", domain: {name}}}\nleafnodes {{{leaf}}}\n'
    )
    return subprocess.Popen([server, "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _until(true: Callable[[], object]) -> None:
    end = time.monotonic() + _WAIT_S
    while not true():
        assert time.monotonic() < end, "a region never handed over what it held"
        time.sleep(0.2)


def _once(folder: Path, headquarters: Path, url: str) -> bool:
    """One session of a branch; whether everything that it has is acknowledged."""
    with closing(_journal(folder)) as journal:
        with suppress(SyncError):
            _nats_session(journal, folder, headquarters, url, answered_s=2).run()
        return journal.backlog() == 0


def _hand_in(folder: Path, headquarters: Path, url: str) -> None:
    """Sessions of a branch until the leaf node has taken everything and only headquarters' answer is missing."""
    with closing(_journal(folder)) as journal:
        while True:
            try:
                _nats_session(journal, folder, headquarters, url, answered_s=2).run()
            except SyncError as error:
                if "did not answer" in error.problem:
                    return


def _run(threads: Iterable[threading.Thread]) -> None:
    started = list(threads)
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def _length(folder: Path) -> int:
    with closing(_journal(folder)) as journal:
        return journal.head().seq


def _journal(folder: Path) -> Journal:
    return Journal.open(folder / "journal", open_keys(folder / "keys"), now=lambda: datetime.now(UTC))


def _nats_session(journal: Journal, folder: Path, headquarters: Path, url: str, *, answered_s: float) -> Session:
    pack = partial(pack_message, journal.keys, f"branch {folder.name}")
    device = device_id(journal.keys.public_bytes)
    uplink = NatsUplink(url, device, pack, Credentials, Clock(None), answered_s=answered_s)
    return session_with(journal, headquarters, folder, uplink, url)


def _branch(folder: Path, headquarters: Path, url: str, failures: list[int], number: int) -> None:
    """One branch, in a thread of its own."""
    with closing(_journal(folder)) as journal:
        session = _nats_session(journal, folder, headquarters, url, answered_s=30)
        failures[number] = until_sent(session, journal, Backoff(20))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
