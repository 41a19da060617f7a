"""What HTTP costs: the kit's server over calls in the same process, and against other servers of the same models.

All servers, the engines in their processes and the client live side by side for a part and take turns; one of them
works at a time. Everyone may use two threads for a model; client and server share the machine, as in a branch.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np

from benchmarks.compress_speed import THREADS
from benchmarks.harness import ROOT, Figure, Goal, Progress, Report, Row
from benchmarks.peers import peers_python
from benchmarks.runtime_models import bundle, demo_bundle, ocr_artifact, signed_demo, slow_text
from benchmarks.runtime_pictures import pictures
from benchmarks.runtime_processes import (
    FORM,
    Client,
    Engine,
    Loaded,
    Server,
    Step,
    client,
    engine,
    form,
    kit_server,
    peer_server,
)
from devices.errors import DownloadError, EdgeKitError

TEXT_ROUNDS, PICTURE_ROUNDS = 7, 4
CLIENTS = (1, 8)
_TEXTS, _LIBRARY_TEXTS = 300, 100  # requests a turn
_PICTURES = 8
_PICTURE_REQUESTS = 16
_PAUSE_S = 0.25
_SAME = 1e-3  # probabilities of one model behind two servers
_OWN = "in process"
Turns = Mapping[str, Callable[[], Loaded]]
Taken = dict[str, list[Loaded]]


def measure_serving(report: Report, scratch: Path, progress: Progress) -> None:
    """Text against a call and against LitServe, pictures against ``rapidocr_api``, and the shipped text model."""
    progress("models to serve", 0.0)
    demo = demo_bundle()
    artifact, text = slow_text(scratch / "slow")
    served = bundle(scratch / "bundle", [ocr_artifact("ppocr-v6"), artifact, demo / "behaviour"])
    with client() as load, kit_server(served) as kit:
        _slow_text_rows(report, progress, load, kit, TextCase(scratch, artifact, text, "slow"))
        _picture_rows(report, scratch, progress, load, kit)
        report.details["stages ms, mean over text and pictures"] = kit.stages_ms()
    application = json.loads((ROOT / "examples" / "application" / "application.json").read_text(encoding="utf-8"))
    shipped = TextCase(scratch, demo / "text-risk", application["loan"]["purpose"], "shipped")
    with client() as load, kit_server(signed_demo(scratch / "shipped")) as kit, shipped.engine() as own:
        turns = {_OWN: shipped.calls(own), "kit requests": shipped.library(load, kit, "/v1/text-risk")}
        taken = take_turns(turns, TEXT_ROUNDS, lambda share: progress("the shipped text model", share))
        report.details["stages ms, mean, the shipped text model"] = kit.stages_ms()
    _overhead_row(report, "the shipped student", taken)


class TextCase:
    """A text artifact with one text for it: as a file for an engine, as a body for servers."""

    def __init__(self, scratch: Path, artifact: Path, text: str, name: str) -> None:
        self.artifact = artifact
        self._plain, self._body = scratch / f"{name}.txt", scratch / f"{name}.json"
        self._plain.write_text(text, encoding="utf-8")
        self._body.write_text(json.dumps({"texts": [text]}, ensure_ascii=False), encoding="utf-8")

    def engine(self) -> AbstractContextManager[Engine]:
        """The classifier in a process of its own, without a server."""
        return engine(Path(sys.executable), "edgekit-text", self._plain, models=str(self.artifact))

    def calls(self, own: Engine) -> Callable[[], Loaded]:
        """A turn of calls in ``own``'s process."""
        return lambda: in_process(own, [self._plain] * _TEXTS)

    def library(self, load: Client, server: Server, path: str) -> Callable[[], Loaded]:
        """A turn of one client with ``requests``."""
        return lambda: load.load(server.url, self._plan(path, _LIBRARY_TEXTS), library=True)

    def raw(self, load: Client, server: Server, path: str, clients: int) -> Callable[[], Loaded]:
        """A turn of ``clients`` connections."""
        return lambda: server.charged(lambda: load.load(server.url, self._plan(path, _TEXTS), clients=clients))

    def _plan(self, path: str, count: int) -> list[Step]:
        return [(path, "application/json", self._body)] * count


