"""PP-OCR in INT8 as shipped against FP32, and det against other quantizers' INT8, all on OpenVINO.

Accuracy comes from labelled pictures that calibration never saw: public ones beside the checkout, else the kit's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compress_speed import THREADS
from benchmarks.harness import ROOT, Figure, Goal, Progress, Report, Row, Times, ratio, take_turns
from benchmarks.peers import QUANTIZERS, quantize_by
from benchmarks.recipes import PROFILE, edgekit
from benchmarks.textsplit import SHARED
from compress.calibration import Feeds
from compress.evaluate import DetectionPage, detection_tally
from compress.export import to_onnx
from compress.gate import drop_interval
from compress.ocr_data import TruePage, read_pictures, read_truth, record_feeds
from compress.tally import Tally
from devices.errors import EdgeKitError
from examples.models import fetch
from runtime.images import load_image
from runtime.ocr.models import read_ocr_models
from runtime.ocr.pipeline import OcrPipeline, load_ocr
from runtime.ocr.preprocess import det_tensor
from runtime.predictor import Predictor, RunOptions, load_predictor, model_files

SIDE = 640
SETS = {"ppocr-v4": "PP-OCRv4 mobile", "ppocr-v6": "PP-OCRv6 small"}
_CALIBRATION = ROOT / "examples" / "ocr" / "calibration"
_CALIBRATION_PICTURES = 12
_OPTIONS = RunOptions(threads=THREADS)


@dataclass(frozen=True)
class Truth:
    """A ``Label.txt``, its pages, and what they are."""

    file: Path
    pages: Sequence[TruePage]
    origin: str


def truth(scratch: Path) -> Truth:
    """The public pictures as a ``Label.txt`` with links beside it; else the kit's own evaluation pictures."""
    public = SHARED / "ocr_mtwi_chineseocr"
    if not public.is_dir():
        own = ROOT / "examples" / "ocr" / "evaluation" / "Label.txt"
        pages = read_truth(own)
        return Truth(own, pages, f"{len(pages)} invented documents")
    folder = scratch / "truth"
    folder.mkdir()
    rows = []
    for line in (public / "gt_lines.jsonl").read_text(encoding="utf-8").splitlines():
        page = json.loads(line)
        link = folder / page["image"].replace("/", "_")
        link.symlink_to(public / page["image"])
        regions = [  # one region of the data has no place
            {"points": each["points"], "transcription": each["transcription"]}
            for each in page["lines"]
            if np.isfinite(each["points"]).all()
        ]
        rows.append(f"{link.name}\t{json.dumps(regions, ensure_ascii=False)}\n")
    label = folder / "Label.txt"
    label.write_text("".join(rows), encoding="utf-8")
    pages = read_truth(label)
    return Truth(label, pages, f"{len(pages)} public Chinese web pictures")


def measure_ocr(report: Report, scratch: Path, progress: Progress) -> None:
    """Det of both sets, det of PP-OCRv4 against other quantizers, and rec of PP-OCRv6."""
    measured = truth(scratch)
    for name, shown in SETS.items():
        progress(f"compress {shown}", 0.0)
        models = fetch(name)
        command: list[str | Path] = [
            "compress",
            "ocr",
            "--models",
            models,
            "--calibration",
            _CALIBRATION,
            "--truth",
            measured.file,
        ]
        rows = edgekit(*command, "--profile", PROFILE, "--out", scratch / name).document["rows"]
        plain = _plain(models, scratch / f"{name}-fp32")
        before, after = (load_ocr(read_ocr_models(path), "openvino", _OPTIONS) for path in (plain, scratch / name))
        progress(f"H-mean of {shown} det", 0.0)
        _accuracy_row(report, shown, before, after, measured)
        predictors: dict[str, Predictor] = {"FP32": before.det, "as shipped": after.det}
        if name == "ppocr-v4":
            missing = _add_peers(predictors, plain, before, scratch)
            times = _det_row(report, shown, predictors, rows, Goal(1.4), progress)
            _peer_rows(report, shown, times, missing, _apart(predictors))
        else:
            _det_row(report, shown, predictors, rows, None, progress)
            _rec_row(report, shown, rows)


def _accuracy_row(report: Report, shown: str, before: OcrPipeline, after: OcrPipeline, measured: Truth) -> None:
    first, second = (_detected(pipeline, measured.pages) for pipeline in (before, after))
    interval = drop_interval(first, second, higher_is_better=True)
    lost = first.value - second.value
    low, high = (interval.low, interval.high) if interval else (lost, lost)
    values = f"{100 * first.value:.2f} in FP32, {100 * second.value:.2f} as shipped"
    report.add(
        Row(
            f"{shown} det: H-mean lost by what is shipped",
            Figure(100 * lost, 100 * low, 100 * high),
            "points",
            Goal(0.5, at_least=False),
            f"{values}, on {measured.origin}; in brackets the 95 % interval.",
        )
    )


