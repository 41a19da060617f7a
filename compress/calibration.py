"""What values run through a model on calibration data."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from compress.graph import copy_without
from devices.errors import CalibrationError

Feeds = Mapping[str, NDArray[np.generic]]
# the sum finds what the other two may step over: one value that is not a number makes it not a number
_REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceSum")


@dataclass(frozen=True)
class Range:
    """The values of one tensor: what INT8 must be able to express."""

    low: float
    high: float


def check_feeds(feeds: Sequence[Feeds]) -> None:
    """Refuse calibration data that can say nothing of a model.

    Raises:
        CalibrationError: There are no feeds, an input is empty, or it holds values that are not numbers.
    """
    if not feeds:
        raise CalibrationError("There is no calibration data: the range of values in the model cannot be seen.")
    for i, feed in enumerate(feeds):
        for name, array in feed.items():
            if array.size == 0:
                raise CalibrationError(f"Input {name!r} of calibration batch {i} is empty: its shape is {array.shape}.")
            if not np.isfinite(array).all():
                raise CalibrationError(f"Input {name!r} of calibration batch {i} holds values that are not numbers.")


def observe(model: onnx.ModelProto, feeds: Sequence[Feeds], names: Sequence[str]) -> dict[str, Range]:
    """Run ``model`` on every feed and return the range of each tensor in ``names``.

    A range reaches from the smallest to the largest value over all feeds, as in PaddleSlim's ``abs_max``. The model
    itself works the ranges out, so that no more of a run is kept than the model needs.

    Raises:
        CalibrationError: There are no feeds, they do not fit the model, or it gives a value that is not a number.
    """
    check_feeds(feeds)
    widened = copy_without(model, ())
    inputs = {each.name for each in model.graph.input}
    inner = [name for name in names if name not in inputs]
    wanted = [f"{name}.{reduction}" for name in inner for reduction in _REDUCTIONS]
    for name in inner:
        for reduction in _REDUCTIONS:
            widened.graph.node.append(helper.make_node(reduction, [name], [f"{name}.{reduction}"], keepdims=0))
    widened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = cpu_session(widened, fuse=False)
    del widened
    lows, highs = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for i, feed in enumerate(feeds):
        try:
            answers = np.array(session.run(wanted, dict(feed)), np.float64) if wanted else np.zeros(0)
        except (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.RuntimeException) as error:
            raise CalibrationError(f"The model does not run on calibration batch {i}: {error}") from error
        values = {name: tuple(answer) for name, answer in zip(inner, answers.reshape(-1, 3), strict=True)}
        values.update({name: (feed[name].min(), feed[name].max(), 0.0) for name in names if name in inputs})
        broken = next((name for name in names if not np.isfinite(values[name]).all()), None)
        if broken is not None:
            raise CalibrationError(f"On calibration batch {i}, tensor {broken!r} takes values that are not numbers.")
        lows = np.minimum(lows, [values[name][0] for name in names])
        highs = np.maximum(highs, [values[name][1] for name in names])
    return {name: Range(float(low), float(high)) for name, low, high in zip(names, lows, highs, strict=True)}


def cpu_session(model: onnx.ModelProto, *, fuse: bool) -> onnxruntime.InferenceSession:
    """``model`` in ONNX Runtime on two threads; without ``fuse`` every tensor stays what its name says."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fuse else levels.ORT_DISABLE_ALL
    # other work shares these cores: waiting threads must not keep them busy
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory(prefix="edgekit-session-") as scratch:  # a file, for want of another 500 MB
        onnx.save(model, Path(scratch) / "model.onnx")
        return onnxruntime.InferenceSession(str(Path(scratch) / "model.onnx"), options, ["CPUExecutionProvider"])
