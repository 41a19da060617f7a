"""The journal's rows of ``bench offline``."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import offline_sync
from benchmarks.harness import Figure, Goal, Progress, Report, Row
from benchmarks.offline_kill import judge, kill_writers
from benchmarks.offline_power import acknowledged, build_recorder, disk_after, record
from benchmarks.offline_served import CALLERS, Callers, device_bundle, kill_servers, settle
from benchmarks.runtime_models import demo_bundle
from edge.journal.database import connect
from edge.journal.keys import open_keys
from edge.journal.store import Journal
from edge.journal.verify import verify_journal
from tests.edge.journal.conftest import Device
from tests.edge.journal.tampering import TAMPERINGS, content, write_small

APPENDS, TAMPERED, DAMAGED, KILLS, CUTS, ENTRIES = 300, 10_000, 10_000, 500, 2_000, 20_000
SERVED_S = 480.0  # for as many of the kills as fit, of a whole serving device
_RECEIPT, _APPLICATION, _PAPERS = 8_000, 6_000, 3 * 300_000


def append_rows(report: Report, scratch: Path, progress: Progress) -> None:
    """An append against the same bytes in SQLite alone, in turns on the same disk."""
    for what, papers in (("without papers", 0), ("with 900 kB of papers", _PAPERS)):
        folder = scratch / f"append-{papers}"
        ours, alone = _append_times(folder, papers, lambda share: progress("appends", share))
        cost = ours - alone
        report.add(
            Row(
                f"Append with fsync, {what}: more than SQLite alone (p50)",
                Figure.of(cost),
                "ms",
                Goal(5, at_least=False),
                f"The journal {np.median(ours):.2f} ms (p99 {np.quantile(ours, 0.99):.2f}), SQLite "
                f"{np.median(alone):.2f} ms (p99 {np.quantile(alone, 0.99):.2f}); {APPENDS} pairs in turns.",
            )
        )
        shutil.rmtree(folder)


def _append_times(folder: Path, papers: int, progress: Callable[[float], None]) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir()
    journal = open_at(folder)
    with closing(connect(folder / "alone.sqlite")) as alone:
        alone.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, line BLOB, records BLOB)")
        records = {"receipt": os.urandom(_RECEIPT), "application": os.urandom(_APPLICATION)}
        if papers:
            records["document/0"] = os.urandom(papers)
        blob = b"".join(records.values())

        def once(number: int) -> float:
            start = time.perf_counter()
            body = {"decision_id": f"{number}", "decision": "pass", "level": "low", "amount": 50_000}
            journal.append("decision", body, records=records)
            return time.perf_counter() - start

        def plain(number: int) -> float:
            start = time.perf_counter()
            alone.execute("BEGIN IMMEDIATE")
            alone.execute("INSERT INTO entries (line, records) VALUES (?, ?)", (b"x" * 700, blob))
            alone.execute("COMMIT")
            return time.perf_counter() - start

        times = np.empty((2, APPENDS))
        for number in range(APPENDS):
            for which, run in ((0, once), (1, plain))[:: 1 if number % 2 else -1]:
                times[which, number] = run(number) * 1000
            progress((number + 1) / APPENDS)
    journal.close()
    return times[0], times[1]


def verify_row(report: Report, scratch: Path, progress: Progress) -> None:
    """How long a whole verification takes."""
    folder = scratch / "verify"
    folder.mkdir()
    journal = open_at(folder)
    for number in range(ENTRIES):
        journal.append("decision", {"decision_id": f"{number}", "decision": "pass"}, records={"receipt": b"r" * 4000})
        progress("a long journal", (number + 1) / ENTRIES)
    journal.close()
    start = time.perf_counter()
    found = verify_journal(folder / "journal", open_keys(folder / "keys"))
    seconds = time.perf_counter() - start
    size = (folder / "journal" / "journal.sqlite").stat().st_size / ENTRIES
    note = f"{len(found.findings)} findings. {size:,.0f} bytes a decision with a receipt of 4,000."
    report.add(Row(f"Verifying {ENTRIES:,} decisions", Figure.exact(seconds), "s", None, note))
    shutil.rmtree(folder)


def tamper_rows(report: Report, scratch: Path, progress: Progress) -> None:
    """Random tampering, and random damage of the file's bytes."""
    (scratch / "tamper").mkdir()
    written = write_small(Device(scratch / "tamper"))
    draw = random.Random(7)  # noqa: S311
    missed = wrong = 0
    for number in range(TAMPERED):
        with closing(written.opened()) as connection:
            bad = draw.choice(TAMPERINGS)(connection, draw)
            first = written.verified(connection).first
        missed += first is None
        wrong += first is not None and first.seq != bad
        progress("tampering", (number + 1) / TAMPERED)
    kinds = ", ".join(tamper.__name__.replace("_", " ") for tamper in TAMPERINGS)
    none = Goal(0, at_least=False)
    what = f"Tampering with the journal, {TAMPERED:,} tries"
    report.add(Row(f"{what}: not found", Figure.exact(missed), "", none, f"Of {len(TAMPERINGS)} kinds: {kinds}."))
    report.add(Row(f"{what}: found, and another place named first", Figure.exact(wrong), "", none))
    unseen = harmless = 0
    with closing(written.opened()) as good:
        expected = content(good)
    for number in range(DAMAGED):
        image = bytearray(written.image)
        start = draw.randrange(len(image))
        length = draw.choice((1, 1, 8, 512, 4096))
        image[start : start + length] = draw.randbytes(len(image[start : start + length]))
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(bytes(image))
            found = written.verified(connection).findings
            try:
                same = content(connection) == expected
            except (sqlite3.DatabaseError, UnicodeDecodeError):
                same = False
        unseen += not found and not same
        harmless += not found and same
        progress("damage", (number + 1) / DAMAGED)
    note = f"In {harmless} more tries bytes were hit that no content uses, and everything reads as before."
    report.add(
        Row(
            f"Damaged bytes in the file, {DAMAGED:,} tries: content changed, not found",
            Figure.exact(unseen),
            "",
            none,
            note,
        )
    )


