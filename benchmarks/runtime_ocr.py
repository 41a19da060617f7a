"""The whole OCR pipeline against RapidOCR on OpenVINO with the same models: speed, text, memory.

Each engine lives in a process of its own for the whole run. All read every picture once, untimed; from then on they
take turns, eight pictures at a time. RapidOCR is as it comes but for the number of threads. OpenVINO computes FP32
models in BF16 on a CPU that can, unless it is told otherwise, which the kit does and RapidOCR does not; so there is a
second RapidOCR that is told.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import Figure, Goal, Progress, Report, Row, Times, ratio
from benchmarks.peers import Environment, peers_python
from benchmarks.runtime_matching import comparable, error_tally
from benchmarks.runtime_models import ocr_artifact
from benchmarks.runtime_pictures import Picture, checked_texts, pictures, upstream_lines
from benchmarks.runtime_processes import Engine, Lines, engine
from compress.gate import drop_interval
from compress.tally import Tally
from devices.errors import DownloadError

ROUNDS = 4
_AT_ONCE = 8  # pictures a turn
_PAUSE_S = 0.25


@dataclass(frozen=True)
class Contest:
    """A model set, and the peer that reads with the same one."""

    models: str
    shown: str
    peer: str
    peer_shown: str
    environment: Environment


CONTESTS = (
    Contest("ppocr-v6", "PP-OCRv6 small", "rapidocr", "RapidOCR 3.10.0", "bench-rapidocr"),
    Contest("ppocr-v4", "PP-OCRv4 mobile", "rapidocr-openvino", "rapidocr-openvino 1.4.4", "bench-rapidocr1"),
)


def measure_ocr(report: Report, scratch: Path, progress: Progress) -> None:
    """Both contests."""
    found = pictures()
    for contest in CONTESTS:
        what = f"{contest.shown}: {contest.peer_shown} against the kit, pictures per second"
        if not found:
            report.add(Row(what, None, note="The public pictures are not beside this checkout (../shared/data)."))
            continue
        progress(f"{contest.shown} as shipped", 0.0)
        artifact = ocr_artifact(contest.models)
        try:
            python = peers_python(contest.environment)
        except DownloadError as error:
            report.add(Row(what, None, note=error.problem))
            continue
        _measure(report, contest, found, artifact, python, progress)


def _measure(
    report: Report, contest: Contest, found: Sequence[Picture], artifact: Path, python: Path, progress: Progress
) -> None:
    files = [picture.file for picture in found]
    with ExitStack() as stack:
        engines = {
            "kit": stack.enter_context(engine(Path(sys.executable), "edgekit", files[0], models=str(artifact))),
            "peer": stack.enter_context(engine(python, contest.peer, files[0])),
            "peer in FP32": stack.enter_context(engine(python, contest.peer, files[0], precision="f32")),
        }
        lines: dict[str, Lines] = {}
        first = {}
        for number, (name, each) in enumerate(engines.items()):
            progress(f"{contest.shown}: reading", number / len(engines))
            times, lines[name] = each.read(files)
            first[name] = sum(times) / 1000
        times_ms = _take_turns(engines, files, lambda share: progress(f"{contest.shown}: time", share))
        progress(f"{contest.shown}: profile", 0.0)
        shares = engines["kit"].profile(files)
    seconds = {name: each.sum(axis=1) / 1000 for name, each in times_ms.items()}
    report.details[f"{contest.shown} picture ms"] = {
        name: dict(zip([file.name for file in files], np.round(np.median(each, axis=0), 1).tolist(), strict=True))
        for name, each in times_ms.items()
    }
    report.details[f"{contest.shown} first reading s"] = first
    report.details[f"{contest.shown} where the time goes"] = shares
    _speed_rows(report, contest, engines, seconds, len(files), shares)
    _text_rows(report, contest, found, lines)
    peaks = ", ".join(f"{name} {each.peak_mb:.0f} MB" for name, each in engines.items())
    share = Figure.exact(engines["kit"].peak_mb / engines["peer"].peak_mb)
    what = f"{contest.shown}: the kit's peak RSS by that of {contest.peer_shown}"
    note = f"{peaks}; of the whole process, from its start on."
    report.add(Row(what, share, "times", Goal(0.5, at_least=False), note))


def _take_turns(
    engines: Mapping[str, Engine], files: Sequence[Path], progress: Callable[[float], None]
) -> dict[str, Times]:
    """Milliseconds by engine, (rounds, pictures)."""
    parts = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]
    taken: dict[str, list[list[float]]] = {name: [] for name in engines}
    for number in range(ROUNDS):
        rows: dict[str, list[float]] = {name: [] for name in engines}
        for index, part in enumerate(parts):
            for name in list(engines)[:: -1 if (number + index) % 2 else 1]:
                time.sleep(_PAUSE_S)  # threads of who was before spin on for a while
                rows[name] += engines[name].read(part)[0]
            progress((number + (index + 1) / len(parts)) / ROUNDS)
        for name, row in rows.items():
            taken[name].append(row)
    return {name: np.array(rows) for name, rows in taken.items()}


def _speed_rows(
    report: Report,
    contest: Contest,
    engines: Mapping[str, Engine],
    seconds: Mapping[str, Times],
    count: int,
    shares: Mapping[str, float],
) -> None:
    rates = ", ".join(f"{name} {count / np.median(each):.1f}" for name, each in seconds.items())
    gain = ratio(seconds["peer"], seconds["kit"])
    computed = ", ".join(engines["peer"].precisions)
    note = f"{count} pictures, from a file's bytes to its lines; a second: {rates}. The peer computes in {computed}"
    own = ", ".join(engines["kit"].precisions)
    note += f", the kit's models that are not INT8 in {own}."
    goal = Goal(2.0)
    if not goal.met_by(gain):
        most = ", ".join(f"{place} {share:.0%}" for place, share in list(shares.items())[:6])
        note += f" The kit's threads are in {most} of the time that they do something or wait."
    report.add(
        Row(
            f"{contest.shown}: {contest.peer_shown} against the kit, time for all pictures",
            gain,
            "times faster",
            goal,
            note,
        )
    )
    report.add(
        Row(
            f"{contest.shown}: {contest.peer_shown} told to compute in FP32 against the kit",
            ratio(seconds["peer in FP32"], seconds["kit"]),
            "times faster",
        )
    )


def _text_rows(report: Report, contest: Contest, found: Sequence[Picture], lines: Mapping[str, Lines]) -> None:
    labelled = [index for index, picture in enumerate(found) if picture.lines]
    checked = checked_texts()
    for kind, counted in (("checked", checked.__contains__), ("labelled", lambda text: True)):
        tallies = {
            name: error_tally([(found[index].lines, each[index]) for index in labelled], counted)
            for name, each in lines.items()
        }
        values = ", ".join(f"{name} {100 * each.value:.2f} %" for name, each in tallies.items())
        count = sum(counted(line.text) for index in labelled for line in found[index].lines)
        note = f"CER over {count} lines of {len(labelled)} pictures: {values}; in brackets the 95 % interval."
        if kind == "checked":
            note += f" {_without_truth(found, lines)}"
        else:
            note += " About 15 % of these labels are wrong, for all alike."
        what = f"{contest.shown}: line-matched CER, {kind} lines, the kit's above that of {contest.peer_shown}"
        figure = _above(tallies["peer"], tallies["kit"])
        report.add(Row(what, figure, "points", Goal(0.0, at_least=False, within_noise=True), note))


def _above(peer: Tally, kit: Tally) -> Figure:
    worse = 100 * (kit.value - peer.value)
    interval = drop_interval(peer, kit, higher_is_better=False)
    return Figure(worse, 100 * interval.low, 100 * interval.high) if interval else Figure.exact(worse)


def _without_truth(found: Sequence[Picture], lines: Mapping[str, Lines]) -> str:
    """What can be said of the pictures that nobody labelled."""
    others = [index for index, picture in enumerate(found) if not picture.lines]
    apart = error_tally([(lines["peer in FP32"][index], lines["kit"][index]) for index in others])
    wanted = {
        index: comparable(text)
        for index in others
        for name, text in upstream_lines().items()
        if name == found[index].file.name
    }
    hits = {
        name: sum(any(text in comparable(line.text) for line in each[index]) for index, text in wanted.items())
        for name, each in lines.items()
    }
    said = ", ".join(f"{name} {count}" for name, count in hits.items())
    return (
        f"On the {len(others)} pictures without labels the kit's text differs from that of the peer in FP32 by "
        f"{100 * apart.value:.2f} %; of {len(wanted)} lines that the peer's own tests expect there were read: {said}."
    )
