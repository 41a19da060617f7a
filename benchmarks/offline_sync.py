"""The rows of ``bench offline`` about the way to headquarters over HTTPS: a week cut off, then a bad line."""

from __future__ import annotations

import json
import random
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from benchmarks.engine import memory
from benchmarks.harness import Figure, Goal, Progress, Report, Row
from devices.clock import Clock
from devices.errors import SyncError
from edge.collector.keys import SEALING_NAME, make_keys, sealing_key, signing_key
from edge.collector.store import DATABASE_NAME, Store
from edge.journal.keys import open_keys
from edge.journal.store import Journal
from edge.offline.sync import Session, Uplink
from edge.offline.sync_credentials import Credentials
from edge.offline.sync_https import HttpsUplink
from edge.offline.sync_loop import Backoff
from edge.offline.sync_message import device_id, pack_message
from edge.offline.sync_policy import SyncPolicy

DECISIONS, FEW, FLAGGED = 20_000, 200, 0.1
LOSS, CUT_BYTES = 0.1, 3_750_000  # every tenth connection, and what a line of 1 Mbit/s carries in 30 s
MEMORY_GOAL_MB = 10.0
_RECEIPT, _APPLICATION = 4_000, 6_000
_CHUNK_BYTES = 16 * 1024


def week_rows(report: Report, scratch: Path, progress: Progress) -> None:
    """Seven days of decisions, then a line that loses and is cut."""
    peaks = {}
    for decisions in (FEW, DECISIONS):
        folder = scratch / f"week-{decisions}"
        flagged = decide(folder / "branch", decisions, lambda share: progress("a week cut off", share))
        headquarters = make_headquarters(folder / "headquarters")
        with collector(headquarters) as url, _bad_line(url) as (bad_url, cuts):
            command = [
                sys.executable,
                "-m",
                "benchmarks.offline_sync",
                str(folder / "branch"),
                str(headquarters),
                bad_url,
            ]
            start = time.monotonic()
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as device:
                try:
                    while device.poll() is None:
                        progress("the line is back", held(headquarters) / decisions)
                        time.sleep(0.5)
                finally:
                    device.kill()
                assert device.stdout is not None
                said = device.stdout.read()
            seconds = time.monotonic() - start
        if device.returncode:
            raise RuntimeError(f"the process that sends ended with {device.returncode}")
        sessions, peak_kb = map(int, said.split())
        peaks[decisions] = peak_kb / 1024
        if decisions == DECISIONS:
            faults, early = compare(folder / "branch", headquarters, flagged)
            none = Goal(0, at_least=False)
            note = (
                f"{seconds:.0f} s, {sessions} sessions, {len(cuts)} cuts: a tenth of all connections at a random byte, "
                f"and all of them after every {CUT_BYTES / 1e6:g} MB, which is 30 s at 1 Mbit/s."
            )
            what = f"Seven days cut off, {DECISIONS:,} decisions, a bad line"
            report.add(Row(f"{what}: lost, doubled or altered", Figure.exact(faults), "", none, note))
            report.add(Row(f"{what}: arrived before a flagged one", Figure.exact(early), "", none))
        shutil.rmtree(folder)
    note = f"Peak RSS {peaks[DECISIONS]:.1f} MB against {peaks[FEW]:.1f} MB with {FEW} decisions to send."
    more = Figure.exact(peaks[DECISIONS] - peaks[FEW])
    report.add(Row("Sending a week's backlog: more memory", more, "MB", Goal(MEMORY_GOAL_MB, at_least=False), note))


def decide(folder: Path, decisions: int, progress: Callable[[float], None]) -> set[int]:
    """A journal of so many decisions in a week; returns the numbers of those that are flagged."""
    (folder / "keys").mkdir(parents=True)
    moment, draw = [datetime.now(UTC) - timedelta(days=7)], random.Random(3)  # noqa: S311
    flagged = set()
    with closing(Journal.open(folder / "journal", open_keys(folder / "keys"), now=lambda: moment[0])) as journal:
        for number in range(decisions):
            moment[0] += timedelta(days=7) / decisions
            decision = "review" if draw.random() < FLAGGED else "pass"
            body = {"decision_id": f"{number}", "score": 7, "level": "low", "decision": decision, "amount": 50_000}
            papers = {"receipt": draw.randbytes(_RECEIPT), "application": draw.randbytes(_APPLICATION)}
            entry = journal.append("decision", body, records=papers)
            if decision == "review":
                flagged.add(entry.seq)
            progress((number + 1) / decisions)
    return flagged


def make_headquarters(folder: Path) -> Path:
    """Headquarters' keys and its empty store, in ``folder``."""
    folder.mkdir(parents=True)
    make_keys(folder)
    Store.create(folder)
    return folder


