"""The artifact of an OCR set: its models, its characters, and golden outputs that a device can check itself by."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from compress.contest import measuring_options
from devices.profile import Profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Artifact, Decides, ModelEntry, Precision
from runtime.choice import Golden
from runtime.ocr.models import DICTIONARY_NAME, OcrModels
from runtime.ocr.preprocess import det_tensor, line_tensor
from runtime.parity import decided_otherwise
from runtime.predictor import Backend, ModelFiles, load_predictor, model_files, without_bf16

_DECIDES: dict[str, Decides] = {"det": "regions", "rec": "text", "cls": "rows"}
# least and most that may differ from golden outputs, which are probabilities
_TOLERANCES: dict[Precision, tuple[float, float]] = {
    "fp32": (1e-3, 1e-3),
    "bf16": (0.05, 0.9),
    "int8": (0.1, 0.9),
    "int8+bf16": (0.1, 0.9),
}
_REGIONS = (0.05, 0.15)  # and of det's regions: a lost line is a quarter of them
_DECIMALS = 4  # of golden outputs: what is below a probability of 0.0001 would be most of the file

Chosen = tuple[Path, Precision]  # a model's directory, and its precision


def write_ocr_artifact(out: Path, chosen: Mapping[str, Chosen], source: OcrModels, profile: Profile) -> None:
    """Write models, dictionary, golden outputs and ``artifact.json`` into the empty directory ``out``.

    Args:
        out: The artifact's directory.
        chosen: By stage (``det``, ``rec``, ``cls``).
        source: What they were made from; characters and settings are taken over.
        profile: Its first backend makes the golden outputs.
    """
    (out / "golden").mkdir()
    entries = []
    for stage, (directory, precision) in chosen.items():
        shutil.copytree(directory, out / stage)
        files = model_files(out / stage, f"ocr-{stage}", precision=precision)
        golden = _golden(files, stage, profile)
        np.savez_compressed(
            out / "golden" / f"{stage}.npz",
            **{f"{GOLDEN_INPUT}{key}": value for key, value in golden.inputs.items()},
            **{f"{GOLDEN_OUTPUT}{key}": value for key, value in golden.outputs.items()},
        )
        tolerance, flips = _allowed(files, precision, golden, _DECIDES[stage])
        entries.append(
            ModelEntry(
                name=f"ocr-{stage}",
                directory=stage,
                precision=precision,
                backend=profile.serve.measured_on,
                golden=f"golden/{stage}.npz",
                tolerance=tolerance,
                decides=_DECIDES[stage],
                flips=flips,
                reduce_range=precision.startswith("int8") and profile.serve.writes_7_bits,
            )
        )
    # one character a line, as read: from dict.txt, or from the model's own metadata
    (out / "rec" / DICTIONARY_NAME).write_bytes("\n".join([*source.characters, ""]).encode())
    Artifact(kind="ocr", profile=profile.name, models=tuple(entries), ocr=source.settings).write(out)


def _golden(files: ModelFiles, stage: str, profile: Profile) -> Golden:
    """A small drawn input and the output of the model as it will be served, but for BF16, which not all can.

    Drawn and not taken from the calibration pictures, which may be customers'; text and not noise, because det
    answers zero to noise, and so would a broken det.
    """
    options = measuring_options(profile)
    exact = replace(files, precision=without_bf16(files.precision))
    predictor = load_predictor(exact, profile.serve.measured_on, options)
    feeds: dict[str, NDArray[np.generic]] = {predictor.inputs[0].name: _feed(stage)}
    return Golden(
        feeds, {name: np.asarray(value, np.float32).round(_DECIMALS) for name, value in predictor.run(feeds).items()}
    )


def _allowed(files: ModelFiles, precision: Precision, golden: Golden, decides: Decides) -> tuple[float, float]:
    """How much values, and det's regions, may differ: half as much again as those of honest predictors do.

    BF16 is compared with FP32, which serves where a processor has no BF16; INT8 between two libraries, since other
    processors round in other places, as other libraries do. At the edge of a det region that is much, so there the
    regions are the test. The text of rec's line and the direction of cls's stay the same.
    """
    backends: tuple[Backend, ...] = ()
    if precision == "bf16":
        backends = ("openvino",)
    elif precision.startswith("int8") and files.format == "onnx":
        backends = ("openvino", "onnxruntime")
    answers = [load_predictor(files, backend).run(golden.inputs) for backend in backends]
    pairs = [(answer[name], want) for name, want in golden.outputs.items() for answer in answers]
    apart = max((float(np.abs(np.subtract(got, want, dtype=np.float32)).max()) for got, want in pairs), default=0.0)
    tolerance = _within(_TOLERANCES[precision], 1.5 * apart)
    if decides != "regions":
        return tolerance, 0.0
    otherwise = max((decided_otherwise(*pair, decides, tolerance=tolerance) for pair in pairs), default=0.0)
    return tolerance, _within(_REGIONS, 1.5 * otherwise)


def _within(bounds: tuple[float, float], value: float) -> float:
    return min(bounds[1], max(bounds[0], value))


def _feed(stage: str) -> NDArray[np.float32]:
    if stage == "det":
        page = np.full((192, 192, 3), 255, np.uint8)
        for number, text in enumerate(("EDGE 2026", "KIT 01234", "BANK 4567", "CASE 8901")):  # all of one size
            _write(page, text, (12, 36 + 48 * number), 0.8)
        return det_tensor(page, (192, 192))
    line = np.full((48, 256, 3), 255, np.uint8)
    _write(line, "EDGE KIT 2026", (8, 35), 1.0)
    return line_tensor([line], 48, 192 if stage == "cls" else 256)


def _write(image: NDArray[np.uint8], text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 20), 2, cv2.LINE_AA)
