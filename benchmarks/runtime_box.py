"""The server as a box in a branch sees it: a whole application, and memory over months."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.harness import ROOT, Figure, Goal, Progress, Report, Row
from benchmarks.runtime_models import CHARACTERS, signed_demo
from benchmarks.runtime_processes import FORM, Step, client, form, kit_server
from benchmarks.runtime_serving import quantile_ms
from runtime.images import load_image

APPLICATIONS, AT_ONCE = 20, 4
REQUESTS, SETTLED, STEP = 10_000, 500, 250
_TRANSACTIONS = 200
_PICTURES, _TEXTS = 400, 400
_OF_TEN = 3  # requests of ten that are pictures; the others are texts
_LONGEST_TEXT = 400  # characters
_SIDES = 24, 640  # pixels
_EXAMPLES = ROOT / "examples"


def measure_application(report: Report, scratch: Path, progress: Progress) -> None:
    """Rows on a whole application over HTTP: alone, and several at once."""
    bundle, application = signed_demo(scratch / "demo"), application_form(scratch)
    progress("a whole application", 0.0)
    with client() as load, kit_server(bundle) as kit:
        load.load(kit.url, [application] * AT_ONCE)
        alone = load.load(kit.url, [application] * APPLICATIONS)
        progress("a whole application", 0.4)
        together = load.load(kit.url, [application] * APPLICATIONS * 2, clients=AT_ONCE)
    receipt = json.loads(alone.answer)
    report.details["application ms"] = {"alone": list(alone.ms), f"{AT_ONCE} at once": list(together.ms)}
    report.details["application stages ms"] = receipt["timings_ms"]
    p50 = quantile_ms([alone], 0.5)
    stages = ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in receipt["timings_ms"].items())
    note = f"{APPLICATIONS} requests; one took {stages}. {alone.failed + together.failed} failed."
    what = f"One application, three documents, text, {_TRANSACTIONS} transactions: p50 over HTTP"
    report.add(Row(what, Figure.of([ms / 1000 for ms in alone.ms]), "s", Goal(1.0, at_least=False), note))
    p99 = quantile_ms([together], 0.99)
    what = f"{AT_ONCE} applications at once: p99 by the ideal of {AT_ONCE} in a row"
    note = f"p99 {p99:.0f} ms of {len(together.ms)} requests; ideal {AT_ONCE} x {p50:.0f} ms."
    report.add(Row(what, Figure.exact(p99 / (AT_ONCE * p50)), "times", Goal(2.0, at_least=False), note))


def application_form(scratch: Path) -> Step:
    """The sample application with 200 transactions, as a request for a score."""
    folder = _EXAMPLES / "application"
    document: dict[str, Any] = json.loads((folder / "application.json").read_text(encoding="utf-8"))
    known = document["transactions"]
    missing = _TRANSACTIONS - len(known)
    # the first ones once more, a year earlier
    earlier = [each | {"time": f"{int(each['time'][:4]) - 1}{each['time'][4:]}"} for each in known[:missing]]
    document["transactions"] = [*earlier, *known]
    parts = [("application", "application.json", json.dumps(document, ensure_ascii=False).encode())]
    parts += [(each["file"], each["file"], (folder / each["file"]).read_bytes()) for each in document["documents"]]
    file = scratch / "application.form"
    file.write_bytes(form(parts))
    return "/v1/score", FORM, file


def measure_endurance(report: Report, scratch: Path, progress: Progress) -> None:
    """What the server holds after 10,000 requests."""
    bundle = signed_demo(scratch / "demo")
    plan = random_plan(scratch / "random", REQUESTS)
    resident: dict[int, float] = {}
    failed, begin = 0, time.monotonic()
    with client() as load, kit_server(bundle) as kit:
        for start in range(0, REQUESTS, STEP):
            failed += load.load(kit.url, plan[start : start + STEP], clients=2).failed
            resident[start + STEP] = round(kit.memory_mb(), 1)
            progress("10,000 requests", (start + STEP) / REQUESTS)
    report.details["RSS MB after requests"] = resident
    grown = 100 * (resident[REQUESTS] / resident[SETTLED] - 1)
    note = (
        f"{resident[SETTLED]:.0f} MB after {SETTLED}, {resident[REQUESTS]:.0f} MB after {REQUESTS:,}, "
        f"{max(resident.values()):.0f} MB at most, summed over all processes; {failed} failed. {_OF_TEN} of ten are "
        f"pictures of {_SIDES[0]} to {_SIDES[1]} pixels a side, cut at random out of the kit's own so that all ends in "
        f"minutes, the others texts of 1 to {_LONGEST_TEXT} characters; two clients, "
        f"{(time.monotonic() - begin) / 60:.1f} minutes."
    )
    what = f"RSS after {REQUESTS:,} requests of random sizes and lengths, against after the first {SETTLED}"
    report.add(Row(what, Figure.exact(grown), "% more", Goal(2.0, at_least=False), note))


def random_plan(folder: Path, requests: int, *, seed: int = 0) -> list[Step]:
    """Pictures and texts of random sizes in random order, the same for the same seed."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    pages = [load_image(file.read_bytes()) for file in sorted((_EXAMPLES / "ocr" / "evaluation").glob("*.jpg"))]
    pictures = [_picture(folder / f"{number}.jpg", pages, random) for number in range(_PICTURES)]
    texts = [_text(folder / f"{number}.json", random) for number in range(_TEXTS)]
    return [
        pictures[random.integers(_PICTURES)] if random.integers(10) < _OF_TEN else texts[random.integers(_TEXTS)]
        for _ in range(requests)
    ]


def _picture(file: Path, pages: Sequence[np.ndarray[Any, Any]], random: np.random.Generator) -> Step:
    page = pages[random.integers(len(pages))]
    height, width = (min(int(random.integers(*_SIDES)), side) for side in page.shape[:2])
    top, left = random.integers(page.shape[0] - height + 1), random.integers(page.shape[1] - width + 1)
    cv2.imwrite(str(file), page[top : top + height, left : left + width])
    return "/v1/ocr", "image/jpeg", file


def _text(file: Path, random: np.random.Generator) -> Step:
    characters = random.choice(list(CHARACTERS), int(random.integers(1, _LONGEST_TEXT)))
    file.write_text(json.dumps({"texts": ["".join(characters)]}, ensure_ascii=False), encoding="utf-8")
    return "/v1/text-risk", "application/json", file