@contextmanager
def collector(folder: Path, *options: str) -> Iterator[str]:
    """A collector over ``folder`` in a process of its own; yields its URL, and wants a clean end."""
    command = [sys.executable, "-m", "edge.cli", "collector", "serve", str(folder), "--port", "0", "--json", *options]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            assert select.select([process.stdout], [], [], 60)[0], "the collector never was ready"
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.send_signal(signal.SIGTERM)
            if process.wait(60):
                errors.seek(0)
                raise RuntimeError(f"the collector ended with {process.returncode}: {errors.read().decode()[-2000:]}")


@contextmanager
def _bad_line(url: str) -> Iterator[tuple[str, list[int]]]:
    """Carries connections to ``url``, some to a random byte only; yields its own URL and where it cut."""
    target = int(url.rpartition(":")[2])
    draw, cuts, carried, stop = random.Random(5), list[int](), [0], threading.Event()  # noqa: S311
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)

        def carry(caller: socket.socket) -> None:
            left = draw.randrange(1, 400_000) if draw.random() < LOSS else None
            with caller, socket.create_connection(("127.0.0.1", target)) as called:
                other = {caller: called, called: caller}
                while True:
                    for end in select.select(list(other), [], [])[0]:
                        data = end.recv(_CHUNK_BYTES)
                        carried[0] += len(data)
                        left = None if left is None else left - len(data)
                        if not data:
                            return
                        if (left is not None and left < 0) or carried[0] > CUT_BYTES:
                            cuts.append(carried[0])
                            carried[0] = 0 if carried[0] > CUT_BYTES else carried[0]
                            other[end].sendall(data[: len(data) // 2])
                            return
                        other[end].sendall(data)

        def guarded(caller: socket.socket) -> None:
            try:
                carry(caller)
            except OSError:
                return

        def accept() -> None:
            while not stop.is_set():
                try:
                    caller, _ = listener.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=guarded, args=(caller,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", cuts
        finally:
            stop.set()
            thread.join()


def session_with(journal: Journal, headquarters: Path, folder: Path, uplink: Uplink, url: str) -> Session:
    """A session of ``journal`` with headquarters."""
    signing, sealing = signing_key(headquarters), sealing_key(headquarters / SEALING_NAME)
    policy = SyncPolicy(
        url=url,
        acknowledged_by=signing.public_key().public_bytes_raw().hex(),
        sealed_for=sealing.public_key().public_bytes_raw().hex(),
    )
    return Session(journal, journal.keys, uplink, policy, clock=Clock(None), state=folder)


def until_sent(session: Session, journal: Journal, backoff: Backoff) -> int:
    """Sessions until nothing waits; how many failed."""
    failed = 0
    while True:
        try:
            session.run()
        except SyncError as error:
            failed += 1
            time.sleep(backoff.failed(error.retry_after_s))
            continue
        if not journal.backlog():
            return failed


def held(headquarters: Path) -> int:
    """How many entries headquarters has."""
    with closing(sqlite3.connect(headquarters / DATABASE_NAME, timeout=30)) as database:
        return int(database.execute("SELECT count(*) FROM entries").fetchone()[0])


def compare(folder: Path, headquarters: Path, flagged: set[int]) -> tuple[int, int]:
    """Entries of a branch that headquarters holds otherwise or not, and how many came before a flagged one."""
    keys = open_keys(folder / "keys")
    with (
        closing(Journal.open(folder / "journal", keys, now=lambda: datetime.now(UTC))) as journal,
        closing(Store(headquarters)) as store,
    ):
        query = "SELECT seq, hash FROM entries WHERE device = ? ORDER BY rowid"
        arrived = store.rows(query, device_id(keys.public_bytes))
        own = [(entry.seq, entry.hash) for entry in journal.entries()]
        faults = len(set(own) ^ set(arrived)) + len(arrived) - len(set(arrived)) + journal.backlog()
    last = max((place for place, (seq, _) in enumerate(arrived) if seq in flagged), default=-1)
    return faults, sum(seq not in flagged for seq, _ in arrived[: last + 1])


def send_all(folder: Path, headquarters: Path, url: str) -> int:
    """Send until nothing waits; how many sessions failed."""
    keys = open_keys(folder / "keys")
    clock = Clock(None)
    with closing(Journal.open(folder / "journal", keys, now=clock.now)) as journal:
        uplink = HttpsUplink(url, partial(pack_message, keys, "branch"), Credentials, clock)
        session = session_with(journal, headquarters, folder, uplink, url)
        return until_sent(session, journal, Backoff(0.2, first_s=0.05))


def _device(folder: Path, headquarters: Path, url: str) -> None:
    """A branch in a process of its own: sends everything, prints how many sessions it took and its peak memory."""
    failed = send_all(folder, headquarters, url)
    # not ru_maxrss, which a process inherits from the one that started it
    print(failed + 1, round(memory()["peak_mb"] * 1024))  # noqa: T201


if __name__ == "__main__":
    _device(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
