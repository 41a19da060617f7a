"""Other people's tools, in an environment of their own, as they come from PyPI.

Each environment has a lock file under ``requirements/`` that pins it by hash:

    bench            NNCF and ONNX Runtime's quantizer. They write a model; that is timed here, beside ours, in
                     the same process.
    bench-inc        Intel Neural Compressor, which does the same with older libraries
    bench-rapidocr   RapidOCR 3 on OpenVINO and its HTTP server
    bench-rapidocr1  rapidocr-openvino 1.4 with the OpenVINO that it pins
    bench-litserve   LitServe, and what the kit's text model needs to run inside it
    bench-paddle     Paddle Inference behind Flask
    bench-scikit     scikit-learn: gradient boosting for the behaviour model, logistic regression for a graph network
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.feeds_file import write_feeds
from benchmarks.harness import ROOT
from compress.calibration import Feeds
from devices.errors import DownloadError, EdgeKitError
from devices.state import ensure_state_dir
from runtime.predictor import Backend

Environment = Literal[
    "bench", "bench-inc", "bench-rapidocr", "bench-rapidocr1", "bench-litserve", "bench-paddle", "bench-scikit"
]
_HERE = Path(__file__).parent
_INSTALLED = ".installed"
_UNUSED_S = 86_400


@dataclass(frozen=True)
class Quantizer:
    """A peer that writes a model in INT8: ``python SCRIPT MODEL.onnx FEEDS.npz OUT transformer|other``.

    Attributes:
        shown: Its name.
        environment: Where it is installed.
        script: Of this folder.
        file: What it writes.
        backend: What its model is made for; Neural Compressor's has operators that only ONNX Runtime knows.
    """

    shown: str
    environment: Environment
    script: str
    file: str
    backend: Backend

    def against(self, ours: str) -> str:
        """The question of a row."""
        if self.backend == "openvino":
            return f"{self.shown}'s default PTQ against {ours}, both on OpenVINO"
        return f"{self.shown}'s default PTQ, on ONNX Runtime, against {ours}"


QUANTIZERS = (
    Quantizer("NNCF", "bench", "nncf_ptq.py", "model.xml", "openvino"),
    Quantizer("ONNX Runtime", "bench", "ort_ptq.py", "model.onnx", "onnxruntime"),
    Quantizer("Intel Neural Compressor", "bench-inc", "inc_ptq.py", "model.onnx", "onnxruntime"),
)


def peers_python(environment: Environment) -> Path:
    """The interpreter of one of the peers' environments, installed on first use (about a minute).

    Those of older requirements are removed then.

    Raises:
        DownloadError: pip could not install them.
    """
    lock, folder = ROOT / "requirements" / f"{environment}.lock", ensure_state_dir("cache", "bench")
    target = folder / _folder_of(lock)
    python = target / "bin" / "python"
    if not (target / _INSTALLED).is_file():
        _clear(folder, {_folder_of(each) for each in lock.parent.glob("bench*.lock")})
        commands: Sequence[list[str]] = (
            [sys.executable, "-m", "venv", "--clear", str(target)],
            [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(lock)],
        )
        for command in commands:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise DownloadError(
                    f"The peers of the benchmark could not be installed: {_last_line(result.stderr)}",
                    state="What does not need them is measured all the same.",
                    remedy="Check that this machine reaches its package index, then run the command again.",
                )
    (target / _INSTALLED).touch()  # used now
    return python


def _folder_of(lock: Path) -> str:
    return f"peers-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"


def _clear(folder: Path, named: Collection[str]) -> None:
    """Remove environments that no lock of this checkout names; another checkout may use those of the last day."""
    for old in folder.glob("peers-*"):
        marker = old / _INSTALLED
        last = (marker if marker.exists() else old).stat().st_mtime
        if old.name not in named and time.time() - last > _UNUSED_S:
            marker.unlink(missing_ok=True)  # first: half of an environment is none
            shutil.rmtree(old)


def run_peer(environment: Environment, script: str, *arguments: str | Path) -> None:
    """Run ``script`` of this folder in a peers' environment.

    Raises:
        DownloadError: The environment could not be installed.
        EdgeKitError: The script failed.
    """
    # -P: else this folder would be searched first, where runtime.py hides the package of that name
    command = [str(peers_python(environment)), "-P", str(_HERE / script), *map(str, arguments)]
    # NNCF would report its use to its makers if openvino-telemetry were installed, which the lock leaves out
    given = os.environ | {"PYTHONPATH": str(ROOT), "NNCF_CI": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=given, check=False)
    if result.returncode != 0:
        raise EdgeKitError(
            f"{script} failed: {_last_line(result.stderr)}",
            state="Its rows are left out.",
            remedy=f"Run it by itself: {' '.join(command)}",
        )


def peer_answers(
    environment: Environment, script: str, table: Mapping[str, NDArray[Any]], scratch: Path
) -> dict[str, NDArray[np.float64]]:
    """What ``script`` says of a table: it reads the arrays from one file and writes its answers, by name, to another.

    Raises:
        DownloadError: The environment could not be installed.
        EdgeKitError: The script failed.
    """
    np.savez(scratch / "table.npz", **table)
    run_peer(environment, script, scratch / "table.npz", scratch / "answers.npz")
    with np.load(scratch / "answers.npz") as file:
        return {name: file[name] for name in file.files}


def quantize_by(quantizer: Quantizer, onnx_file: Path, feeds: Sequence[Feeds], out: Path, *, transformer: bool) -> Path:
    """A peer's default post-training quantization of ``onnx_file``, as a model in ``out``.

    Args:
        quantizer: One of ``QUANTIZERS``.
        onnx_file: In FP32.
        feeds: Its calibration data: what ours sees too.
        out: Made if missing.
        transformer: Whether the peer is told that the model is one, if it can be told.

    Raises:
        DownloadError: The peer could not be installed.
        EdgeKitError: It failed on the model.
    """
    out.mkdir(parents=True, exist_ok=True)
    given = out / "feeds.npz"
    write_feeds(given, feeds)
    kind = "transformer" if transformer else "other"
    try:
        run_peer(quantizer.environment, quantizer.script, onnx_file, given, out / quantizer.file, kind)
    finally:
        given.unlink()
    return out


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