def _slow_text_rows(report: Report, progress: Progress, load: Client, kit: Server, case: TextCase) -> None:
    with ExitStack() as stack:
        own = stack.enter_context(case.engine())
        turns = {_OWN: case.calls(own), "kit requests": case.library(load, kit, "/v1/text-risk")}
        turns |= {f"kit {clients}": case.raw(load, kit, "/v1/text-risk", clients) for clients in CLIENTS}
        missing = ""
        try:
            arguments = (case.artifact, "{port}", str(THREADS))
            python = peers_python("bench-litserve")
            peer = stack.enter_context(peer_server(python, "litserve_text.py", arguments, "/health"))
        except DownloadError as error:
            missing = error.problem
        else:
            turns["LitServe requests"] = case.library(load, peer, "/predict")
            turns |= {f"LitServe {clients}": case.raw(load, peer, "/predict", clients) for clients in CLIENTS}
            check_same(turns["kit 1"]().answer, turns["LitServe 1"]().answer, "LitServe")
        taken = take_turns(turns, TEXT_ROUNDS, lambda share: progress("text over HTTP", share))
    _overhead_row(report, "a model of about 7 ms", taken)
    _server_rows(report, "/v1/text-risk", "LitServe", taken, missing)


def _picture_rows(report: Report, scratch: Path, progress: Progress, load: Client, kit: Server) -> None:
    found = [picture.file for picture in pictures()[:_PICTURES]]
    files = found or sorted((ROOT / "examples" / "ocr" / "evaluation").glob("*.jpg"))[:_PICTURES]
    plan: list[Step] = [("/v1/ocr", "application/octet-stream", file) for file in files]
    plan = (plan * _PICTURE_REQUESTS)[:_PICTURE_REQUESTS]
    with ExitStack() as stack:
        artifact = str(ocr_artifact("ppocr-v6"))
        own = stack.enter_context(engine(Path(sys.executable), "edgekit", files[0], models=artifact))
        turns: dict[str, Callable[[], Loaded]] = {_OWN: lambda: in_process(own, [file for _, _, file in plan])}
        turns |= {f"kit {clients}": _pictures_turn(load, kit, plan, clients) for clients in CLIENTS}
        missing = ""
        try:
            python = peers_python("bench-rapidocr")
        except DownloadError as error:
            missing = error.problem
        else:
            forms = {file: scratch / f"form-{number}" for number, file in enumerate(files)}
            for file, body in forms.items():
                body.write_bytes(form([("image_file", file.name, file.read_bytes())]))
            theirs: list[Step] = [("/ocr", FORM, forms[file]) for _, _, file in plan]
            for clients in CLIENTS:  # a server each: what it does under load shall not tell on a single client
                start = peer_server(python, "rapidocr_server.py", ("{port}", str(THREADS)), "/")
                peer = stack.enter_context(start)
                turns[f"rapidocr_api {clients}"] = _pictures_turn(load, peer, theirs, clients)
        taken = take_turns(turns, PICTURE_ROUNDS, lambda share: progress("pictures over HTTP", share))
    _server_rows(report, "/v1/ocr", "rapidocr_api", taken, missing)


def _pictures_turn(load: Client, server: Server, plan: Sequence[Step], clients: int) -> Callable[[], Loaded]:
    return lambda: server.charged(lambda: load.load(server.url, plan, clients=clients))


def in_process(own: Engine, files: Sequence[Path]) -> Loaded:
    """A turn without a server, one call after another."""
    times, _ = own.read(files)
    return Loaded(times, sum(times) / 1000, 0, "")


def take_turns(turns: Turns, rounds: int, progress: Callable[[float], None]) -> Taken:
    """What each saw, a round at a time; a turn of everyone before counts nothing, every second round goes backwards."""
    taken: Taken = {name: [] for name in turns}
    for number in range(rounds + 1):
        for name in list(turns)[:: -1 if number % 2 else 1]:
            time.sleep(_PAUSE_S)
            seen = turns[name]()
            if number:
                taken[name].append(seen)
        progress((number + 1) / (rounds + 1))
    return taken


