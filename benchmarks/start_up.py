"""``./build.sh bench start-up``: how long until a box answers, after it was installed and after every power cut?

The kit's server has every model of the demonstration's bundle loaded, proven and warm when it says that it is ready.
The peers hold one model. Starts take turns; a start is of the process, with the files in the page cache for all alike.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np

from benchmarks.compress_speed import THREADS
from benchmarks.harness import ROOT, Figure, Goal, Progress, Report, Row
from benchmarks.offline_served import own_state
from benchmarks.peers import peers_python
from benchmarks.runtime_box import application_form
from benchmarks.runtime_models import CHARACTERS, demo_bundle, signed_demo, slow_text
from benchmarks.runtime_paddle import PEER, paddle_server
from benchmarks.runtime_processes import FORM, Client, Server, Step, client, form, kit_server, peer_server
from devices.errors import DownloadError, EdgeKitError
from runtime.images import load_image

STARTS = 3  # for each kind of first request
USUAL = 6  # requests after the first one
COLD = 3
_REST_S = 2.0
_EXAMPLES = ROOT / "examples"


def measure(report: Report, progress: Progress) -> None:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        scratch = Path(folder)
        demo_bundle()
        cold_row(report, scratch, progress)
        bundle = signed_demo(scratch / "demo")
        first_rows(report, scratch, progress, bundle)
        peer_rows(report, scratch, progress, bundle)


def cold_row(report: Report, scratch: Path, progress: Progress) -> None:
    """The first start after an installation, when nothing is compiled yet."""
    seconds = []
    for number in range(COLD):
        progress("the first start", number / COLD)
        with own_state(scratch / f"state-{number}"), kit_server(signed_demo(scratch / f"cold-{number}")) as kit:
            seconds.append(kit.ready_s)
    report.details["ready after installation s"] = seconds
    what = "Start of the process to ready, the first one after an installation"
    note = f"{COLD} starts, each in a state directory of its own: every model is compiled for this processor and kept."
    report.add(Row(what, Figure.of(seconds), "s", note=note))


def first_rows(report: Report, scratch: Path, progress: Progress, bundle: Path) -> None:
    """Starts with what earlier ones kept, the first request after each, and memory at rest."""
    text = scratch / "first.json"
    text.write_text(json.dumps({"texts": [CHARACTERS]}, ensure_ascii=False), encoding="utf-8")
    card, cropped = _EXAMPLES / "application" / "id.jpg", scratch / "cropped.jpg"
    cv2.imwrite(str(cropped), load_image(card.read_bytes())[100:])
    steps: dict[str, Step] = {
        "/v1/text-risk": ("/v1/text-risk", "application/json", text),
        "/v1/ocr, as large as one of the bundle's sample": ("/v1/ocr", "image/jpeg", card),
        "/v1/ocr, of a size never met": ("/v1/ocr", "image/jpeg", cropped),
        "/v1/score": application_form(scratch),
    }
    ready, resident, shared_once = [], [], []
    first: dict[str, list[float]] = {name: [] for name in steps}
    in_a_row: dict[str, list[float]] = {name: [] for name in steps}
    with client() as load:
        for number in range(STARTS):
            for index, (name, step) in enumerate(steps.items()):
                progress("start", (number + index / len(steps)) / STARTS)
                with kit_server(bundle) as kit:
                    ready.append(kit.ready_s)
                    time.sleep(_REST_S)
                    resident.append(kit.memory_mb())
                    shared_once.append(kit.memory_mb("pss"))
                    begin = _answered_ms(load, kit, [step])[0]
                    after_rest: list[float] = []
                    for _ in range(USUAL):
                        time.sleep(_REST_S)
                        after_rest += _answered_ms(load, kit, [step])
                    first[name].append(begin / float(np.median(after_rest)))
                    in_a_row[name].append(begin / float(np.median(_answered_ms(load, kit, [step] * (1 + USUAL))[1:])))
    report.details["ready s"], report.details["idle MB"] = ready, resident
    report.details["first request by those in a row"] = in_a_row
    note = f"{len(ready)} starts; until /v2/health/ready says 200, every model loaded, proven and warm."
    what = "Start of the process to ready, warm cache"
    report.add(Row(what, Figure.of(ready), "s", Goal(2.0, at_least=False), note))
    for name, ratios in first.items():
        note = (
            f"{STARTS} starts; the usual is the median of the {USUAL} requests that follow, each after {_REST_S:.0f} s "
            f"of rest like the first one, for a processor that rested is slow at first; by {USUAL} in a row without a "
            f"rest it is {np.median(in_a_row[name]):.2f}."
        )
        what = f"First request after a start by the usual, {name}"
        report.add(Row(what, Figure.of(ratios), "times", Goal(1.2, at_least=False), note))
    note = f"Summed over all processes, {_REST_S:.0f} s after they were ready; shared memory counted once "
    note += f"{np.median(shared_once):.0f} MB."
    report.add(Row("RSS of the whole runtime, idle", Figure.of(resident), "MB", Goal(350, at_least=False), note))


def peer_rows(report: Report, scratch: Path, progress: Progress, bundle: Path) -> None:
    """From the start of a process to its first answer, against servers that hold one model."""
    artifact, _ = slow_text(scratch / "slow")
    body, picture = scratch / "purpose.json", _EXAMPLES / "application" / "id.jpg"
    body.write_text(json.dumps({"texts": [CHARACTERS]}, ensure_ascii=False), encoding="utf-8")
    upload = scratch / "picture.form"
    upload.write_bytes(form([("image_file", picture.name, picture.read_bytes())]))
    text: Step = ("/predict", "application/json", body)
    own = {
        "text": ("/v1/text-risk", "application/json", body),
        "picture": ("/v1/ocr", "image/jpeg", picture),
    }
    litserve = (artifact, "{port}", str(THREADS))
    peers: dict[str, tuple[str, Step, Callable[[], AbstractContextManager[Server]]]] = {
        "rapidocr_api": (
            "picture",
            ("/ocr", FORM, upload),
            lambda: peer_server(peers_python("bench-rapidocr"), "rapidocr_server.py", ("{port}", str(THREADS)), "/"),
        ),
        "LitServe": (
            "text",
            text,
            lambda: peer_server(peers_python("bench-litserve"), "litserve_text.py", litserve, "/health"),
        ),
        PEER: ("text", text, lambda: paddle_server(peers_python("bench-paddle"), artifact)),
    }
    with client() as load:
        for index, (name, (kind, step, start)) in enumerate(peers.items()):
            what = f"Start of the process to its first {kind} answered: {name}'s time by the kit's"
            ours, theirs = [], []
            try:
                for number in range(STARTS):
                    progress("peers", (index + number / STARTS) / len(peers))
                    ours.append(_first_answer_s(load, kit_server(bundle), own[kind]))
                    theirs.append(_first_answer_s(load, start(), step))
            except DownloadError as error:
                report.add(Row(what, None, note=error.problem))
                continue
            note = (
                f"{STARTS} starts in turns: kit {np.median(ours):.1f} s, {name} {np.median(theirs):.1f} s. By then the "
                "kit has read, proven and warmed all its models."
            )
            report.add(Row(what, Figure.of(np.array(theirs) / np.array(ours)), "times", note=note))


def _answered_ms(load: Client, server: Server, plan: Sequence[Step]) -> Sequence[float]:
    """What each request took; nothing is compared with requests that failed."""
    seen = load.load(server.url, plan)
    if seen.failed:
        raise EdgeKitError(
            f"{seen.failed} of {len(plan)} requests to {plan[0][0]} failed after the start.",
            state="The benchmark stopped.",
            remedy="Run it on a machine that is not busy with other work.",
        )
    return seen.ms


def _first_answer_s(load: Client, start: AbstractContextManager[Server], step: Step) -> float:
    with start as server:
        return server.ready_s + _answered_ms(load, server, [step])[0] / 1000
