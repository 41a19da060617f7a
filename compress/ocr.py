"""Compressing a PP-OCR model set for one device profile."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import onnx

from compress.artifact_dir import fresh_directory
from compress.calibration import Feeds
from compress.contest import Contest, Progress, measuring_options
from compress.export import to_onnx
from compress.gate import Verdict
from compress.ocr_artifact import Chosen, write_ocr_artifact
from compress.ocr_data import LABEL_NAME, Image, Pictures, read_pictures, read_truth, record_feeds, truth_from
from compress.ocr_measure import Examination, Stage, examine, spread
from compress.prepare import prepare
from compress.report import Limits, Row, fingerprint, write_report
from compress.source import check_source, require_backend
from devices.errors import CalibrationError, CompressionError
from devices.profile import Profile
from runtime.ocr.models import OcrModels, read_ocr_models
from runtime.ocr.pipeline import OcrPipeline, load_ocr
from runtime.predictor import ModelFiles, Predictor, model_files

_STAGES: tuple[Stage, ...] = get_args(Stage)
# how much calibration data is looked at: ranges need few values, and PaddleSlim takes a second for each det picture
_PICTURES = 12
_FEEDS = {"det": 12, "rec": 24, "cls": 8}


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
    """Quantize det, rec and cls; BF16 or INT8 is kept for each only if the gate passes it and it is faster.

    Everything is measured on the profile's first backend. ``out`` appears when all is done, or not at all.

    Args:
        models: A model set as ``runtime.ocr.models.read_ocr_models`` reads it.
        calibration: Directory of pictures like those met in service.
        truth: A ``Label.txt`` whose pictures lie beside it; accuracy is measured on them. Without one, the
            compressed models are measured by how far they agree with the uncompressed ones on the calibration
            pictures.
        profile: Whose backend, threads and gate apply.
        out: The artifact's directory: missing, empty, or an earlier artifact.
        seed: Noted in the report; nothing here is random.
        progress: Called with a stage and the share of it that is done, 0 to 1.
        evaluation: A directory with ``Label.txt``, in place of ``truth``.

    Returns:
        ``{"out", "backend", "truth", "pictures": {...}, "rows": [...], "notes": [...]}``, rows as in report.json.

    Raises:
        CalibrationError: There are no calibration pictures, too many are damaged, or no text is found on them.
        DataError: The truth cannot be used.
        ModelError: The model set is incomplete or malformed.
        CompressionError: A model could not be exported.
        BackendError: The backend is not installed or refuses a model.
        ArtifactError: ``out`` cannot be written.
    """
    report = progress or (lambda stage, share: None)
    label_file = evaluation / LABEL_NAME if evaluation else truth
    backend = profile.serve.measured_on
    require_backend(backend)
    with fresh_directory(out) as draft, tempfile.TemporaryDirectory(prefix="edgekit-ocr-") as scratch_name:
        scratch = Path(scratch_name)
        report("read pictures", 0.0)
        source = _read_source(models, profile)
        pictures = read_pictures(calibration)
        pages = read_truth(label_file) if label_file else None
        report("export", 0.0)
        plain = _exported(source, profile, scratch)
        reference = load_ocr(plain, backend, measuring_options(profile))
        report("read calibration pictures", 0.0)
        seen, unseen = _divided(pictures.images)
        feeds = record_feeds(reference, seen)
        readings = truth_from(reference, unseen)
        if not feeds["rec"] or not any(page.texts for page in readings):
            raise CalibrationError(
                f"Det finds no line of text on the pictures in {calibration}, so rec cannot be calibrated or measured.",
                remedy="Give pictures like those met in service, with text on them.",
            )
        chosen: dict[str, Chosen] = {}
        rows: list[Row] = []
        limits: dict[str, Limits] = {}
        stages = [stage for stage in _STAGES if stage in feeds]
        for number, stage in enumerate(stages):
            report("quantize and measure", number / len(stages))
            examination = examine(stage, reference, pages, readings)
            fp32 = scratch / "fp32" / stage
            contest = _contest(stage, reference, examination, fp32, spread(feeds[stage], 3), profile)
            outcome = contest.run(fp32, spread(feeds[stage], _FEEDS[stage]), scratch / "int8" / stage, report)
            chosen[stage] = outcome.directory, outcome.precision
            rows += outcome.rows
            limits[contest.name] = outcome.limits
        report("quantize and measure", 1.0)
        write_ocr_artifact(draft, chosen, source, profile)
        notes = _notes(pictures, calibration)
        write_report(
            draft,
            rows,
            seed=seed,
            data_fingerprints=_fingerprints(models, calibration, label_file),
            command=_command(models, calibration, label_file, profile, out, seed),
            limits=limits,
            notes=notes,
        )
        written = json.loads((draft / "report.json").read_text(encoding="utf-8"))
    return {
        "out": str(out),
        "backend": backend,
        "truth": str(label_file) if label_file else None,
        "pictures": {
            "calibration": len(pictures.images),
            "damaged": list(pictures.damaged),
            "evaluation": len(pages if pages is not None else readings),
        },
        "rows": written["rows"],
        "notes": notes,
    }


def _contest(
    stage: Stage,
    reference: OcrPipeline,
    examination: Examination,
    plain: Path,
    timed: Sequence[Feeds],
    profile: Profile,
) -> Contest:
    before = examination.run(reference)
    metric = examination.metrics[0]

    def judge(predictor: Predictor) -> tuple[float, Verdict]:
        changed: dict[str, Any] = {stage: predictor}
        after = examination.run(replace(reference, **changed))
        return after[0].value, examination.judge(before, after, max_drop=profile.compress.max_drop)

    return Contest(
        name=f"ocr-{stage}",
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        reference=before[0].value,
        judge=judge,
        fp32=getattr(reference, stage),
        plain=plain,
        timed=timed,
        profile=profile,
    )


def _read_source(models: Path, profile: Profile) -> OcrModels:
    source = read_ocr_models(models)
    for stage in _STAGES:
        files: ModelFiles | None = getattr(source, stage)
        if files is None:
            continue
        if files.precision.startswith("int8"):
            raise CompressionError(
                f"Model {files.name} in {models} is {files.precision} already; INT8 is made from FP32.",
                remedy="Give the models that it was compressed from.",
            )
        check_source(files, profile.serve.measured_on, origin=models / stage)
    return source


def _exported(source: OcrModels, profile: Profile, scratch: Path) -> OcrModels:
    """The set as the profile's first backend reads it best: ONNX, rewritten to run faster, or Paddle's own for paddle.

    FP32 and BF16 take part as the same graph that INT8 is made from: PP-OCRv6 det's takes a quarter less time.
    """
    exported: dict[str, ModelFiles] = {}
    for stage, files in (("det", source.det), ("rec", source.rec), ("cls", source.cls)):
        if files is None:
            continue
        directory, origin = scratch / "fp32" / stage, scratch / "origin" / stage
        if profile.serve.measured_on == "paddle":
            _write_files(files, directory)
        else:
            _write_files(files, origin)
            exact = prepare(onnx.load(to_onnx(origin, directory / "model.onnx")))
            onnx.save(exact, directory / "model.onnx")
        exported[stage] = model_files(directory, f"ocr-{stage}")
    return replace(source, det=exported["det"], rec=exported["rec"], cls=exported.get("cls"))


def _write_files(files: ModelFiles, directory: Path) -> None:
    directory.mkdir(parents=True)
    if files.format == "onnx":
        (directory / "model.onnx").write_bytes(files.graph)
        return
    (directory / ("inference.json" if files.is_pir else "inference.pdmodel")).write_bytes(files.graph)
    (directory / "inference.pdiparams").write_bytes(files.weights or b"")


def _divided(images: Sequence[Image]) -> tuple[list[Image], list[Image]]:
    """Pictures to take ranges from and pictures to measure agreement on, others as far as there are enough."""
    seen = spread(range(len(images)), _PICTURES)
    order = [index for index in range(len(images)) if index not in seen] + seen
    return [images[index] for index in seen], [images[index] for index in order[:_PICTURES]]


def _notes(pictures: Pictures, calibration: Path) -> list[str]:
    if not pictures.damaged:
        return []
    files = len(pictures.images) + len(pictures.damaged)
    return [
        f"{len(pictures.damaged)} of {files} pictures in {calibration} could not be decoded and were left out: "
        f"{', '.join(pictures.damaged)}."
    ]


def _fingerprints(models: Path, calibration: Path, label_file: Path | None) -> dict[str, str]:
    found = {"models": fingerprint(models), "calibration": fingerprint(calibration)}
    return found | ({"truth": fingerprint(label_file)} if label_file else {})


def _command(models: Path, calibration: Path, label_file: Path | None, profile: Profile, out: Path, seed: int) -> str:
    truth = f" --truth {label_file}" if label_file else ""
    return (
        f"edgekit compress ocr --models {models} --calibration {calibration}{truth} --profile {profile.name} "
        f"--out {out} --seed {seed}"
    )