def _det_row(
    report: Report,
    shown: str,
    predictors: dict[str, Predictor],
    rows: Sequence[dict[str, Any]],
    goal: Goal | None,
    progress: Progress,
) -> dict[str, Times]:
    tensor = det_tensor(_picture(), (SIDE, SIDE))
    calls = {key: partial(each.run, {each.inputs[0].name: tensor}) for key, each in predictors.items()}
    times = take_turns(calls, progress=progress)
    report.details[f"{shown} det ms"] = {key: list(np.round(each, 2)) for key, each in times.items()}
    medians = ", ".join(f"{key} {np.median(each):.1f} ms" for key, each in times.items())
    said = "; ".join(f"{row['variant']}: {row['verdict']}" for row in rows if row["model"] == "ocr-det")
    what = f"{shown} det, {SIDE}x{SIDE}, OpenVINO: FP32 against what is shipped"
    gain = ratio(times["FP32"], times["as shipped"])
    report.add(Row(what, gain, "times faster", goal, f"{medians}. The gate on {said}"))
    return times


def _add_peers(predictors: dict[str, Predictor], plain: Path, pipeline: OcrPipeline, scratch: Path) -> dict[str, str]:
    """Add other people's INT8 of det, made with the kit's own calibration pictures; why there is none, if so."""
    pictures = read_pictures(_CALIBRATION).images
    feeds: Sequence[Feeds] = record_feeds(pipeline, pictures[:_CALIBRATION_PICTURES])["det"]
    missing = {}
    for peer in QUANTIZERS:
        try:
            made = quantize_by(peer, plain / "det" / "model.onnx", feeds, scratch / peer.script, transformer=False)
        except EdgeKitError as error:
            missing[peer.shown] = error.problem
        else:
            predictors[peer.shown] = load_predictor(model_files(made, peer.shown), peer.backend, _OPTIONS)
    return missing


def _apart(predictors: dict[str, Predictor]) -> dict[str, float]:
    """Mean difference of each one's map of text from FP32's, by that map's mean."""
    tensor = det_tensor(_picture(), (SIDE, SIDE))
    maps = {name: next(iter(each.run({each.inputs[0].name: tensor}).values())) for name, each in predictors.items()}
    wanted = maps["FP32"]
    return {name: float(np.abs(each - wanted).mean() / wanted.mean()) for name, each in maps.items()}


def _peer_rows(
    report: Report, shown: str, times: dict[str, Times], missing: dict[str, str], apart: dict[str, float]
) -> None:
    for peer in QUANTIZERS:
        what = f"{shown} det, {SIDE}x{SIDE}: {peer.against('what is shipped')}"
        if peer.shown in missing:
            report.add(Row(what, None, note=missing[peer.shown]))
            continue
        note = (
            f"The map of text is {apart[peer.shown]:.3f} of its mean away from FP32's, ours {apart['as shipped']:.3f}."
        )
        gain = ratio(times[peer.shown], times["as shipped"])
        report.add(Row(what, gain, "times faster", Goal(1.0, within_noise=True), note))


def _rec_row(report: Report, shown: str, rows: Sequence[dict[str, Any]]) -> None:
    """What the recipe itself measured of rec."""
    tried = {row["variant"]: row for row in rows if row["model"] == "ocr-rec"}
    kept = next(row for row in tried.values() if row["chosen"])
    said = "; ".join(f"{name}: {row['metric']} {row['value']:.4f}, {row['verdict']}" for name, row in tried.items())
    gain = Figure.exact(tried["fp32"]["latency_ms"] / kept["latency_ms"])
    what = f"{shown} rec, OpenVINO: FP32 against what is shipped, {kept['variant']}"
    report.add(Row(what, gain, "times faster", None, said))


def _plain(models: Path, out: Path) -> Path:
    """The set in FP32 as ONNX, as it is converted; ``compress`` rewrites the graph before it measures and ships it."""
    for stage in ("det", "rec", "cls"):
        to_onnx(models / stage, out / stage / "model.onnx")
    if (models / "rec" / "dict.txt").is_file():
        (out / "rec" / "dict.txt").write_bytes((models / "rec" / "dict.txt").read_bytes())
    return out


def _detected(pipeline: OcrPipeline, pages: Sequence[TruePage]) -> Tally:
    return detection_tally(
        [DetectionPage(list(pipeline.detect(page.image)), page.polygons, page.ignored) for page in pages]
    )


def _picture() -> NDArray[np.uint8]:
    return load_image(sorted(_CALIBRATION.glob("*.jpg"))[0].read_bytes())
