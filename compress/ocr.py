"""Compressing a PP-OCR model set for one device profile."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from compress.artifact_dir import fresh_directory
from compress.calibration import Feeds
from compress.evaluate import interleaved_medians_ms
from compress.export import to_onnx
from compress.gate import Verdict, and_faster
from compress.ocr_artifact import Chosen, write_ocr_artifact
from compress.ocr_data import LABEL_NAME, Image, read_pictures, read_truth, record_feeds, truth_from
from compress.ocr_measure import Examination, Stage, examine, spread
from compress.quantize import quantize
from compress.report import Limits, Row, fingerprint, write_report
from compress.source import check_source, require_backend
from devices.errors import ArtifactError, BackendError, CalibrationError, CompressionError
from devices.profile import Profile
from runtime.ocr.models import DICTIONARY_NAME, OcrModels, read_ocr_models
from runtime.ocr.pipeline import OcrPipeline, load_ocr
from runtime.predictor import ModelFiles, Predictor, RunOptions, load_predictor, model_files

Progress = Callable[[str, float], None]
_STAGES: tuple[Stage, ...] = get_args(Stage)
# how much calibration data is looked at: ranges need few values, and PaddleSlim takes a second for each det picture
_PICTURES = 12
_FEEDS = {"det": 12, "rec": 12, "cls": 8}


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

    Everything is measured on the profile's first backend. ``out`` appears when all is done, or not at all.

    Args:
        models: A model set as ``runtime.ocr.models.read_ocr_models`` reads it.
        calibration: Directory of pictures like those met in service.
        truth: A ``Label.txt`` whose pictures lie beside it; accuracy is measured on them. Without one, the
            compressed models are measured by how far they agree with the uncompressed ones on the calibration
            pictures.
        profile: Whose backend, threads and gate apply.
        out: The artifact's directory: missing, empty, or an earlier artifact.
        seed: Of the intervals in the report; nothing else here is random.
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
    backend = profile.serve.backends[0]
    require_backend(backend)
    with fresh_directory(out) as draft, tempfile.TemporaryDirectory(prefix="edgekit-ocr-") as scratch_name:
        scratch = Path(scratch_name)
        report("read pictures", 0.0)
        source = _read_source(models, profile)
        pictures = read_pictures(calibration)
        pages = read_truth(label_file) if label_file else None
        report("export", 0.0)
        plain = _exported(source, profile, scratch)
        reference = load_ocr(plain, backend, _options(profile))
        report("read calibration pictures", 0.0)
        seen, unseen = _divided(pictures.images)
        feeds = record_feeds(reference, seen)
        readings = truth_from(reference, unseen)
        if "rec" not in feeds or not feeds["rec"] or not any(page.texts for page in readings):
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
            bench = _Bench(stage, reference, examine(stage, reference, pages, readings), profile, seed)
            tried = bench.choose(scratch / "fp32" / stage, scratch / "int8" / stage, feeds[stage])
            chosen[stage] = tried.chosen
            rows += tried.rows
            limits[f"ocr-{stage}"] = tried.limits
        report("quantize and measure", 1.0)
        write_ocr_artifact(draft, chosen, source, profile)
        notes = _notes(pictures.damaged, calibration)
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


@dataclass(frozen=True)
class _Tried:
    chosen: Chosen
    rows: tuple[Row, ...]
    limits: Limits


@dataclass(frozen=True)
class _Bench:
    """One stage: makes its INT8 form, measures it against FP32, and lets the gate choose."""

    stage: Stage
    reference: OcrPipeline
    examination: Examination
    profile: Profile
    seed: int

    def choose(self, plain: Path, small: Path, feeds: Sequence[Feeds]) -> _Tried:
        """The FP32 model in ``plain``, or the INT8 model that is made of it in ``small``."""
        fp32 = self._predictor(self.reference)
        before = self.examination.run(self.reference)
        metric, reference = self.examination.metrics[0], before[0].value
        worst = reference - self._max_drop if metric.higher_is_better else reference + self._max_drop
        limits = Limits(worst)
        why = _no_int8(self.profile, plain) or ""
        int8 = None if why else self._quantized(plain, small, spread(feeds, _FEEDS[self.stage]))
        if isinstance(int8, str):
            why = int8
        if int8 is None or isinstance(int8, str):
            times = interleaved_medians_ms({"fp32": fp32}, spread(feeds, 2))
            row = self._row("fp32", plain, reference, times["fp32"], why, kept=True)
            return _Tried((plain, "fp32"), (row,), limits)
        after = self.examination.run(self._with(int8))
        accurate = self.examination.judge(before, after, max_drop=self._max_drop, seed=self.seed)
        times = interleaved_medians_ms({"fp32": fp32, "int8": int8}, spread(feeds, 3))
        verdict = and_faster(accurate, reference_ms=times["fp32"], candidate_ms=times["int8"])
        kept = verdict.passed
        said = "The reference." if kept else "Kept, because INT8 did not pass."
        rows = (
            self._row("fp32", plain, reference, times["fp32"], said, kept=not kept),
            self._row("int8", small, after[0].value, times["int8"], verdict.sentence, kept=kept, verdict=verdict),
        )
        return _Tried((small, "int8") if kept else (plain, "fp32"), rows, limits)

    def _quantized(self, plain: Path, small: Path, feeds: Sequence[Feeds]) -> Predictor | str:
        """The INT8 model, loaded, or why there is none."""
        backend = self.profile.serve.backends[0]
        try:
            quantize(plain, feeds, small, backend=backend, reduce_range=self.profile.serve.reduce_range)
            files = model_files(small, f"ocr-{self.stage}", precision="int8")
            return load_predictor(files, backend, _options(self.profile))
        except (CalibrationError, ArtifactError):
            raise
        except (CompressionError, BackendError) as error:
            return f"INT8 could not be made: {error.problem}"

    def _row(
        self,
        variant: str,
        directory: Path,
        value: float,
        latency_ms: float,
        sentence: str,
        *,
        kept: bool,
        verdict: Verdict | None = None,
    ) -> Row:
        metric = self.examination.metrics[0]
        interval = verdict.interval if verdict else None
        reference = value + verdict.drop * (1 if metric.higher_is_better else -1) if verdict else value
        return Row(
            f"ocr-{self.stage}",
            variant,
            metric.name,
            value,
            metric.higher_is_better,
            latency_ms,
            sum(each.stat().st_size for each in directory.iterdir() if each.name != DICTIONARY_NAME),
            self.profile.serve.backends[0],
            sentence,
            chosen=kept,
            interval=interval.of_metric(reference, higher_is_better=metric.higher_is_better) if interval else None,
        )

    @property
    def _max_drop(self) -> float:
        return self.profile.compress.max_drop

    def _predictor(self, pipeline: OcrPipeline) -> Predictor:
        found: Predictor = getattr(pipeline, self.stage)
        return found

    def _with(self, predictor: Predictor) -> OcrPipeline:
        changed: dict[str, Any] = {self.stage: predictor}
        return replace(self.reference, **changed)


def _no_int8(profile: Profile, plain: Path) -> str | None:
    """Why INT8 is not tried at all, if it is not."""
    if not profile.serve.int8:
        return f"Profile {profile.name} does not use INT8."
    if model_files(plain, plain.name).is_pir:
        return "Served as it is, in FP32: PaddleSlim cannot read inference.json, so INT8 was not tried."
    return None


def _read_source(models: Path, profile: Profile) -> OcrModels:
    source = read_ocr_models(models)
    for stage in _STAGES:
        files: ModelFiles | None = getattr(source, stage)
        if files is None:
            continue
        if files.precision != "fp32":
            raise CompressionError(
                f"Model {files.name} in {models} is {files.precision} already; INT8 is made from FP32.",
                remedy="Give the models that it was compressed from.",
            )
        check_source(files, profile.serve.backends[0], origin=models / stage)
    return source


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


def _notes(damaged: Sequence[str], calibration: Path) -> list[str]:
    if not damaged:
        return []
    return [
        f"{len(damaged)} pictures in {calibration} could not be decoded and were left out: {', '.join(damaged)}.",
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


def _options(profile: Profile) -> RunOptions:
    return RunOptions(threads=profile.serve.threads)
