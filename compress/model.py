"""Compressing any Paddle or ONNX model, measured by how far INT8 agrees with FP32."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compress.calibration import Feeds
from compress.evaluate import accuracy, interleaved_medians_ms
from compress.export import to_onnx
from compress.gate import Verdict, and_faster, judge
from compress.quantize import quantize
from compress.report import Row, fingerprint, write_report
from devices.errors import CalibrationError, RequestError
from devices.profile import Profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Artifact, ModelEntry
from runtime.predictor import Predictor, RunOptions, load_predictor, model_files

_TIMED_FEEDS = 4
_TOLERANCE = 1e-3
_INT8_TOLERANCE = 0.05  # of the largest output: INT8 kernels of other processors round differently


def compress_model(
    model: Path,
    calibration_npz: Path,
    profile: Profile,
    out: Path,
    *,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Quantize a model for the profile's first backend and keep INT8 only if the gate passes it and it is faster.

    The last quarter of the cases is kept from calibration and measured on. A model with one output of classes (N, C)
    is measured by how often both forms choose the same class, any other by its outputs' relative error.

    Args:
        model: Directory of a Paddle or ONNX model, or an ``.onnx`` file.
        calibration_npz: Inputs by name, one case a row: (cases, ...) for each, of the model's dtypes.
        profile: Whose backend, threads and gate apply.
        out: The artifact's directory; made if needed.
        seed: Noted in the report; nothing here is random.
        progress: Called with a stage and the share of it that is done, 0 to 1.

    Returns:
        ``{"out", "backend", "cases": {...}, "rows": [...]}``, rows as in report.json.

    Raises:
        CalibrationError: The cases cannot be read, are fewer than four, or do not fit the model.
        ModelError: There is no model.
        CompressionError: The export or the quantization failed.
        BackendError: The backend is not installed or refuses the model.
    """
    report = progress or (lambda stage, share: None)
    backend = profile.serve.backends[0]
    options = RunOptions(threads=profile.serve.threads)
    cases = _read_cases(calibration_npz)
    held_out = max(1, len(cases) // 4)
    looked_at, measured = cases[:-held_out], cases[-held_out:]
    name = re.sub(r"[^a-z0-9]+", "-", model.stem.lower()).strip("-") or "model"
    with tempfile.TemporaryDirectory(prefix="edgekit-model-") as scratch_name:
        scratch = Path(scratch_name)
        source, plain, small = scratch / "source", scratch / "fp32", scratch / "int8"
        report("export", 0.0)
        if model.is_file():
            source.mkdir()
            shutil.copyfile(model, source / "model.onnx")
        else:
            source = model
        if backend == "paddle" and model_files(source, name).format == "paddle":
            shutil.copytree(source, plain, ignore=lambda _, names: [n for n in names if not n.startswith("inference.")])
        else:
            to_onnx(source, plain / "model.onnx")
        fp32 = load_predictor(model_files(plain, name), backend, options)
        _check(fp32, cases, calibration_npz)
        expected = [fp32.run(case) for case in measured]
        metric, higher_is_better, best = _metric(expected)
        if not profile.serve.int8 or model_files(plain, name).is_pir:
            why = "INT8 was not tried: the profile does not use it, or PaddleSlim cannot read inference.json."
            times = interleaved_medians_ms({"fp32": fp32}, measured[:_TIMED_FEEDS])
            variants: dict[str, tuple[Path, Predictor, float, str]] = {"fp32": (plain, fp32, best, why)}
            kept: Literal["fp32", "int8"] = "fp32"
        else:
            report("quantize", 0.0)
            quantize(source, looked_at, small, backend=backend, reduce_range=profile.serve.reduce_range)
            int8 = load_predictor(model_files(small, name, precision="int8"), backend, options)
            report("measure", 0.0)
            value = _value(metric, [int8.run(case) for case in measured], expected)
            times = interleaved_medians_ms({"fp32": fp32, "int8": int8}, measured[:_TIMED_FEEDS])
            verdict = _gate(best, value, times, profile, higher_is_better=higher_is_better)
            kept = "int8" if verdict.passed else "fp32"
            variants = {
                "fp32": (plain, fp32, best, "The reference." if verdict.passed else "Kept: INT8 did not pass."),
                "int8": (small, int8, value, verdict.sentence),
            }
        report("measure", 1.0)
        rows = [
            Row(
                name,
                variant,
                metric,
                value,
                higher_is_better,
                times[variant],
                sum(each.stat().st_size for each in directory.iterdir()),
                backend,
                sentence,
                chosen=variant == kept,
            )
            for variant, (directory, _, value, sentence) in variants.items()
        ]
        directory, predictor, _, _ = variants[kept]
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out / name, ignore_errors=True)
        shutil.copytree(directory, out / name)
        outputs = predictor.run(cases[0])
    arrays = {f"{GOLDEN_INPUT}{key}": value for key, value in cases[0].items()}
    arrays |= {f"{GOLDEN_OUTPUT}{key}": value for key, value in outputs.items()}
    np.savez_compressed(out / "golden.npz", **arrays)
    largest = max(float(np.abs(value).max(initial=0)) for value in outputs.values())
    entry = ModelEntry(
        name=name,
        directory=name,
        precision=kept,
        backend=backend,
        golden="golden.npz",
        tolerance=max(_TOLERANCE, _INT8_TOLERANCE * largest if kept == "int8" else 0.0),
    )
    write_report(
        out,
        rows,
        seed=seed,
        data_fingerprints={"model": fingerprint(model), "calibration": fingerprint(calibration_npz)},
        command=(
            f"edgekit compress model --model {model} --calibration {calibration_npz} "
            f"--profile {profile.name} --out {out} --seed {seed}"
        ),
    )
    Artifact(kind="model", profile=profile.name, models=(entry,)).write(out)
    return {
        "out": str(out),
        "backend": backend,
        "cases": {"calibration": len(looked_at), "measured": len(measured)},
        "rows": json.loads((out / "report.json").read_text(encoding="utf-8"))["rows"],
    }


