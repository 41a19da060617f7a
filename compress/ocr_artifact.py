"""The artifact of an OCR set: its models, its characters, and golden outputs that a device can check itself by."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from devices.profile import Profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Artifact, ModelEntry
from runtime.ocr.models import DICTIONARY_NAME, OcrModels
from runtime.ocr.preprocess import det_tensor, line_tensor
from runtime.predictor import ModelFiles, Predictor, RunOptions, load_predictor, model_files

# of golden outputs, which are probabilities; INT8 kernels round differently from each other
_FP32_TOLERANCE, _INT8_TOLERANCES = 1e-3, (0.1, 0.9)

Chosen = tuple[Path, Literal["fp32", "int8"]]  # a model's directory, and its precision


def write_ocr_artifact(out: Path, chosen: Mapping[str, Chosen], source: OcrModels, profile: Profile) -> None:
    """Write models, dictionary, golden outputs and ``artifact.json`` into the empty directory ``out``.

    Args:
        out: The artifact's directory.
        chosen: By stage (``det``, ``rec``, ``cls``).
        source: What they were made from; characters and settings are taken over.
        profile: Its first backend makes the golden outputs.
    """
    (out / "golden").mkdir()
    backend = profile.serve.measured_on
    entries = []
    for stage, (directory, precision) in chosen.items():
        shutil.copytree(directory, out / stage)
        files = model_files(out / stage, f"ocr-{stage}", precision=precision)
        golden = f"golden/{stage}.npz"
        _write_golden(out / golden, load_predictor(files, backend, RunOptions(threads=profile.serve.threads)), stage)
        tolerance = _int8_tolerance(out / golden, files) if precision == "int8" else _FP32_TOLERANCE
        entries.append(
            ModelEntry(
                name=f"ocr-{stage}",
                directory=stage,
                precision=precision,
                backend=backend,
                golden=golden,
                tolerance=tolerance,
                reduce_range=precision == "int8" and profile.serve.writes_7_bits,
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
