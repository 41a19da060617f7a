"""The text model over HTTP: the kit's server against Paddle Inference behind Flask, one network in FP32 for both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.compress_speed import THREADS
from benchmarks.harness import Figure, Goal, Progress, Report, Row
from benchmarks.peers import peers_python
from benchmarks.runtime_models import bundle, demo_bundle, slow_text
from benchmarks.runtime_processes import Loaded, Server, client, kit_server, peer_server
from benchmarks.runtime_serving import CLIENTS, TEXT_ROUNDS, TextCase, check_same, quantile_ms, take_turns
from devices.errors import DownloadError

PEER = "Paddle Inference behind Flask"


def paddle_server(python: Path, artifact: Path) -> AbstractContextManager[Server]:
    """The peer with the network that ``slow_text`` left beside ``artifact``."""
    arguments = (artifact.parent / "paddle", artifact, "{port}", str(THREADS))
    return peer_server(python, "flask_paddle.py", arguments, "/health")


def measure_paddle(report: Report, scratch: Path, progress: Progress) -> None:
    """Rows on requests a second and p99, for one client and for eight."""
    progress("models to serve", 0.0)
    try:
        python = peers_python("bench-paddle")
    except DownloadError as error:
        report.add(Row(f"/v1/text-risk: {PEER} against the kit", None, note=error.problem))
        return
    artifact, text = slow_text(scratch / "slow")
    demo = demo_bundle()
    served = bundle(scratch / "bundle", [demo / "ocr", artifact, demo / "behaviour"])
    case = TextCase(scratch, artifact, text, "slow")
    with client() as load, kit_server(served) as kit, paddle_server(python, artifact) as peer:
        turns: dict[str, Callable[[], Loaded]] = {}
        for clients in CLIENTS:
            turns[f"kit {clients}"] = case.raw(load, kit, "/v1/text-risk", clients)
            turns[f"Paddle {clients}"] = case.raw(load, peer, "/predict", clients)
        check_same(turns["kit 1"]().answer, turns["Paddle 1"]().answer, PEER)
        taken = take_turns(turns, TEXT_ROUNDS, lambda share: progress("text over HTTP", share))
    for clients in CLIENTS:
        kit_turns, theirs = taken[f"kit {clients}"], taken[f"Paddle {clients}"]
        many = "1 client" if clients == 1 else f"{clients} clients"
        gain = Figure.of([own.rate / other.rate for own, other in zip(kit_turns, theirs, strict=True)])
        failed = sum(each.failed for each in (*kit_turns, *theirs))
        rates = f"kit {_middle(kit_turns):.1f}, {PEER} {_middle(theirs):.1f}"
        note = f"A second: {rates}. ERNIE 4L312H in FP32 on both sides; {failed} answers were errors."
        report.add(Row(f"/v1/text-risk, {many}: requests per second by {PEER}", gain, "times", Goal(1.0), note))
        slow, own = quantile_ms(theirs, 0.99), quantile_ms(kit_turns, 0.99)
        note = f"p99 over all turns: kit {own:.1f} ms, {PEER} {slow:.1f} ms."
        what = f"/v1/text-risk, {many}: p99 of {PEER} by the kit's"
        report.add(Row(what, Figure.exact(slow / own), "times", Goal(1.0), note))


def _middle(turns: list[Loaded]) -> float:
    return Figure.of([each.rate for each in turns]).value
