"""Post-training quantization of one model for one backend."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from compress.calibration import Feeds, Range, observe
from compress.export import to_onnx
from compress.graph import Graph, prepare
from compress.qdq import plan, write_pairs
from compress.slim import Thresholds, calibrate
from devices.errors import CalibrationError
from runtime.predictor import Backend, model_files


@dataclass(frozen=True)
class QuantReport:
    """What ``quantize`` wrote.

    Attributes:
        directory: Where the INT8 model lies, readable by ``runtime.predictor.model_files``.
        int8_operators: Operators that compute in INT8.
        size_bytes: Of the model's files.
    """

    directory: Path
    int8_operators: int
    size_bytes: int


def quantize(
    model_dir: Path, feeds: Sequence[Feeds], out: Path, *, backend: Backend, reduce_range: bool = False
) -> QuantReport:
    """Quantize the model in ``model_dir`` to INT8 for ``backend``.

    A Paddle model goes through PaddleSlim. For backend paddle its output is the result; for the others its
    thresholds are written as Q/DQ pairs into the FP32 export (docs/adr/0002). An ONNX model, which PaddleSlim cannot
    read, is observed with ONNX Runtime instead.

    Args:
        model_dir: With ``inference.pdmodel`` and ``inference.pdiparams``, or ``model.onnx``.
        feeds: Calibration data by input name, preprocessed as in serving; batches may differ in shape.
        out: Directory for ``model.onnx``, or for ``inference.pdmodel`` and ``inference.pdiparams``.
        backend: What will run it.
        reduce_range: Weights in 7 bits, for processors without VNNI.

    Raises:
        CalibrationError: There are no feeds, or the model gives values that are not numbers on them.
        CompressionError: PaddleSlim or the export failed, or the format does not fit the backend.
        ModelError: There is no model in ``model_dir``.
    """
    if not feeds:
        raise CalibrationError(f"There is no calibration data for {model_dir}.")
    files = model_files(model_dir, model_dir.name)
    out.mkdir(parents=True, exist_ok=True)
    if backend == "paddle":
        thresholds = calibrate(model_dir, feeds, out, weight_bits=7 if reduce_range else 8)
        written = [out / "inference.pdmodel", out / "inference.pdiparams"]
        return QuantReport(out, len(thresholds), sum(each.stat().st_size for each in written))
    with tempfile.TemporaryDirectory(prefix="edgekit-quantize-") as scratch:
        model = onnx.load(to_onnx(model_dir, Path(scratch) / "model.onnx"))
        thresholds = {} if files.format == "onnx" else calibrate(model_dir, feeds, Path(scratch) / "slim")
    prepared = prepare(model)
    chosen = plan(prepared)
    ranges = observe(prepared, feeds, sorted(chosen.activations))
    for name, limit in _limits(model, thresholds).items():
        if name in ranges:
            ranges[name] = Range(max(ranges[name].low, -limit), min(ranges[name].high, limit))
    onnx.save(write_pairs(prepared, chosen, ranges, reduce_range=reduce_range), out / "model.onnx")
    return QuantReport(out, len(chosen.readers), (out / "model.onnx").stat().st_size)


def _limits(model: onnx.ModelProto, thresholds: Thresholds) -> Mapping[str, float]:
    """PaddleSlim's thresholds by the tensor's name in the ONNX graph; where readers differ, the widest.

    PaddleSlim's are symmetric, so they say where to cut; which side of zero is used was observed.
    """
    found: dict[str, float] = {}
    for output, node in Graph(model).producers.items():
        for i, limit in thresholds.get(output, {}).items():
            found[node.input[i]] = max(limit, found.get(node.input[i], 0.0))
    return found
