"""Post-training quantization of one model for one backend."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from compress.calibration import Feeds, Range, check_feeds, observe
from compress.export import to_onnx
from compress.graph import Graph
from compress.prepare import prepare
from compress.qdq import Plan, plan, write_pairs
from compress.slim import Thresholds, calibrate
from devices.errors import CompressionError
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


@dataclass(frozen=True)
class Measured:
    """A model and what calibration found: all that is needed to write it in INT8, or in part.

    Attributes:
        model: Prepared, FP32.
        plan: What of it is worth INT8.
        ranges: Of every tensor that needs one.
        reduce_range: Weights in 7 bits, for processors without VNNI.
    """

    model: onnx.ModelProto
    plan: Plan
    ranges: Mapping[str, Range]
    reduce_range: bool

    def int8(self, keep_fp32: Collection[str] = ()) -> onnx.ModelProto:
        """The INT8 model; operators whose first output is in ``keep_fp32`` stay FP32."""
        return write_pairs(self.model, self.plan.without(keep_fp32), self.ranges, reduce_range=self.reduce_range)


def quantize(
    model_dir: Path,
    feeds: Sequence[Feeds],
    out: Path,
    *,
    backend: Backend,
    reduce_range: bool = False,
    keep_fp32: Collection[str] = frozenset(),
    thresholds: Thresholds | None = None,
) -> QuantReport:
    """Quantize the model in ``model_dir`` to INT8 for ``backend``.

    A Paddle model goes through PaddleSlim. For backend paddle its output is the result; for the others its
    thresholds are written as Q/DQ pairs into the FP32 export (docs/adr/0006). An ONNX model, which PaddleSlim cannot
    read, is observed with ONNX Runtime instead.

    Args:
        model_dir: With ``inference.pdmodel`` and ``inference.pdiparams``, or ``model.onnx``.
        feeds: Calibration data by input name, preprocessed as in serving; batches may differ in shape.
        out: Directory for ``model.onnx``, or for ``inference.pdmodel`` and ``inference.pdiparams``.
        backend: What will run it.
        reduce_range: Weights in 7 bits, for processors without VNNI. Not for backend paddle: oneDNN takes 8 bits only,
            and quantizes the weights once more by its own rules.
        keep_fp32: First outputs of the operators that stay FP32, as ``compress.fallback`` names them.
        thresholds: From quantization-aware training, in place of what PaddleSlim measures.

    Raises:
        CalibrationError: There are no feeds, they do not fit the model, or it gives values that are not numbers on
            them.
        CompressionError: PaddleSlim or the export failed, or the format does not fit the backend.
        ModelError: There is no model in ``model_dir``.
        ValueError: An operator in ``keep_fp32`` is not one that would be INT8.
    """
    if backend == "paddle":
        check_feeds(feeds)
        model_files(model_dir, model_dir.name)
        int8 = calibrate(model_dir, feeds, out, keep_fp32=keep_fp32, thresholds=thresholds)
        written = [out / "inference.pdmodel", out / "inference.pdiparams"]
        return QuantReport(out, len(int8), sum(each.stat().st_size for each in written))
    return write(measure(model_dir, feeds, reduce_range=reduce_range, thresholds=thresholds), out, keep_fp32=keep_fp32)


def measure(
    model_dir: Path, feeds: Sequence[Feeds], *, reduce_range: bool = False, thresholds: Thresholds | None = None
) -> Measured:
    """Export and calibrate for the backends that read Q/DQ pairs. Arguments and errors as in ``quantize``."""
    check_feeds(feeds)
    files = model_files(model_dir, model_dir.name)
    with tempfile.TemporaryDirectory(prefix="edgekit-quantize-") as scratch:
        if thresholds is None and files.format == "paddle":
            thresholds = calibrate(model_dir, feeds, Path(scratch) / "slim")
        del files
        model = onnx.load(to_onnx(model_dir, Path(scratch) / "model.onnx"))
    prepared = prepare(model)
    del model  # of a big one there is no room for three
    chosen = plan(prepared, reduce_range=reduce_range)
    ranges = observe(prepared, feeds, sorted(chosen.activations))
    for name, limit in _limits(prepared, thresholds or {}).items():
        if name in ranges:
            ranges[name] = Range(max(ranges[name].low, -limit), min(ranges[name].high, limit))
    return Measured(prepared, chosen, ranges, reduce_range)


def write(measured: Measured, out: Path, *, keep_fp32: Collection[str] = ()) -> QuantReport:
    """Write ``out/model.onnx``; ``keep_fp32`` as in ``quantize``."""
    if not measured.plan.readers:
        raise CompressionError("The model has no convolution or matrix product that INT8 could make faster.")
    unknown = sorted(set(keep_fp32) - measured.plan.readers.keys())
    if unknown:
        raise ValueError(f"not among the operators that would be INT8: {unknown}")
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(measured.int8(keep_fp32), out / "model.onnx")
    operators = len(measured.plan.without(keep_fp32).readers)
    return QuantReport(out, operators, (out / "model.onnx").stat().st_size)


def _limits(model: onnx.ModelProto, thresholds: Thresholds) -> dict[str, float]:
    """Thresholds by the tensor's name in ``model``; where readers differ, the widest.

    PaddleSlim's thresholds are symmetric, so they say where to cut; which side of zero is used was observed. A tensor
    is found by the operator that reads it, because only outputs of Conv and MatMul keep their names on the way.
    """
    found: dict[str, float] = {}
    for output, node in Graph(model).producers.items():
        for i, limit in thresholds.get(output, {}).items():
            found[node.input[i]] = max(limit, found.get(node.input[i], 0.0))
    return found
