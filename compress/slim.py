"""PaddleSlim's static post-training quantization, in a process of its own.

PaddleSlim prints progress bars, leaves files in the working directory, switches Paddle to static graphs for good and
keeps a gigabyte; ``calibrate`` starts this file as a program in a scratch directory, so that none of it reaches the
caller. ``python -m compress.slim MODEL_DIR FEEDS.npz OUT`` is that program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.errors import CompressionError

Feeds = Mapping[str, NDArray[np.generic]]
# by output name of a Conv or MatMul: the largest absolute value of each input that is an activation
Thresholds = dict[str, dict[int, float]]

_QUANTIZED = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "mul", "matmul", "matmul_v2")
_SUFFIX = ".quantized.dequantized"
_THRESHOLDS = "thresholds.json"
_TIMEOUT_S = 1800


def calibrate(model_dir: Path, feeds: Sequence[Feeds], out: Path, *, weight_bits: int = 8) -> Thresholds:
    """Quantize ``inference.pdmodel`` in ``model_dir`` with PaddleSlim.

    Weights get one scale a channel, activations their largest absolute value over all feeds (``algo="abs_max"``):
    on PP-OCRv4 rec, ``avg`` cuts so much that a third more lines are read differently.

    Args:
        model_dir: With ``inference.pdmodel`` and ``inference.pdiparams``.
        feeds: Calibration data, by input name; batches may differ in shape.
        out: Directory for the quantized ``inference.pdmodel`` and ``inference.pdiparams``.
        weight_bits: 7 for processors without VNNI.

    Returns:
        What PaddleSlim measured. Outputs of Conv and MatMul keep their names in paddle2onnx's export, which those
        of the tensors between do not.

    Raises:
        CompressionError: PaddleSlim failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory(prefix="edgekit-slim-") as scratch:
        packed = {f"{i}:{name}": array for i, feed in enumerate(feeds) for name, array in feed.items()}
        np.savez(Path(scratch) / "feeds.npz", **packed)
        command = [sys.executable, "-m", "compress.slim", str(model_dir.resolve()), "feeds.npz", str(out.resolve())]
        try:
            result = subprocess.run(
                [*command, str(weight_bits)],
                cwd=scratch,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CompressionError(f"PaddleSlim did not finish {model_dir} in {_TIMEOUT_S} s.") from error
        written = Path(scratch) / _THRESHOLDS
        if result.returncode != 0 or not written.is_file():
            lines = [line.strip() for line in result.stderr.splitlines() if "Error" in line] or ["no message"]
            raise CompressionError(
                f"PaddleSlim could not quantize {model_dir} (status {result.returncode}): {lines[-1]}.",
                remedy="Check that the model runs on the calibration data in FP32, or serve it in FP32.",
            )
        thresholds = json.loads(written.read_text())
    return {output: {int(i): value for i, value in inputs.items()} for output, inputs in thresholds.items()}


def _read_feeds(path: Path) -> list[dict[str, NDArray[np.generic]]]:
    feeds: dict[int, dict[str, NDArray[np.generic]]] = {}
    with np.load(path) as packed:
        for key in packed.files:
            index, _, name = key.partition(":")
            feeds.setdefault(int(index), {})[name] = packed[key]
    return [feeds[i] for i in sorted(feeds)]


def _read_thresholds(executor: Any, paddle: Any, directory: Path) -> Thresholds:
    found: Thresholds = {}
    scope = paddle.static.Scope()
    with paddle.static.scope_guard(scope):
        program, _, _ = paddle.static.load_inference_model(str(directory / "inference"), executor)
        for operation in program.global_block().ops:
            if operation.type not in _QUANTIZED:
                continue
            slots = ("Input",) if "conv" in operation.type else ("X", "Y")
            inputs: dict[int, float] = {}
            for i, slot in enumerate(slots):
                name = operation.input(slot)[0]
                scale = scope.find_var(f"{name.removesuffix(_SUFFIX)}@scale")
                values = np.array(scale.get_tensor()) if name.endswith(_SUFFIX) and scale else np.zeros(0)
                if values.size == 1:  # weights have one for each channel
                    inputs[i] = float(values.item())
            found[operation.output(operation.output_names[0])[0]] = inputs
    return found


def _main(model_dir: Path, feeds_file: Path, out: Path, weight_bits: int) -> None:
    from compress.paddle_env import paddle  # isort: skip - sets the flag before PaddleSlim imports paddle
    from paddleslim.quant import quant_post_static

    feeds = _read_feeds(feeds_file)

    def batches() -> Iterator[list[dict[str, NDArray[np.generic]]]]:
        for feed in feeds:
            yield [feed]

    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    quant_post_static(
        executor,
        str(model_dir),
        str(out),
        data_loader=batches,
        model_filename="inference.pdmodel",
        params_filename="inference.pdiparams",
        save_model_filename="inference.pdmodel",
        save_params_filename="inference.pdiparams",
        batch_nums=len(feeds),
        algo="abs_max",
        weight_bits=weight_bits,
        quantizable_op_type=list(_QUANTIZED),
        onnx_format=True,
    )
    Path(_THRESHOLDS).write_text(json.dumps(_read_thresholds(executor, paddle, out)))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
