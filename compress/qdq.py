"""Quantization written into an ONNX graph as QuantizeLinear and DequantizeLinear pairs.

paddle2onnx 1.3.1 gives every MatMul of a quantized Transformer its FP32 weight back, so the kit exports the FP32
model and writes the pairs itself: activations as uint8, weights as int8 for each output channel and stored as int8.
The arithmetic is that of Jacob et al., arXiv:1712.05877.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from compress.calibration import Range
from compress.graph import FloatArray, Graph, attribute, drop_unused_initializers, replace_nodes

# operators whose weight (input 1) may be int8
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
# after a global pooling there is one value a channel: nothing to gain, and gates (squeeze and excitation) lose most
_POOLED_THROUGH = ("Conv", "Relu", "HardSigmoid", "Sigmoid", "Flatten", "Reshape", "Squeeze", "MatMul", "Gemm", "Add")

# smaller tables are not worth the extra operators
_TABLE_VALUES = 100_000
_DEAD_CHANNEL = 1e-6
_SMALLEST = float(np.finfo(np.float32).tiny)  # a scale must not be zero, nor 1 / scale infinite


@dataclass(frozen=True)
class Encoding:
    """How floats become uint8: ``round(x / scale) + zero_point``."""

    scale: float
    zero_point: int


def activation_encoding(values: Range, *, symmetric: bool) -> Encoding:
    """The encoding whose 256 steps cover ``values`` and hit zero exactly.

    Args:
        values: The range to cover; it is widened to hold zero, so that padding stays exact.
        symmetric: Zero in the middle (128), as backends want for MatMul; a range without negative values starts at
            zero either way.
    """
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    if symmetric and low < 0:
        return Encoding(max(max(-low, high) / 127, _SMALLEST), 128)
    scale = max((high - low) / 255, _SMALLEST)
    return Encoding(scale, int(np.clip(round(-low / scale), 0, 255)))


def quantize_weight(
    weight: FloatArray, axis: int, *, reduce_range: bool = False
) -> tuple[NDArray[np.int8], FloatArray]:
    """Symmetric int8 with one scale for each index of ``axis``.

    Args:
        weight: Of any rank.
        axis: The output channel.
        reduce_range: Use 7 bits (-64 to 64): without VNNI, two products of 8 bits overflow the 16-bit sum.

    Returns:
        The integers, shaped as ``weight``, and the scales, (channels,).
    """
    limit = 64 if reduce_range else 127
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scales = np.abs(weight).max(axis=others) / limit
    # a dead channel must not get a scale so small that its bias, divided by it, leaves the range of integers
    scales = np.maximum(scales, max(_DEAD_CHANNEL * float(scales.max()), _SMALLEST)).astype(np.float32)
    shaped = scales.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    return np.clip(np.rint(weight / shaped), -limit, limit).astype(np.int8), scales


@dataclass(frozen=True)
class Plan:
    """What of a graph is to be quantized.

    Attributes:
        weights: Weight names to the axis of the output channel.
        activations: Tensor names that get a Q/DQ pair, to whether their encoding must be symmetric.
        readers: First outputs of the nodes that read the pair's output instead of the tensor.
        tables: Names of embedding tables.
    """

    weights: Mapping[str, int]
    activations: Mapping[str, bool]
    readers: frozenset[str]
    tables: frozenset[str]


def plan(model: onnx.ModelProto) -> Plan:
    """Choose what of a prepared model is worth INT8.

    Convolutions and matrix products are, those between two activations (attention) included. Depthwise convolutions
    stay in FP32: on PP-OCRv4 det their INT8 nearly trebles the error of the probability map for an eighth of FP32's
    time. So does everything behind a global pooling, and all that is element-wise.
    """
    graph = Graph(model)
    pooled = _pooled(graph)
    weights: dict[str, int] = {}
    activations: dict[str, bool] = {}
    readers: set[str] = set()
    tables: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Gather" and _is_table(graph, node):
            tables.add(node.input[0])
        if node.op_type not in _WEIGHTED or node.input[0] in pooled:
            continue
        data = [name for name in node.input[:2] if name not in graph.constants]
        if len(data) == 1:
            axis = _channel_axis(graph, node)
            if axis is None:
                continue
            weights[node.input[1]] = axis
        elif node.op_type != "MatMul":
            continue
        readers.add(node.output[0])
        for name in data:
            activations[name] = activations.get(name, False) or node.op_type in ("MatMul", "Gemm")
    return Plan(weights, activations, frozenset(readers), frozenset(tables))


def write_pairs(
    model: onnx.ModelProto, chosen: Plan, ranges: Mapping[str, Range], *, reduce_range: bool = False
) -> onnx.ModelProto:
    """A copy of the prepared ``model`` with Q/DQ pairs and int8 weights where ``chosen`` says.

    Args:
        model: From ``compress.graph.prepare``.
        chosen: From ``plan`` on the same model.
        ranges: One for each of ``chosen.activations``; a tensor without one stays FP32.
        reduce_range: As in ``quantize_weight``.
    """
    written = onnx.ModelProto()
    written.CopyFrom(model)
    graph = Graph(written)
    nodes: list[onnx.NodeProto] = []
    extra: list[onnx.TensorProto] = []
    renamed: dict[str, str] = {}

    def pair(name: str) -> None:
        encoding = activation_encoding(ranges[name], symmetric=chosen.activations[name])
        extra.append(numpy_helper.from_array(np.array(encoding.scale, np.float32), f"{name}.scale"))
        extra.append(numpy_helper.from_array(np.array(encoding.zero_point, np.uint8), f"{name}.zero_point"))
        parameters = [f"{name}.scale", f"{name}.zero_point"]
        nodes.append(helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}.q"], name=f"{name}.Q"))
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}.q", *parameters], [f"{name}.dq"], name=f"{name}.DQ")
        )
        renamed[name] = f"{name}.dq"

    for each in written.graph.input:
        if each.name in chosen.activations and each.name in ranges:
            pair(each.name)
    for name, axis in chosen.weights.items():
        weight = graph.array(name)
        assert weight is not None
        integers, scales = quantize_weight(weight, axis, reduce_range=reduce_range)
        extra.append(numpy_helper.from_array(integers, f"{name}.int8"))
        extra.append(numpy_helper.from_array(scales, f"{name}.scale"))
        nodes.append(
            helper.make_node(
                "DequantizeLinear", [f"{name}.int8", f"{name}.scale"], [f"{name}.dq"], name=f"{name}.DQ", axis=axis
            )
        )
        renamed[name] = f"{name}.dq"
    for node in written.graph.node:
        if node.output[0] in chosen.readers:
            for i, name in enumerate(node.input):
                if name in renamed:
                    node.input[i] = renamed[name]
        nodes.append(node)
        made = list(node.output)
        if node.op_type == "Gather" and node.input[0] in chosen.tables:
            _shrink_table(graph, node, nodes, extra)
        for name in made:
            if name in chosen.activations and name in ranges:
                pair(name)
    written.graph.initializer.extend(extra)
    replace_nodes(written, nodes)
    drop_unused_initializers(written)
    return written


def _shrink_table(
    graph: Graph, node: onnx.NodeProto, nodes: list[onnx.NodeProto], extra: list[onnx.TensorProto]
) -> None:
    """Look up int8 rows and dequantize what was looked up, so that the table is never FP32 in memory."""
    table, output = node.input[0], node.output[0]
    array = graph.array(table)
    assert array is not None
    integers, scales = quantize_weight(array, 1)
    if all(each.name != f"{table}.int8" for each in extra):
        extra.append(numpy_helper.from_array(integers, f"{table}.int8"))
        extra.append(numpy_helper.from_array(scales, f"{table}.scale"))
    node.input[0] = f"{table}.int8"
    node.output[0] = f"{output}.int8"
    # the looked-up tensor's last axis is the table's column, whatever the shape of the indices
    nodes.append(helper.make_node("Cast", [f"{output}.int8"], [f"{output}.float"], to=onnx.TensorProto.FLOAT))
    nodes.append(helper.make_node("Mul", [f"{output}.float", f"{table}.scale"], [output]))


def _is_table(graph: Graph, node: onnx.NodeProto) -> bool:
    array = graph.array(node.input[0])
    return array is not None and array.ndim == 2 and attribute(node, "axis", 0) == 0 and array.size >= _TABLE_VALUES


def _channel_axis(graph: Graph, node: onnx.NodeProto) -> int | None:
    """The output channel's axis in the weight of ``node``; None if the weight should stay FP32."""
    weight = graph.array(node.input[1])
    if weight is None:
        return None
    if node.op_type == "Conv":
        # depthwise: a few weights, one product a value, and channels too unlike to share one activation scale
        return 0 if attribute(node, "group", 1) == 1 else None
    if node.op_type == "ConvTranspose":
        return 1 if attribute(node, "group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return weight.ndim - 1 if weight.ndim == 2 else None


def _pooled(graph: Graph) -> set[str]:
    found: set[str] = set()
    for node in graph.model.graph.node:  # in topological order, as ONNX requires
        data = [name for name in node.input if name and name not in graph.constants]
        if node.op_type == "GlobalAveragePool" or (node.op_type in _POOLED_THROUGH and data and found.issuperset(data)):
            found.update(node.output)
    return found
