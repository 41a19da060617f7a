"""Compressing any Paddle or ONNX model, measured by how far INT8 agrees with FP32."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.artifact_dir import fresh_directory
from compress.cases import Case, read_cases, run_cases
from compress.contest import Contest, Progress, measuring_options
from compress.evaluate import accuracy_tally
from compress.export import to_onnx
from compress.gate import Verdict, judge, judge_tallies
from compress.report import fingerprint, write_report
from compress.source import check_source, require_backend
from devices.errors import ModelError
from devices.profile import Profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Artifact, ModelEntry, Precision
from runtime.predictor import ModelFiles, Predictor, load_predictor, model_files, without_bf16

_TIMED_CASES = 4
# of the largest output: kernels of other processors round differently
_TOLERANCES: dict[Precision, float] = {"fp32": 0.0, "bf16": 0.02, "int8": 0.05, "int8+bf16": 0.05}
_TOLERANCE = 1e-3
SAME_CLASS, RELATIVE_ERROR = "agreement (same class)", "relative error against fp32"


def compress_model(
    model: Path,
    calibration_npz: Path,
    profile: Profile,
    out: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Quantize a model for the profile's backend; BF16 or INT8 is kept only if the gate passes it and it is faster.

    The last quarter of the cases is kept from calibration and measured on. A model with one output of classes (N, C)
    is measured by how often both forms choose the same class, any other by its outputs' relative error.

    Args:
        model: Directory of a Paddle or ONNX model, or an ``.onnx`` file.
        calibration_npz: Inputs by name, one case a row, as ``compress.cases`` reads them.
        profile: Whose backend, threads and gate apply.
        out: The artifact's directory: missing, empty, or an earlier artifact.
        seed: Noted in the report; nothing here is random.
        progress: Called with a stage and the share of it that is done, 0 to 1.

    Returns:
        ``{"out", "backend", "cases": {...}, "rows": [...]}``, rows as in report.json.

    Raises:
        CalibrationError: The cases cannot be read, are fewer than four, do not fit the model, or hold NaN.
        ModelError: There is no model, it is not whole, or a weight is not a number.
        CompressionError: The model's format has no way to the backend, or the export failed.
        BackendError: The backend is not installed or refuses the model.
        ArtifactError: ``out`` cannot be written.
    """
    report = progress or (lambda stage, share: None)
    backend = profile.serve.measured_on
    require_backend(backend)
    name = re.sub(r"[^a-z0-9]+", "-", model.stem.lower()).strip("-") or "model"
    with fresh_directory(out) as draft, tempfile.TemporaryDirectory(prefix="edgekit-model-") as scratch_name:
        scratch = Path(scratch_name)
        report("export", 0.0)
        source, plain = _source(model, scratch), scratch / "fp32"
        files = model_files(source, name)
        check_source(files, backend, origin=model)
        _export(files, source, plain, profile)
        fp32 = load_predictor(model_files(plain, name), backend, measuring_options(profile))
        cases = read_cases(calibration_npz, fp32)
        held_out = max(1, len(cases) // 4)
        looked_at, measured = cases[:-held_out], cases[-held_out:]
        expected = run_cases(fp32, measured, calibration_npz)
        contest = _contest(fp32, plain, measured, expected, profile)
        report("quantize and measure", 0.0)
        outcome = contest.run(source, looked_at, scratch / "int8", report)
        report("quantize and measure", 1.0)
        shutil.copytree(outcome.directory, draft / name)
        entry = _with_golden(draft, name, outcome.precision, profile, cases[0])
        write_report(
            draft,
            outcome.rows,
            seed=seed,
            data_fingerprints={"model": fingerprint(model), "calibration": fingerprint(calibration_npz)},
            command=(
                f"edgekit compress model --model {model} --calibration {calibration_npz} "
                f"--profile {profile.name} --out {out} --seed {seed}"
            ),
            limits={name: outcome.limits},
        )
        Artifact(kind="model", profile=profile.name, models=(entry,)).write(draft)
        written = json.loads((draft / "report.json").read_text(encoding="utf-8"))
    return {
        "out": str(out),
        "backend": backend,
        "cases": {"calibration": len(looked_at), "measured": len(measured)},
        "rows": written["rows"],
    }


def _contest(
    fp32: Predictor, plain: Path, cases: Sequence[Case], expected: Sequence[Case], profile: Profile
) -> Contest:
    """On ``cases``, which calibration does not see; ``expected`` is what FP32 answers to them."""
    shapes = [value.shape for value in expected[0].values()]
    decides = len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][1] > 1
    limit = profile.compress.max_drop

    def by_class(predictor: Predictor) -> tuple[float, Verdict]:
        actual = [predictor.run(case) for case in cases]
        if not all(np.isfinite(value).all() for answer in actual for value in answer.values()):
            return math.nan, judge(1.0, math.nan, max_drop=limit, higher_is_better=True)
        chosen, right = _classes(actual), _classes(expected)
        tally, perfect = accuracy_tally(chosen, right), accuracy_tally(right, right)
        verdict = judge_tallies(perfect, tally, max_drop=limit, higher_is_better=True)
        flips = int((chosen != right).sum())
        sentence = f"{flips} label flips from FP32 on {len(right)} rows: {verdict.sentence}"
        return tally.value, replace(verdict, sentence=sentence)

    def by_error(predictor: Predictor) -> tuple[float, Verdict]:
        actual = [predictor.run(case) for case in cases]
        value = max(_relative_error(output, actual, expected) for output in expected[0])
        return value, judge(0.0, value, max_drop=limit, higher_is_better=False)

    return Contest(
        name=fp32.name,
        metric=SAME_CLASS if decides else RELATIVE_ERROR,
        higher_is_better=decides,
        reference=1.0 if decides else 0.0,
        judge=by_class if decides else by_error,
        fp32=fp32,
        plain=plain,
        timed=cases[:_TIMED_CASES],
        profile=profile,
    )