def _read_cases(path: Path) -> list[dict[str, NDArray[np.generic]]]:
    try:
        # opened here, because numpy leaves a damaged file open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"{path} cannot be read as .npz: {error}.") from error
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise CalibrationError(f"The inputs in {path} differ in their number of cases: {lengths}.")
    (count,) = set(lengths.values())
    if count < 4:
        raise CalibrationError(f"{path} holds {count} cases; calibrating and measuring need at least 4.")
    return [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)]


def _check(predictor: Predictor, cases: Sequence[Feeds], path: Path) -> None:
    try:
        predictor.run(cases[0])
    except RequestError as error:
        raise CalibrationError(f"The cases in {path} do not fit the model. {error.problem}") from error


def _metric(expected: Sequence[Feeds]) -> tuple[str, bool, float]:
    """The metric's name, its direction, and what FP32 has of it."""
    shapes = [value.shape for value in expected[0].values()]
    if len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][1] > 1:
        return "same class as fp32", True, 1.0
    return "relative error against fp32", False, 0.0


def _value(metric: str, actual: Sequence[Feeds], expected: Sequence[Feeds]) -> float:
    if metric == "same class as fp32":
        chosen = [
            np.concatenate([next(iter(each.values())).argmax(axis=1) for each in some]) for some in (actual, expected)
        ]
        return accuracy(chosen[0], chosen[1])
    names = expected[0].keys()
    errors = []
    for name in names:
        a = np.concatenate([np.ravel(each[name]) for each in actual]).astype(np.float64)
        b = np.concatenate([np.ravel(each[name]) for each in expected]).astype(np.float64)
        errors.append(float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-12)))
    return max(errors)


def _gate(before: float, after: float, times: dict[str, float], profile: Profile, *, higher_is_better: bool) -> Verdict:
    verdict = judge(before, after, max_drop=profile.compress.max_drop, higher_is_better=higher_is_better)
    return and_faster(verdict, reference_ms=times["fp32"], candidate_ms=times["int8"])