def check_same(kit: str, peer: str, shown: str) -> None:
    """Time is taken only of servers that give the same answer.

    Raises:
        EdgeKitError: They do not.
    """
    ours, theirs = (json.loads(answer)["results"][0]["labels"] for answer in (kit, peer))
    apart = max(abs(ours[label] - theirs[label]) for label in ours)
    if apart > _SAME:
        raise EdgeKitError(f"The kit and {shown} give probabilities that are {apart:.4f} apart.")


def _overhead_row(report: Report, model: str, taken: Taken) -> None:
    added = [
        float(np.median(seen.ms) - np.median(call.ms))
        for seen, call in zip(taken["kit requests"], taken[_OWN], strict=True)
    ]
    note = f"p50: {_said(taken, 0.5, (_OWN, 'kit requests', 'LitServe requests'))}."
    what = f"/v1/text-risk over the call in process, p50, one client with requests keep-alive, {model}"
    report.add(Row(what, Figure.of(added), "ms more", Goal(1.5, at_least=False), note))


def _server_rows(report: Report, path: str, peer: str, taken: Taken, missing: str) -> None:
    report.details[f"{path} rates and p99 ms"] = {
        name: {"rate": [round(each.rate, 2) for each in turns], "p99": round(quantile_ms(turns, 0.99), 2)}
        for name, turns in taken.items()
        if any(each.ms for each in turns)
    }
    for clients in CLIENTS:
        kit, theirs = taken[f"kit {clients}"], taken.get(f"{peer} {clients}")
        many = "1 client" if clients == 1 else f"{clients} clients"
        rates = ", ".join(f"{name} {_rate(turns):.1f}" for name, turns in taken.items() if "requests" not in name)
        share = Figure.of([100 * each.rate / call.rate for each, call in zip(kit, taken[_OWN], strict=True)])
        spent = ", ".join(f"{name} {_cpu_ms(turns):.1f} ms" for name, turns in taken.items() if _cpu_ms(turns))
        note = f"Requests a second: {rates}. {sum(each.failed for each in kit)} of the kit's answers were errors."
        note += f" Processor time of the server a request: {spent}." if spent else ""
        report.add(Row(f"{path}, {many}: of the rate in process", share, "%", Goal(95), note))
        names = (f"{path}, {many}: requests per second by {peer}'s", f"{path}, {many}: p99 of {peer} by the kit's")
        note = ""
        if theirs and (failed := sum(each.failed for each in theirs)):
            asked = failed + sum(len(each.ms) for each in theirs)
            note = f"{failed} of {asked} answers of {peer} were errors; what it does for 1 client, {clients} in a row, "
            note += "is compared instead. "
            alone = [each for each in taken[f"{peer} 1"] if each.ms]
            theirs, slowest = alone, clients * 1000 / _rate(alone) if alone else 0.0
        else:
            slowest = quantile_ms(theirs, 0.99) if theirs else 0.0
        if not theirs:
            for what in names:
                report.add(Row(what, None, note=missing or note))
            continue
        gain = Figure.of([each.rate / other.rate for each, other in zip(kit, theirs, strict=False)])
        report.add(Row(names[0], gain, "times", Goal(1.0), note.strip()))
        own = quantile_ms(kit, 0.99)
        note += f"p99 over all turns: kit {own:.1f} ms, {peer} {slowest:.1f} ms."
        report.add(Row(names[1], Figure.exact(slowest / own), "times", Goal(1.0), note))


def quantile_ms(turns: Sequence[Loaded], share: float) -> float:
    """Over the requests of all turns."""
    return float(np.quantile(np.concatenate([each.ms for each in turns]), share))


def _cpu_ms(turns: Sequence[Loaded]) -> float:
    return float(np.median([each.cpu_ms for each in turns]))


def _rate(turns: Sequence[Loaded]) -> float:
    return float(np.median([each.rate for each in turns]))


def _said(taken: Taken, share: float, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {quantile_ms(taken[name], share):.2f} ms" for name in names if name in taken)
