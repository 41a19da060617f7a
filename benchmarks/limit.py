"""``./build.sh bench limit``: how near do the models come to what this processor and its memory can do at most?

Peaks and models take turns, so that a slow moment counts for both. A model's least time is the longer of two: its
operations at the measured rates, INT8 ones at INT8's and the others at their precision's, and its bytes at the measured
bandwidth. What is missing to 100 % are small products, normalisations and activations, which no roof knows of.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from benchmarks.compress_speed import THREADS, TOKENS, own_variants
from benchmarks.harness import RESULTS, Figure, Progress, Report, Row, Times, take_turns
from benchmarks.networks import SHAPES, feeds
from benchmarks.operations import Work, work
from benchmarks.peak import COPIED_BYTES, LAYERS, OPERATIONS, SIDE, copying, products
from benchmarks.runtime_models import demo_bundle
from runtime.artifact import entry_files, read_artifact
from runtime.predictor import Predictor, RunOptions, load_predictor, model_files

COPY = "copy"
_OPTIONS = RunOptions(threads=THREADS)
_SHOWN = {"fp32": "FP32", "bf16": "BF16", "int8": "INT8", "int8+bf16": "INT8 and BF16"}
Feed = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """A model, what it is fed, and what that takes at least."""

    shown: str
    predictor: Predictor
    feed: Feed
    work: Work

    @property
    def other(self) -> str:
        """The precision of what is not INT8."""
        return "bf16" if self.predictor.precision.endswith("bf16") else "fp32"


def measure(report: Report, progress: Progress) -> None:
    """Rows on the peaks, then on each model."""
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        cases = [*_shipped(), *_ernie(Path(folder), progress)]
        peaks = products(THREADS)
        calls = peaks | {COPY: copying(THREADS)}
        calls |= {case.shown: partial(case.predictor.run, case.feed) for case in cases}
        times = take_turns(calls, rounds=9, progress=progress)
    rates = {name: OPERATIONS / times[name] * 1000 for name in peaks}  # a second, one a round
    bandwidth = THREADS * COPIED_BYTES / times[COPY] * 1000
    for name, rate in rates.items():
        what = f"{LAYERS} matrix products of {SIDE} in a row, {_SHOWN[name]}, {THREADS} threads"
        report.add(Row(what, Figure.of(rate / 1e9), "GOP/s"))
    report.add(Row(f"Copying in memory, {THREADS} threads, read and written", Figure.of(bandwidth / 1e9), "GB/s"))
    report.details["peaks, GOP/s"] = {name: float(np.median(rate)) / 1e9 for name, rate in rates.items()}
    report.details["bandwidth, GB/s"] = float(np.median(bandwidth)) / 1e9
    report.details["models"] = {}
    for case in cases:
        _model_row(report, case, times[case.shown], rates, bandwidth)


def _model_row(report: Report, case: Case, times: Times, rates: Mapping[str, Times], bandwidth: Times) -> None:
    computing, moving = case.work.least_ms(rates["int8"], rates[case.other], bandwidth)
    least = np.maximum(computing, moving)
    middle, total = float(np.median(times)), case.work.operations
    report.details["models"][case.shown] = {
        "GOP": total / 1e9,
        "MB": case.work.bytes / 1e6,
        "ms": middle,
        "GOP/s": total / middle / 1e6,
    }
    note = (
        f"{middle:.2f} ms for {total / 1e9:.3g} GOP, {case.work.int8 / total:.0%} of them in INT8, and "
        f"{case.work.bytes / 1e6:.1f} MB; {np.median(least):.2f} ms at least, by "
        f"{'computing' if np.median(computing) >= np.median(moving) else 'memory'}."
    )
    what = f"{case.shown}: of what this machine can do at most"
    report.add(Row(what, Figure.of(100 * least / times), "%", note=note))


def _shipped() -> list[Case]:
    """The demonstration's models as shipped, with inputs of a usual size."""
    random = np.random.default_rng(0)
    ids = {"input_ids": random.integers(5, 1000, (1, 64)), "token_type_ids": np.zeros((1, 64), np.int64)}
    history = {
        "features": random.standard_normal((1, 200, 30)).astype(np.float32),
        "mask": np.ones((1, 200), np.float32),
    }
    usual: dict[str, tuple[str, Feed]] = {
        "ocr-det": ("PP-OCRv4 mobile det, 640x640", {"x": _picture(random, (1, 3, 640, 640))}),
        "ocr-rec": ("PP-OCRv4 mobile rec, 6 lines of 320", {"x": _picture(random, (6, 3, 48, 320))}),
        "ocr-cls": ("PP-OCR cls, 6 lines", {"x": _picture(random, (6, 3, 48, 192))}),
        "text-risk": ("The demonstration's student, 1x64", ids),
        "behaviour": ("LSTM with attention, 200 transactions", history),
    }
    cases = []
    for folder in ("ocr", "text-risk", "behaviour"):
        artifact = demo_bundle() / folder
        for entry in read_artifact(artifact).models:
            files = entry_files(artifact, entry)
            shown, feed = usual[entry.name]
            predictor = load_predictor(files, "openvino", _OPTIONS)
            name = f"{shown}, {_SHOWN[predictor.precision]} as shipped"
            cases.append(Case(name, predictor, feed, work(files.graph, feed)))
    return cases


