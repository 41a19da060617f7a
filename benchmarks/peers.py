"""Other people's tools, in an environment of their own, as they come from PyPI.

Each environment has a lock file under ``requirements/`` that pins it by hash:

    bench            NNCF. It writes a model; that is timed here, beside ours, by the same library in the same process.
    bench-rapidocr   RapidOCR 3 on OpenVINO and its HTTP server
    bench-rapidocr1  rapidocr-openvino 1.4 with the OpenVINO that it pins
    bench-litserve   LitServe, and what the kit's text model needs to run inside it
    bench-scikit     scikit-learn: gradient boosting for the behaviour model, logistic regression for a graph network
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.harness import ROOT
from compress.calibration import Feeds
from devices.errors import DownloadError, EdgeKitError
from devices.state import ensure_state_dir

Environment = Literal["bench", "bench-rapidocr", "bench-rapidocr1", "bench-litserve", "bench-scikit"]
_NNCF = Path(__file__).with_name("nncf_ptq.py")


def peers_python(environment: Environment = "bench") -> Path:
    """The interpreter of one of the peers' environments, installed on first use (about a minute).

    Raises:
        DownloadError: pip could not install them.
    """
    lock = ROOT / "requirements" / f"{environment}.lock"
    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    target = ensure_state_dir("cache", "bench") / f"peers-{key}"
    python = target / "bin" / "python"
    if not (target / ".installed").is_file():
        commands: Sequence[list[str]] = (
            [sys.executable, "-m", "venv", "--clear", str(target)],
            [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(lock)],
        )
        for command in commands:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                last = (result.stderr.strip().splitlines() or ["no message"])[-1]
                raise DownloadError(
                    f"The peers of the benchmark could not be installed: {last}",
                    state="What does not need them is measured all the same.",
                    remedy="Check that this machine reaches its package index, then run the command again.",
                )
        (target / ".installed").touch()
    return python


def nncf_quantize(onnx_file: Path, feeds: Sequence[Feeds], out: Path, *, transformer: bool) -> Path:
    """NNCF's default post-training quantization of ``onnx_file`` as ``model.xml`` in ``out``.

    Args:
        onnx_file: In FP32.
        feeds: Its calibration data: what ours sees too.
        out: Made if missing.
        transformer: Whether NNCF is told that the model is one.

    Raises:
        DownloadError: NNCF could not be installed.
        EdgeKitError: It failed on the model.
    """
    python = peers_python()
    out.mkdir(parents=True, exist_ok=True)
    arrays = {f"{number}/{name}": array for number, feed in enumerate(feeds) for name, array in feed.items()}
    np.savez(out / "feeds.npz", **arrays)
    kind = "transformer" if transformer else "other"
    command = [str(python), str(_NNCF), str(onnx_file), str(out / "feeds.npz"), str(out / "model.xml"), kind]
    # NNCF would report its use to its makers if openvino-telemetry were installed, which the lock leaves out
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"NNCF_CI": "1"}, check=False)
    (out / "feeds.npz").unlink()
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise EdgeKitError(f"NNCF failed on {onnx_file}: {last}", remedy="Run the command again and read its log.")
    return out
