"""PaddleSlim's static post-training quantization, in a process of its own.

PaddleSlim prints progress bars, leaves files in the working directory, switches Paddle to static graphs for good and
keeps a gigabyte; ``calibrate`` starts this file as a program in a scratch directory, so that none of it reaches the
caller. ``python -m compress.slim MODEL_DIR FEEDS.npz OUT ORDER.json`` is that program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
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


def calibrate(
    model_dir: Path,
    feeds: Sequence[Feeds],
    out: Path,
    *,
    keep_fp32: Collection[str] = (),
    thresholds: Thresholds | None = None,
) -> Thresholds:
    """Quantize ``inference.pdmodel`` in ``model_dir`` with PaddleSlim.

    Weights get one scale a channel, activations their largest absolute value over all feeds (``algo="abs_max"``):
    on PP-OCRv4 rec, ``avg`` cuts so much that a third more lines are read differently.

    Args:
        model_dir: With ``inference.pdmodel`` and ``inference.pdiparams``.
        feeds: Calibration data, by input name; batches may differ in shape.
        out: Directory for the quantized ``inference.pdmodel`` and ``inference.pdiparams``.
        keep_fp32: Outputs of Conv and MatMul operators that stay FP32.
        thresholds: From quantization-aware training; written into ``out`` in place of what PaddleSlim measures.

    Returns:
        What is in ``out``. Outputs of Conv and MatMul keep their names in paddle2onnx's export, which those
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
        order = {"keep_fp32": sorted(keep_fp32), "thresholds": thresholds or {}}
        (Path(scratch) / "order.json").write_text(json.dumps(order))
        command = [sys.executable, "-m", "compress.slim", str(model_dir.resolve()), "feeds.npz", str(out.resolve())]
        try:
            result = subprocess.run(
                [*command, "order.json"],
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
        return _from_json(json.loads(written.read_text()))


def _from_json(thresholds: Mapping[str, Mapping[str, float]]) -> Thresholds:
    return {output: {int(i): value for i, value in inputs.items()} for output, inputs in thresholds.items()}


def _read_feeds(path: Path) -> list[dict[str, NDArray[np.generic]]]:
    feeds: dict[int, dict[str, NDArray[np.generic]]] = {}
    with np.load(path) as packed:
        for key in packed.files:
            index, _, name = key.partition(":")
            feeds.setdefault(int(index), {})[name] = packed[key]
    return [feeds[i] for i in sorted(feeds)]


def _quantized(scope: Any, program: Any) -> Iterator[tuple[str, int, Any]]:
    """Output name, input index and scale (a tensor of one value) of each activation that PaddleSlim quantized."""
    for operation in program.global_block().ops:
        if operation.type not in _QUANTIZED:
            continue
        for i, slot in enumerate(("Input",) if "conv" in operation.type else ("X", "Y")):
            name = operation.input(slot)[0]
            scale = scope.find_var(f"{name.removesuffix(_SUFFIX)}@scale")
            if name.endswith(_SUFFIX) and scale and np.array(scale.get_tensor()).size == 1:  # a weight has many
                yield operation.output(operation.output_names[0])[0], i, scale.get_tensor()


def _finish(executor: Any, paddle: Any, directory: Path, keep_fp32: Collection[str], given: Thresholds) -> Thresholds:
    """Write the ``given`` thresholds over PaddleSlim's, and return what then is in the program.

    An operator that PaddleSlim skipped still reads a pair if the one before it wrote one, and oneDNN then makes it INT8
    all the same; so it is made to read the tensor itself.
    """
    found: Thresholds = {}
    scope = paddle.static.Scope()
    with paddle.static.scope_guard(scope):
        program, feeds, fetches = paddle.static.load_inference_model(str(directory / "inference"), executor)
        for operation in program.global_block().ops:
            if operation.type in _QUANTIZED and set(operation.output_arg_names) & set(keep_fp32):
                for name in operation.input_arg_names:
                    operation._rename_input(name, name.removesuffix(_SUFFIX))
        for output, i, scale in _quantized(scope, program):
            if i in given.get(output, {}):
                scale.set(np.array([given[output][i]], np.float32), paddle.CPUPlace())
            found.setdefault(output, {})[i] = float(np.array(scale).item())
        if given or keep_fp32:
            inputs = [program.global_block().var(name) for name in feeds]
            paddle.static.save_inference_model(str(directory / "inference"), inputs, fetches, executor, program=program)
    return found


def _weights_or_inputs(executor: Any, paddle: Any, directory: Path, outputs: Collection[str]) -> list[str]:
    """Names of tensors that only the operators which make ``outputs`` read: PaddleSlim skips operators by these."""
    if not outputs:
        return []
    with paddle.static.scope_guard(paddle.static.Scope()):
        program, _, _ = paddle.static.load_inference_model(str(directory / "inference"), executor)
    operations = program.global_block().ops
    read = [name for each in operations for name in each.input_arg_names]
    found = []
    for operation in operations:
        if set(operation.output_arg_names) & set(outputs):
            own = [name for name in operation.input_arg_names if read.count(name) == 1]
            if not own:
                raise ValueError(f"nothing tells {operation.output_arg_names} from other operators")
            found.append(own[0])
    return found


def _main(model_dir: Path, feeds_file: Path, out: Path, order: Mapping[str, Any]) -> None:
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
        skip_tensor_list=_weights_or_inputs(executor, paddle, model_dir, order["keep_fp32"]) or None,
        quantizable_op_type=list(_QUANTIZED),
        onnx_format=True,
    )
    given = _from_json(order["thresholds"])
    Path(_THRESHOLDS).write_text(json.dumps(_finish(executor, paddle, out, order["keep_fp32"], given)))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), json.loads(Path(sys.argv[4]).read_text()))
