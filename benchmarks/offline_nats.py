"""The rows of ``bench offline`` about NATS JetStream: a thousand branches at once, and regions that are cut off."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self

from benchmarks.harness import Figure, Goal, Progress, Report, Row, free_port
from benchmarks.offline_sync import (
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


def nats_rows(report: Report, scratch: Path, progress: Progress) -> None:
    """A thousand branches, then regions."""
    server = shutil.which("nats-server")
    rows: dict[str, Callable[[str, Path, Progress], tuple[int, str]]] = {
        f"{BRANCHES:,} branches into JetStream, broker killed twice: lost or doubled": _branches,
        f"{REGIONAL} branches in {len(REGIONS)} regions, headquarters cut off: lost or doubled": _regions,
    }
    for what, measure in rows.items():
        if server is None:
            report.add(Row(what, None, "", _NONE, "Needs nats-server (requirements/system.txt)."))
        else:
            faults, note = measure(server, scratch, progress)
            report.add(Row(what, Figure.exact(faults), "", _NONE, note))


class _Broker:
    """A nats-server in a process of its own, which ends with the block."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _branches(server: str, scratch: Path, progress: Progress) -> tuple[int, str]:
    """A thousand branches whose line comes back at once, into a broker that is killed twice: faults, and a note."""
    headquarters, port = make_headquarters(scratch / "headquarters"), free_port()
    broker_url = f"nats://127.0.0.1:{port}"
    branches = [scratch / "branches" / str(number) for number in range(BRANCHES)]
    for number, folder in enumerate(branches):
        decide(folder, EACH, lambda share, n=number: progress("branches decide", (n + share) / BRANCHES))  # type: ignore[misc]
    command = [server, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(scratch / "broker")]
    kills, failures = 0, [0] * BRANCHES
    with _Broker(*command) as broker, collector(headquarters, "--nats", broker_url):
        start = time.monotonic()
        threads = _started(
            partial(_branch, folder, headquarters, broker_url, failures, number)
            for number, folder in enumerate(branches)
        )
        while any(thread.is_alive() for thread in threads):
            share = held(headquarters) / (BRANCHES * (EACH + 2))
            progress("branches send", share)
            if kills < 2 and share > (kills + 1) / 3:
                broker.kill()
                broker.start()
                kills += 1
            time.sleep(0.2)
        seconds = time.monotonic() - start
    faults = sum(compare(folder, headquarters, set())[0] for folder in branches)
    with closing(Store(headquarters)) as store:
        faults += len(store.rows("SELECT 1 FROM alarms"))
    note = (
        f"{BRANCHES * (EACH + 2):,} entries with their papers in {seconds:.0f} s; the broker was killed {kills} times "
        f"(-9), {sum(failures):,} sessions failed and were repeated."
    )
    return faults + 2 - kills, note


def _regions(server: str, scratch: Path, progress: Progress) -> tuple[int, str]:
    """Regions that send while headquarters is cut off, and are silent when the line comes back: faults, and a note."""
    headquarters = make_headquarters(scratch / "regions-headquarters")
    ports = {name: free_port() for name in ("hub", "leaf nodes", *REGIONS)}
    urls = {name: f"nats://127.0.0.1:{port}" for name, port in ports.items()}
    branches = [scratch / "regional" / str(number) for number in range(REGIONAL)]
    for number, folder in enumerate(branches):
        decide(folder, EACH, lambda share, n=number: progress("regional branches decide", (n + share) / REGIONAL))  # type: ignore[misc]
    where = [urls[REGIONS[number % len(REGIONS)]] for number in range(REGIONAL)]
    listens = ("--nats", urls["hub"], *(word for name in REGIONS for word in ("--region", name)))
    with ExitStack() as running:
        hub, *_ = [running.enter_context(_broker(server, scratch, name, ports)) for name in ("hub", *REGIONS)]
        running.enter_context(collector(headquarters, *listens))
        for folder, url in zip(branches, where[:2], strict=False):  # then each region has its stream
            _until(partial(_once, folder, headquarters, url))
        before = held(headquarters)
        hub.kill()
        _run(
            partial(_until, partial(_handed_in, folder, headquarters, url))
            for folder, url in zip(branches, where, strict=True)
        )
        while_cut_off, expected = held(headquarters) - before, sum(map(_length, branches))
        start = time.monotonic()
        hub.start()
        while (arrived := held(headquarters)) < expected and time.monotonic() < start + _WAIT_S:
            progress("regions hand over", arrived / expected)
            time.sleep(0.2)
        seconds = time.monotonic() - start
        _run(
            partial(_branch, folder, headquarters, url, [0] * REGIONAL, number)
            for number, (folder, url) in enumerate(zip(branches, where, strict=True))
        )
    faults = sum(compare(folder, headquarters, set())[0] for folder in branches) + while_cut_off + (expected - arrived)
    with closing(Store(headquarters)) as store:
        faults += len(store.rows("SELECT 1 FROM alarms"))
    note = (
        f"The branches sent once while headquarters' broker was dead, and no more. {seconds:.0f} s after it was "
        f"started all {expected:,} entries with their papers had come."
    )
    return faults, note


def _broker(server: str, scratch: Path, name: str, ports: dict[str, int]) -> _Broker:
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
    return _Broker(server, "-c", str(path))


def _until(true: Callable[[], object]) -> None:
    end = time.monotonic() + _WAIT_S
    while not true():
        assert time.monotonic() < end, "a broker never took what a branch has"
        time.sleep(0.2)


def _once(folder: Path, headquarters: Path, url: str) -> bool:
    """One session of a branch; whether everything that it has is acknowledged."""
    with closing(_journal(folder)) as journal:
        with suppress(SyncError):
            _nats_session(journal, folder, headquarters, url, answered_s=2).run()
        return journal.backlog() == 0


def _handed_in(folder: Path, headquarters: Path, url: str) -> bool:
    """One session of a branch; whether the leaf node has taken everything and only headquarters' answer is missing."""
    with closing(_journal(folder)) as journal:
        try:
            _nats_session(journal, folder, headquarters, url, answered_s=2).run()
        except SyncError as error:
            return "did not answer" in error.problem
        return False


def _run(works: Iterable[Callable[[], object]]) -> None:
    for thread in _started(works):
        thread.join()


def _started(works: Iterable[Callable[[], object]]) -> list[threading.Thread]:
    """Each in a thread of its own, which does not keep this process from ending when it is interrupted."""
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    return threads


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