def _ernie(scratch: Path, progress: Progress) -> list[Case]:
    """ERNIE with random weights in each precision."""
    feed = feeds(1, TOKENS, seed=3)[0]
    cases = []
    for shape in SHAPES:
        own_variants(shape, scratch / shape, progress)
        for precision, folder in (("fp32", "fp32"), ("bf16", "fp32"), ("int8", "int8")):
            files = model_files(scratch / shape / folder, shape, precision=precision)
            predictor = load_predictor(files, "openvino", _OPTIONS)
            if predictor.precision == precision:
                name = f"ERNIE {shape}, 1x{TOKENS}, {_SHOWN[precision]}"
                cases.append(Case(name, predictor, feed, work(files.graph, feed)))
    return cases


def draw(report: Report, path: Path = RESULTS / "limit.png") -> None:
    """The roofline (Williams, Waterman, Patterson 2009): what each model does under what the machine can do."""
    models = report.details.get("models")
    if not models:
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    peaks, bandwidth = report.details["peaks, GOP/s"], report.details["bandwidth, GB/s"]
    figure, axis = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    by_byte = {name: 1000 * each["GOP"] / each["MB"] for name, each in models.items()}
    span = np.geomspace(min([*by_byte.values(), 1]) / 2, max(by_byte.values()) * 2, 200)
    for (name, peak), colour in zip(peaks.items(), ("#54a24b", "#4c78a8", "#e45756"), strict=False):
        axis.plot(span, np.minimum(peak, span * bandwidth), color=colour, label=f"{_SHOWN[name]}, {peak:.0f} GOP/s")
    for number, (name, each) in enumerate(models.items(), start=1):
        axis.plot(by_byte[name], each["GOP/s"], "o", color="#333333", markersize=4)
        axis.annotate(
            str(number), (by_byte[name], each["GOP/s"]), xytext=(4, 4), textcoords="offset points", fontsize=8
        )
    names = "\n".join(f"{number}  {name}" for number, name in enumerate(models, start=1))
    axis.text(1.02, 0.98, names, transform=axis.transAxes, va="top", fontsize=8)
    axis.set(xscale="log", yscale="log", xlabel="operations by byte that has to move", ylabel="GOP/s")
    axis.set_title(f"Rates of matrix products, and {bandwidth:.0f} GB/s", fontsize=10)
    axis.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _picture(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return random.uniform(-1, 1, shape).astype(np.float32)
