"""Compressing a PP-OCR model set for one device profile."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from compress.calibration import Feeds
from compress.evaluate import (
    DetectionPage,
    accuracy,
    character_error_rate,
    detection_score,
    interleaved_medians_ms,
)
from compress.export import to_onnx
from compress.gate import Verdict, and_faster, judge
from compress.ocr_data import (
    LABEL_NAME,
    TruePage,
    cut_lines,
    read_pictures,
    read_truth,
    record_feeds,
    truth_from,
    without_spaces,
)
from compress.quantize import quantize
from compress.report import Row, fingerprint, write_report
from devices.profile import Profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Artifact, ModelEntry
from runtime.ocr.models import DICTIONARY_NAME, OcrModels, read_ocr_models
from runtime.ocr.pipeline import OcrPipeline, load_ocr
from runtime.ocr.preprocess import det_tensor, line_tensor
from runtime.predictor import ModelFiles, Predictor, RunOptions, load_predictor, model_files

Progress = Callable[[str, float], None]
_STAGES = ("det", "rec", "cls")
_METRICS = {"det": ("hmean", True), "rec": ("cer", False), "cls": ("accuracy", True)}
# how much calibration data is looked at: ranges need few values, and PaddleSlim takes a second for each det picture
_PICTURES = 12
_FEEDS = {"det": 12, "rec": 12, "cls": 8}
_MAX_LINES = 200  # that rec and cls are measured on
# of golden outputs, which are probabilities; INT8 kernels round differently from each other
_FP32_TOLERANCE, _INT8_TOLERANCES = 1e-3, (0.1, 0.9)


def compress_ocr(
    models: Path,
    calibration: Path,
    truth: Path | None,
    profile: Profile,
    out: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
    evaluation: Path | None = None,
) -> dict[str, Any]:
    """Quantize det, rec and cls, each kept in INT8 only if the gate passes it and it is faster.

    Everything is measured on the profile's first backend. Nothing is written to ``out`` before all is measured.

    Args:
        models: A model set as ``runtime.ocr.models.read_ocr_models`` reads it.
        calibration: Directory of pictures like those met in service.
        truth: A ``Label.txt`` whose pictures lie beside it; accuracy is measured on them. Without one, the
            compressed models are measured by how far they agree with the uncompressed ones on the calibration
            pictures.
        profile: Whose backend, threads and gate apply.
        out: The artifact's directory; made if needed.
        seed: Noted in the report; nothing here is random.
        progress: Called with a stage and the share of it that is done, 0 to 1.
        evaluation: A directory with ``Label.txt``, in place of ``truth``.

    Returns:
        ``{"out", "backend", "truth", "pictures": {...}, "rows": [...]}``, rows as in report.json.

    Raises:
        CalibrationError: There are no calibration pictures, or too many are damaged.
        DataError: The truth cannot be used.
        ModelError: The model set is incomplete or malformed.
        CompressionError: A model could not be exported or quantized.
        BackendError: The backend is not installed or refuses a model.
    """
    report = progress or (lambda stage, share: None)
    label_file = evaluation / LABEL_NAME if evaluation else truth
    report("read pictures", 0.0)
    pictures = read_pictures(calibration)
    pages = read_truth(label_file) if label_file else None
    source = read_ocr_models(models)
    with tempfile.TemporaryDirectory(prefix="edgekit-ocr-") as scratch_name:
        scratch = Path(scratch_name)
        report("export", 0.0)
        plain = _exported(source, profile, scratch)
        reference = load_ocr(plain, profile.serve.backends[0], _options(profile))
        looked_at = _spread(pictures.images, _PICTURES)
        report("read calibration pictures", 0.0)
        feeds = record_feeds(reference, looked_at)
        data = pages if pages is not None else truth_from(reference, looked_at)
        chosen: dict[str, Path] = {}
        rows: list[Row] = []
        stages = [stage for stage in _STAGES if stage in feeds]
        for number, stage in enumerate(stages):
            report("quantize and measure", number / len(stages))
            tried = _try_int8(
                stage, reference, scratch, _spread(feeds[stage], _FEEDS[stage]), data, profile, agreement=pages is None
            )
            chosen[stage] = tried.directory
            rows += tried.rows
        report("quantize and measure", 1.0)
        _write(out, chosen, source, profile)
    fingerprints = {"models": fingerprint(models), "calibration": fingerprint(calibration)}
    if label_file:
        fingerprints["truth"] = fingerprint(label_file)
    command = f"edgekit compress ocr --models {models} --calibration {calibration}"
    command += f" --truth {label_file}" if label_file else ""
    write_report(
        out,
        rows,
        seed=seed,
        data_fingerprints=fingerprints,
        command=f"{command} --profile {profile.name} --out {out} --seed {seed}",
    )
    return {
        "out": str(out),
        "backend": profile.serve.backends[0],
        "truth": str(label_file) if label_file else None,
        "pictures": {
            "calibration": len(pictures.images),
            "damaged": list(pictures.damaged),
            "evaluation": len(data),
        },
        "rows": json.loads((out / "report.json").read_text(encoding="utf-8"))["rows"],
    }


@dataclass(frozen=True)
class _Tried:
    directory: Path  # of the variant that the gate chose
    rows: tuple[Row, ...]


def _try_int8(
    stage: str,
    reference: OcrPipeline,
    scratch: Path,
    feeds: Sequence[Feeds],
    data: Sequence[TruePage],
    profile: Profile,
    *,
    agreement: bool,
) -> _Tried:
    """Quantize one model and let the gate choose between it and its FP32 form."""
    plain, small = scratch / "fp32" / stage, scratch / "int8" / stage
    backend = profile.serve.backends[0]
    metric, higher_is_better = _METRICS[stage]
    fp32: Predictor = getattr(reference, stage)
    before = _measure(stage, reference, data)

    def row(variant: str, directory: Path, value: float, latency_ms: float, verdict: str, *, kept: bool) -> Row:
        name = f"{metric} against fp32" if agreement else metric
        size = sum(each.stat().st_size for each in directory.iterdir() if each.name != DICTIONARY_NAME)
        return Row(
            f"ocr-{stage}", variant, name, value, higher_is_better, latency_ms, size, backend, verdict, chosen=kept
        )

    refusal = _no_int8(profile, plain)
    if refusal or not feeds:
        latency = interleaved_medians_ms({"fp32": fp32}, feeds[:2])["fp32"] if feeds else 0.0
        why = refusal or "On the calibration pictures this model was never asked, so INT8 was not tried."
        return _Tried(plain, (row("fp32", plain, before, latency, why, kept=True),))
    quantize(plain, feeds, small, backend=backend, reduce_range=profile.serve.reduce_range)
    int8 = load_predictor(model_files(small, fp32.name, precision="int8"), backend, _options(profile))
    after = _measure(stage, _with(reference, stage, int8), data)
    times = interleaved_medians_ms({"fp32": fp32, "int8": int8}, _spread(feeds, 3))
    verdict = and_faster(
        judge(before, after, max_drop=profile.compress.max_drop, higher_is_better=higher_is_better),
        reference_ms=times["fp32"],
        candidate_ms=times["int8"],
    )
    rows = (
        row("fp32", plain, before, times["fp32"], _fp32_verdict(verdict), kept=not verdict.passed),
        row("int8", small, after, times["int8"], verdict.sentence, kept=verdict.passed),
    )
    return _Tried(small if verdict.passed else plain, rows)


def _with(pipeline: OcrPipeline, stage: str, predictor: Predictor) -> OcrPipeline:
    changed: dict[str, Any] = {stage: predictor}
    return replace(pipeline, **changed)


def _fp32_verdict(verdict: Verdict) -> str:
    return "The reference." if verdict.passed else "Kept, because INT8 did not pass."


def _no_int8(profile: Profile, plain: Path) -> str | None:
    """Why INT8 is not tried at all, if it is not."""
    if not profile.serve.int8:
        return f"Profile {profile.name} does not use INT8."
    if model_files(plain, plain.name).is_pir:
        return "PaddleSlim cannot read inference.json, so INT8 was not tried."
    return None


def _exported(source: OcrModels, profile: Profile, scratch: Path) -> OcrModels:
    """The set in the format that the profile's first backend reads best: ONNX, or Paddle's own for paddle."""
    exported: dict[str, ModelFiles] = {}
    for stage, files in (("det", source.det), ("rec", source.rec), ("cls", source.cls)):
        if files is None:
            continue
        directory, origin = scratch / "fp32" / stage, scratch / "origin" / stage
        if profile.serve.backends[0] == "paddle":
            _write_files(files, directory)
        else:
            _write_files(files, origin)
            to_onnx(origin, directory / "model.onnx")
        exported[stage] = model_files(directory, f"ocr-{stage}")
    return replace(source, det=exported["det"], rec=exported["rec"], cls=exported.get("cls"))


def _write_files(files: ModelFiles, directory: Path) -> None:
    directory.mkdir(parents=True)
    graph = {"onnx": "model.onnx", "openvino": "model.xml", "paddle": "inference.pdmodel"}[files.format]
    (directory / ("inference.json" if files.is_pir else graph)).write_bytes(files.graph)
    if files.weights is not None:
        name = "model.bin" if files.format == "openvino" else "inference.pdiparams"
        (directory / name).write_bytes(files.weights)


def _measure(stage: str, pipeline: OcrPipeline, data: Sequence[TruePage]) -> float:
    if stage == "det":
        found = [list(pipeline.detect(page.image)) for page in data]
        return detection_score(
            [DetectionPage(boxes, page.polygons, page.ignored) for boxes, page in zip(found, data, strict=True)]
        ).hmean
    lines = [
        (crop, text)
        for page in data
        for crop, text in zip(cut_lines(page.image, page.polygons), page.texts, strict=True)
    ]
    lines = _spread([line for line in lines if line[1]], _MAX_LINES)
    crops = [crop for crop, _ in lines]
    if stage == "rec":
        read = [without_spaces(text) for text, _ in pipeline.recognize(crops)]
        return character_error_rate(read, [text for _, text in lines])
    turned = [np.ascontiguousarray(crop[::-1, ::-1]) for crop in crops]
    answers = np.array([degrees for degrees, _ in pipeline.orient(crops + turned)])
    return accuracy(answers, np.repeat([0, 180], len(crops)))


def _write(out: Path, chosen: dict[str, Path], source: OcrModels, profile: Profile) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "golden", ignore_errors=True)
    (out / "golden").mkdir()
    backend = profile.serve.backends[0]
    entries = []
    for stage, directory in chosen.items():
        shutil.rmtree(out / stage, ignore_errors=True)
        shutil.copytree(directory, out / stage)
        precision: Literal["fp32", "int8"] = "int8" if directory.parent.name == "int8" else "fp32"
        files = model_files(out / stage, f"ocr-{stage}", precision=precision)
        golden = f"golden/{stage}.npz"
        _write_golden(out / golden, load_predictor(files, backend, _options(profile)), stage)
        tolerance = _int8_tolerance(out / golden, files) if precision == "int8" else _FP32_TOLERANCE
        entries.append(
            ModelEntry(
                name=f"ocr-{stage}",
                directory=stage,
                precision=precision,
                backend=backend,
                golden=golden,
                tolerance=tolerance,
            )
        )
    # one character a line, as read: from dict.txt, or from the model's own metadata
    (out / "rec" / DICTIONARY_NAME).write_bytes("\n".join([*source.characters, ""]).encode())
    Artifact(kind="ocr", profile=profile.name, models=tuple(entries), ocr=source.settings).write(out)


def _write_golden(path: Path, predictor: Predictor, stage: str) -> None:
    """A small drawn input and the output of the model as it will be served.

    Drawn and not taken from the calibration pictures, which may be customers'; text and not noise, because det
    answers zero to noise, and so would a broken det.
    """
    name = predictor.inputs[0].name
    feed = _golden_feed(stage)
    arrays = {f"{GOLDEN_OUTPUT}{key}": value for key, value in predictor.run({name: feed}).items()}
    np.savez_compressed(path, **{f"{GOLDEN_INPUT}{name}": feed}, **arrays)


def _int8_tolerance(golden: Path, files: ModelFiles) -> float:
    """Half as much again as two backends differ: other processors round in other places, as other libraries do.

    Where an output is steep, as at the edge of a det region, that is much (0.57 on PP-OCRv4), yet less than the whole
    step that a det which finds nothing is off by.
    """
    least, most = _INT8_TOLERANCES
    if files.format != "onnx":
        return least
    with np.load(golden) as arrays:
        feeds = {key.removeprefix(GOLDEN_INPUT): arrays[key] for key in arrays.files if key.startswith(GOLDEN_INPUT)}
        outputs = [load_predictor(files, backend).run(feeds) for backend in ("openvino", "onnxruntime")]
    apart = max(
        float(np.abs(np.subtract(value, outputs[1][name], dtype=np.float32)).max())
        for name, value in outputs[0].items()
    )
    return min(most, max(least, 1.5 * apart))


def _golden_feed(stage: str) -> NDArray[np.float32]:
    image = np.full((96, 160, 3), 255, np.uint8)
    cv2.putText(image, "EDGE 2026", (8, 56), cv2.FONT_HERSHEY_SIMPLEX, 0.85, (20, 20, 20), 2)
    if stage == "det":
        return det_tensor(image, (96, 160))
    return line_tensor([image[24:72]], 48, 192 if stage == "cls" else 160)


def _options(profile: Profile) -> RunOptions:
    return RunOptions(threads=profile.serve.threads)


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most ``count`` items, evenly spread, always the same ones."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]