def kill_row(report: Report, scratch: Path, progress: Progress) -> None:
    """Kill -9 of a serving device as often as its time allows, then of two writers and of what sends."""
    headquarters = offline_sync.make_headquarters(scratch / "kill-headquarters")
    with offline_sync.collector(headquarters) as url:
        served, decided, again, wrong = _kill_served(headquarters, url, progress, scratch)
        faults, told, meanwhile = _kill_writers(headquarters, url, KILLS - served, progress, scratch)
    note = (
        f"{served} times a serving device with the demonstration's models, all its processes, while {CALLERS} callers "
        f"post applications: {decided:,} decisions answered, {again} requests sent again after a kill. "
        f"{KILLS - served} times two processes that append and erase and a third that sends: {told:,} decisions "
        f"acknowledged, {meanwhile:,} entries sent between kills. The journal is checked after each; at the end "
        "headquarters has every entry once."
    )
    what = f"kill -9 at {KILLS} random moments while scoring and syncing: lost, doubled or unverifiable"
    report.details["kills: faults of the serving device"] = wrong
    report.add(Row(what, Figure.exact(faults + len(wrong)), "", Goal(0, at_least=False), note))


def _kill_served(
    headquarters: Path, url: str, progress: Progress, scratch: Path
) -> tuple[int, int, int, dict[str, Any]]:
    """How many kills, answered decisions, requests sent again, and what was wrong."""
    state, callers = scratch / "served", Callers()
    bundle = device_bundle(demo_bundle(), headquarters, url, state, scratch / "served-bundle")
    found, kills = kill_servers(
        bundle,
        state,
        callers,
        kills=KILLS,
        until=time.monotonic() + SERVED_S,
        progress=lambda share: progress("kills of a serving device", share),
    )
    wrong = settle(bundle, state, headquarters, url, callers)
    if found:
        wrong["journal"] = vars(found)
    shutil.rmtree(state)
    return kills, len(callers.told), callers.again, wrong


def _kill_writers(headquarters: Path, url: str, kills: int, progress: Progress, scratch: Path) -> tuple[int, int, int]:
    """How many faults, acknowledged decisions, and entries that were sent between kills."""
    faults, told, meanwhile, journals = 0, 0, 0, 10
    arrived = offline_sync.held(headquarters)
    for number in range(journals):
        state = scratch / f"kill-{number}"
        found, here = kill_writers(
            state,
            kills=kills // journals + (number < kills % journals),
            seed=number,
            beside=lambda state=state: _send_for_ever(state, headquarters, url),  # type: ignore[misc]
            longest_s=0.4,
            judge_every=1,
            progress=lambda share, n=number: progress("kills", (n + share) / journals),  # type: ignore[misc]
        )
        meanwhile += offline_sync.held(headquarters) - arrived
        offline_sync.send_all(state, headquarters, url)
        arrived = offline_sync.held(headquarters)
        faults += bool(found) + offline_sync.compare(state, headquarters, set())[0]
        told += here
        shutil.rmtree(state)
    return faults, told, meanwhile


def _send_for_ever(state: Path, headquarters: Path, url: str) -> None:
    while True:
        if (state / "journal" / "journal.sqlite").exists():
            offline_sync.send_all(state, headquarters, url)
        time.sleep(0.01)


def power_row(report: Report, scratch: Path, progress: Progress) -> None:
    """Power cuts at random writes, with torn and dropped writes since the last fsync."""
    what = f"Power cuts at {CUTS:,} random writes: lost, doubled or unverifiable"
    if shutil.which("cc") is None:
        report.add(Row(what, None, "", Goal(0, at_least=False), "Needs a C compiler."))
        return
    state = scratch / "power" / "state"
    state.mkdir(parents=True)
    log = state.parent / "log"
    steps = record(build_recorder(state.parent), state, log, ["-m", "benchmarks.offline_writer", str(state), "60"])
    begun = next(n for n, step in enumerate(steps) if step.kind == "R" and step.path.endswith("journal-head.json.new"))
    draw, faults = random.Random(11), 0  # noqa: S311
    for number in range(CUTS):
        cut, disk = draw.randrange(begun, len(steps) + 1), scratch / "disk"
        disk_after(steps, cut, draw, state, disk)
        (disk / "keys").mkdir(parents=True, exist_ok=True)
        faults += bool(judge(disk, acknowledged(steps, cut)))
        shutil.rmtree(disk)
        progress("power cuts", (number + 1) / CUTS)
    note = f"{len(steps):,} calls of a writer; each write since the last fsync kept, dropped or torn by sectors."
    report.add(Row(what, Figure.exact(faults), "", Goal(0, at_least=False), note))


def open_at(folder: Path) -> Journal:
    """A journal below ``folder``."""
    (folder / "keys").mkdir()
    return Journal.open(folder / "journal", open_keys(folder / "keys"), now=lambda: datetime.now(UTC))
