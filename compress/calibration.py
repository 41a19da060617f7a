"""What values run through a model on calibration data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from devices.errors import CalibrationError

Feeds = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Range:
    """The values of one tensor: what INT8 must be able to express."""

    low: float
    high: float


def observe(model: onnx.ModelProto, feeds: Sequence[Feeds], names: Sequence[str]) -> dict[str, Range]:
    """Run ``model`` on every feed and return the range of each tensor in ``names``.

    A range reaches from the smallest to the largest value over all feeds, as in PaddleSlim's ``abs_max``.

    Raises:
        CalibrationError: There are no feeds, or the model gives a value that is not a number.
    """
    if not feeds:
        raise CalibrationError("There is no calibration data: the range of values in the model cannot be seen.")
    widened = onnx.ModelProto()
    widened.CopyFrom(model)
    present = {each.name for each in model.graph.output}
    inputs = {each.name for each in model.graph.input}
    inner = [name for name in names if name not in inputs]
    widened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner if name not in present)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    # fusing would remove the very tensors that are asked for
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(widened.SerializeToString(), options, providers=["CPUExecutionProvider"])
    lows, highs = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for feed in feeds:
        values = dict(zip(inner, session.run(inner, dict(feed)), strict=True)) if inner else {}
        values.update({name: feed[name] for name in names if name in inputs})
        lows = np.minimum(lows, [float(values[name].min()) for name in names])
        highs = np.maximum(highs, [float(values[name].max()) for name in names])
    for name, low, high in zip(names, lows, highs, strict=True):
        if not np.isfinite(low) or not np.isfinite(high):
            raise CalibrationError(f"On the calibration data, tensor {name!r} takes values that are not numbers.")
    return {name: Range(float(low), float(high)) for name, low, high in zip(names, lows, highs, strict=True)}
