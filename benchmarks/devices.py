"""Provisioning and updates: how long, how much travels, and what survives. The goals are those of issue 5's table.

Rows that need namespaces are skipped where this user may not make them. The index of wheels is asked once, by the
lock's hashes; everything after that happens without a network.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.devices_bank import (
    RealBank,
    beyond_loopback,
    edgekit,
    missing_for_bare,
    on_bare_machine,
    other_thresholds,
    sample_form,
)
from benchmarks.devices_kill import kill_everywhere, phases
from benchmarks.harness import Figure, Goal, Progress, Report, Row
from benchmarks.runtime_models import signed_demo
from devices.provision.slots import Layout
from tests.devices.provision.small_bank import Bank
from tests.devices.provision.small_release import calling

ROUNDS, KILLS, FLIPS, SAMPLED = 3, 200, 1000, 8
_CLIENTS = 4
_INSTALL_S, _DELTA_PERCENT = 120, 1


def measure(report: Report, progress: Progress) -> None:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        scratch = Path(folder)
        progress("a bank", 0.0)
        bundle = signed_demo(scratch / "bundle")
        bank = RealBank.open(scratch / "bank")
        bank.publish(bundle)
        medium = bank.pack("medium")
        _install_rows(report, progress, scratch, medium)
        _flip_row(report, progress, scratch, medium)
        _update_rows(report, progress, scratch, bank, bundle, medium)
        _kill_row(report, progress, scratch)


def _install_rows(report: Report, progress: Progress, scratch: Path, medium: Path) -> None:
    first = "bare machine in a namespace without a network, to the first score"
    sockets = "calls on a socket beyond loopback meanwhile"
    if reason := missing_for_bare():
        report.add(Row(first, None, "s", note=f"Skipped: {reason}."))
        report.add(Row(sockets, None, note=f"Skipped: {reason}."))
        return
    taken, parts = [], {}
    for number in range(ROUNDS):
        progress("a bare machine", number / ROUNDS)
        parts = on_bare_machine(medium, scratch)
        taken.append(float(str(parts["scored"]["s"])))
    steps = ", ".join(f"{what} after {float(str(each['s'])):.0f} s" for what, each in parts.items())
    size = sum(path.stat().st_size for path in medium.rglob("*") if path.is_file()) / 1e6
    note = (
        f"{steps} in the last of {ROUNDS} rounds; the medium has {size:.0f} MB, and Python 3.11 is the machine's own."
    )
    report.add(Row(first, Figure.of(taken), "s", Goal(_INSTALL_S, at_least=False), note))
    trace = scratch / "trace"
    progress("the same under strace", 0.0)
    on_bare_machine(medium, scratch, trace=trace)
    beyond = beyond_loopback(trace)
    lines = trace.read_text(errors="replace").count("\n")
    seen = f"strace of every network call of installation, serving and a score: {lines} calls, all loopback or Unix."
    report.add(Row(sockets, Figure.exact(len(beyond)), "", Goal(0, at_least=False), beyond[0] if beyond else seen))


def _flip_row(report: Report, progress: Progress, scratch: Path, medium: Path) -> None:
    """Half of the places in files drawn alike, half in bytes drawn alike: small files count, and large ones too."""
    drawn, root = random.Random(5), scratch / "flipped"  # noqa: S311  # places are drawn, nothing is kept secret
    files = sorted(path for path in medium.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    named, refused = 0, 0
    unnamed: list[str] = []
    for number in range(FLIPS):
        progress("flipped bytes", number / FLIPS)
        path = drawn.choice(files) if number % 2 else drawn.choices(files, sizes)[0]
        position, mask = drawn.randrange(path.stat().st_size), drawn.randrange(1, 256)
        _flip(path, position, mask)
        command = ["sh", str(medium / "install.sh"), "--root", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        _flip(path, position, mask)
        refused += done.returncode != 0 and not root.exists()
        if path.name in done.stderr:
            named += 1
        else:
            unnamed.append(f"{path.name} at {position}: {done.stderr.strip()[-200:]}")
    report.details["flips not named"] = unnamed
    note = f"'sh install.sh' on the whole medium each time: {refused} refused, nothing written; {named} named the file."
    what = "a flipped byte anywhere on a medium: refused, and the file named"
    report.add(Row(what, Figure.exact(min(refused, named)), f"of {FLIPS}", Goal(FLIPS), note))


def _flip(path: Path, position: int, mask: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        old = file.read(1)[0]
        file.seek(position)
        file.write(bytes([old ^ mask]))


def _update_rows(report: Report, progress: Progress, scratch: Path, bank: RealBank, bundle: Path, medium: Path) -> None:
    root = scratch / "root"
    progress("an update", 0.0)
    edgekit("provision", "install", str(medium), "--root", str(root))
    bank.publish(other_thresholds(bundle, scratch / "other"))
    whole = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    with _served(root) as url, _scoring(url) as answered:
        _until(lambda: answered[200] >= SAMPLED)
        started = time.monotonic()
        said = json.loads(edgekit("provision", "update", "--root", str(root), str(bank.repo), "--json"))
        took_s = time.monotonic() - started
        before = answered[200]
        _until(lambda: answered[200] >= before + SAMPLED)
        edgekit("provision", "rollback", "--root", str(root))
        before = answered[200]
        _until(lambda: answered[200] >= before + SAMPLED)
    signed = _metadata_bytes(root)
    travelled = said["fetched_bytes"] + signed
    report.add(
        Row(
            "what travels for an update of thresholds only, of the bundle",
            Figure.exact(100 * travelled / whole),
            "%",
            Goal(_DELTA_PERCENT, at_least=False),
            f"{said['fetched_bytes']} bytes of files and {signed} of signed metadata, channel and release; the bundle "
            f"has {whole}. The environment was {said['environment']}; the command took {took_s:.0f} s, trial included.",
        )
    )
    failed = sum(count for status, count in answered.items() if status != 200)
    scored = f"{sum(answered.values())} applications by {_CLIENTS} clients through an update and a rollback"
    what = "requests that failed while the device switched over"
    report.add(Row(what, Figure.exact(failed), "", Goal(0, at_least=False), f"{scored}: {dict(answered)}."))


def _metadata_bytes(root: Path) -> int:
    """What a device reads of a repository to learn of a release: signed lists, its channel, the release."""
    lists = [path for path in (root / "trust" / "metadata").glob("*.json") if path.name != "root.json"]
    documents = [Layout(root).release("b"), root / "channel.json"]
    return sum(path.stat().st_size for path in (*lists, *documents))


@contextmanager
def _served(root: Path) -> Iterator[str]:
    command = ["python3.11", "-I", str(Layout(root).launcher), str(root), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"])
        process.terminate()


def _scoring(url: str) -> AbstractContextManager[Counter[int | str]]:
    """Clients that score the sample application all the while; yields how they were answered."""
    form = sample_form()
    return calling(lambda session: session.post(f"{url}/v1/score", files=form, timeout=120).status_code, _CLIENTS)


def _until(holds: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError("the clients were not answered any more")
        time.sleep(0.1)


def _kill_row(report: Report, progress: Progress, scratch: Path) -> None:
    done, problems = 0, []
    place = scratch / "kill"
    place.mkdir()
    for phase in phases(Bank(place / "bank"), place, KILLS // 10):
        for killed in kill_everywhere(phase, place):
            progress("kill -9", done / KILLS)
            done += 1
            if killed.problem:
                problems.append(f"{killed.where}: {killed.problem}")
    shutil.rmtree(place)
    report.details["kills that went wrong"] = problems
    note = (
        "Each time the whole process group, pip and launcher too; then the device is started as it lies there, and the "
        "same command given again. Small releases, everything else as on a device."
    )
    what = "kill -9 during install, update, activate and rollback: a verified slot serves, no manual step"
    report.add(Row(what, Figure.exact(done - len(problems)), f"of {done}", Goal(KILLS), note))