def _classes(answers: Sequence[Case]) -> NDArray[np.int64]:
    return np.concatenate([next(iter(each.values())).argmax(axis=1) for each in answers])


def _source(model: Path, scratch: Path) -> Path:
    """A directory with the model: the one given, or a new one around an ``.onnx`` file."""
    if model.is_dir():
        return model
    if model.suffix != ".onnx":
        raise ModelError(
            f"{model} is no .onnx file.",
            remedy="A model is an .onnx file, or a directory with inference.pdmodel (or inference.json) and "
            "inference.pdiparams, or with model.onnx.",
        )
    source = scratch / "source"
    source.mkdir()
    shutil.copyfile(model, source / "model.onnx")
    return source


def _export(files: ModelFiles, source: Path, plain: Path, profile: Profile) -> None:
    """The FP32 model as the profile's first backend reads it best, in the new directory ``plain``."""
    if profile.serve.measured_on != "paddle":
        to_onnx(source, plain / "model.onnx")
        return
    plain.mkdir()
    graph = "inference.json" if files.is_pir else "inference.pdmodel"
    (plain / graph).write_bytes(files.graph)
    (plain / "inference.pdiparams").write_bytes(files.weights or b"")


def _with_golden(out: Path, name: str, precision: Precision, profile: Profile, case: Case) -> ModelEntry:
    """Write the golden file, from the model as it lies in the artifact, and return the model's entry.

    Where BF16 computes the whole or the rest of it, the golden outputs are those without BF16, as processors serve it
    that have none; so BF16's own difference from them, and half as much again, is allowed.
    """
    exact = model_files(out / name, name, precision=without_bf16(precision))
    outputs = load_predictor(exact, profile.serve.measured_on, measuring_options(profile)).run(case)
    arrays = {f"{GOLDEN_INPUT}{key}": value for key, value in case.items()}
    arrays |= {f"{GOLDEN_OUTPUT}{key}": value for key, value in outputs.items()}
    np.savez_compressed(out / "golden.npz", **arrays)
    apart = 0.0
    if precision != exact.precision:
        served = replace(exact, precision=precision)
        rounded = load_predictor(served, profile.serve.measured_on, measuring_options(profile)).run(case)
        apart = max(float(np.abs(np.subtract(rounded[key], value)).max(initial=0)) for key, value in outputs.items())
    largest = max(float(np.abs(value).max(initial=0)) for value in outputs.values())
    return ModelEntry(
        name=name,
        directory=name,
        precision=precision,
        backend=profile.serve.measured_on,
        golden="golden.npz",
        tolerance=max(_TOLERANCE, _TOLERANCES[precision] * largest, 1.5 * apart),
        reduce_range=exact.precision == "int8" and profile.serve.writes_7_bits,
    )


def _relative_error(output: str, actual: Sequence[Case], expected: Sequence[Case]) -> float:
    a, b = (np.concatenate([np.ravel(each[output]) for each in some]).astype(np.float64) for some in (actual, expected))
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-12))
