"""How much a model has to do at least: multiplications and additions, and weights to read, counted from its graph.

Only matrix products, convolutions and LSTMs count; the rest is little and is not what a roof is about. Shapes are those
of a real run, since PP-OCR's and ERNIE's depend on the input: ONNX Runtime executes the graph once and tells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

Shape = tuple[int, ...]
Rate = NDArray[np.float64]  # one a round
_COUNTED = ("MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM")


@dataclass(frozen=True)
class Work:
    """What one run has to do at least.

    Attributes:
        int8: Operations whose two sides are both INT8.
        other: All the others.
        bytes: Weights of those operations as they are stored, inputs and outputs, each moved once.
    """

    int8: int
    other: int
    bytes: int

    @property
    def operations(self) -> int:
        """All of them."""
        return self.int8 + self.other

    def least_ms(self, int8_rate: Rate, other_rate: Rate, bandwidth: Rate) -> tuple[Rate, Rate]:
        """What computing takes at least at these operations a second, and moving at these bytes a second."""
        return 1e3 * (self.int8 / int8_rate + self.other / other_rate), 1e3 * self.bytes / bandwidth


def work(graph: bytes, feeds: Mapping[str, NDArray[Any]]) -> Work:
    """Count one run of an ONNX model on ``feeds``."""
    model = onnx.load_from_string(graph)
    nodes = [node for node in model.graph.node if node.op_type in _COUNTED]
    values = {name for node in nodes for name in (*node.input[:3], node.output[0]) if name}
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    weights |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    made_by = {output: node for node in model.graph.node for output in node.output}
    outputs = [each.name for each in model.graph.output]
    shapes = _shapes(model, values | set(outputs), weights, feeds)
    operations = {True: 0, False: 0}
    moved = {name: array.nbytes for name, array in feeds.items()}
    moved |= {name: 4 * prod(shapes[name]) for name in outputs}
    for node in nodes:
        sides = [made_by.get(name) for name in node.input[:2]]
        both = all(side is not None and side.op_type == "DequantizeLinear" for side in sides)
        operations[both] += _operations(node, shapes)
        for name in node.input[1:]:
            stored = _stored(name, made_by, weights)
            if stored is not None:
                moved[name] = stored.nbytes
    return Work(operations[True], operations[False], sum(moved.values()))


def _stored(
    name: str, made_by: Mapping[str, onnx.NodeProto], weights: Mapping[str, NDArray[Any]]
) -> NDArray[Any] | None:
    """The weights behind a value, as the file holds them; None if it is computed."""
    node = made_by.get(name)
    if node is not None and node.op_type in ("DequantizeLinear", "Transpose", "Cast", "Identity", "Reshape"):
        return _stored(node.input[0], made_by, weights)
    return weights.get(name)


def _shapes(
    model: onnx.ModelProto, values: set[str], weights: Mapping[str, NDArray[Any]], feeds: Mapping[str, NDArray[Any]]
) -> dict[str, Shape]:
    """The shape of each of ``values`` when the model runs on ``feeds``."""
    shapes: dict[str, Shape] = {name: array.shape for name, array in (*weights.items(), *feeds.items())}
    outputs = {each.name for each in model.graph.output}
    asked = sorted(values - set(shapes))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in asked if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(asked, dict(feeds))
    return shapes | {name: np.shape(value) for name, value in zip(asked, found, strict=True)}


def _operations(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Of one node; a multiplication and an addition are two."""
    first, second, out = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    if node.op_type == "Conv":
        return 2 * prod(out) * prod(second[1:])
    if node.op_type == "ConvTranspose":
        return 2 * prod(first) * prod(second[1:])
    if node.op_type == "LSTM":  # (steps, batch, inputs), (directions, 4 hidden, inputs), (directions, 4 hidden, hidden)
        recurrent = shapes[node.input[2]]
        return 2 * first[0] * first[1] * (prod(second) + prod(recurrent))
    transposed = node.op_type == "Gemm" and any(each.name == "transA" and each.i for each in node.attribute)
    return 2 * prod(out) * first[0 if transposed else -1]
