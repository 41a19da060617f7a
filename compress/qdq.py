"""Quantization written into an ONNX graph as QuantizeLinear and DequantizeLinear pairs.

paddle2onnx 1.3.1 gives every MatMul of a quantized Transformer its FP32 weight back, so the kit exports the FP32
model and writes the pairs itself: activations as uint8, weights as int8 for each output channel and stored as int8.
The arithmetic is that of Jacob et al., arXiv:1712.05877.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from compress.calibration import Range
from compress.graph import (
    FloatArray,
    Graph,
    attribute,
    copy_without,
    drop_unused_initializers,
    pooled,
    replace_nodes,
    rounded_to_half,
    strip,
)

# operators whose weight (input 1) may be int8
_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_PRODUCTS = 49  # from so many on, errors of a depthwise convolution cancel out: a kernel of 7 x 7
# smaller tables are not worth the extra operators
_TABLE_VALUES = 10_000
_DEAD_CHANNEL = 1e-6
# operators behind which OpenVINO has no place to round to bytes on the way out
_CANNOT_ROUND = ("MaxPool", "Concat", "Resize")
_SMALLEST = float(np.finfo(np.float32).tiny)  # a scale must not be zero, nor 1 / scale infinite


@dataclass(frozen=True)
class Encoding:
    """How floats become integers: ``round(x / scale) + zero_point``, int8 where ``signed``, uint8 elsewhere."""

    scale: float
    zero_point: int
    signed: bool


def activation_encoding(values: Range, *, signed: bool) -> Encoding:
    """The encoding whose steps cover ``values`` and hit zero exactly.

    Args:
        values: The range to cover; it is widened to hold zero, so that padding stays exact.
        signed: int8 around zero, for a product of two activations: there OpenVINO has no place for a zero point and
            would compute in FP32. Everything else is uint8, which spends all its steps on the range; with int8
            there, ONNX Runtime is slower than in FP32.
    """
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    if signed:
        return Encoding(max(max(-low, high) / 127, _SMALLEST), 0, signed=True)
    scale = max((high - low) / 255, _SMALLEST)
    return Encoding(scale, int(np.clip(round(-low / scale), 0, 255)), signed=False)


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
    scales = rounded_to_half(np.maximum(scales, max(_DEAD_CHANNEL * float(scales.max()), _SMALLEST)))
    shaped = scales.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    return np.clip(np.rint(weight / shaped), -limit, limit).astype(np.int8), scales


@dataclass(frozen=True)
class Reader:
    """An operator that is to compute in INT8.

    Attributes:
        weight: Its weight; None where both factors are activations.
        axis: The output channel's axis in the weight.
        activations: The tensors that it reads, each of which gets a Q/DQ pair.
    """

    weight: str | None
    axis: int
    activations: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What of a graph is to be quantized.

    Attributes:
        readers: The operators, by the name of their first output.
        tables: Names of embedding tables.
    """

    readers: Mapping[str, Reader]
    tables: frozenset[str]

    @property
    def weights(self) -> dict[str, int]:
        """Names of the weights, to the axis of the output channel."""
        return {each.weight: each.axis for each in self.readers.values() if each.weight is not None}

    @property
    def activations(self) -> dict[str, bool]:
        """Names of the tensors that get a Q/DQ pair, to whether it is signed."""
        found: dict[str, bool] = {}
        for reader in self.readers.values():
            for name in reader.activations:
                found[name] = found.get(name, True) and reader.weight is None
        return found

    def without(self, outputs: Collection[str]) -> Plan:
        """The same without the operators whose first output is in ``outputs``: they stay FP32."""
        return Plan({name: each for name, each in self.readers.items() if name not in outputs}, self.tables)


def plan(model: onnx.ModelProto, *, reduce_range: bool = False) -> Plan:
    """Choose what of a prepared model is worth INT8.

    Convolutions and matrix products are, attention's product of queries and keys included. The product of attention's
    probabilities with the values is not: most probabilities are small, and 256 steps up to 1 are too few for them.
    Small depthwise convolutions stay in FP32: on PP-OCRv4 det their INT8 nearly trebles the error of the probability
    map for an eighth of FP32's time. So does everything behind a global pooling, where there is nothing to gain and
    gates (squeeze and excitation) lose most, and all that is element-wise.

    Args:
        model: From ``compress.prepare.prepare``.
        reduce_range: For processors without VNNI. Of two activations neither can be kept to 7 bits, because what
            exceeds its range saturates at 8, so their product stays in FP32.
    """
    graph = Graph(model)
    gates = pooled(graph)
    readers: dict[str, Reader] = {}
    tables: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Gather" and _is_table(graph, node):
            tables.add(node.input[0])
        if node.op_type not in _WEIGHTED or node.input[0] in gates:
            continue
        data = tuple(name for name in node.input[:2] if name not in graph.constants)
        if len(data) == 1:
            axis = _channel_axis(graph, node)
            if axis is not None:
                readers[node.output[0]] = Reader(node.input[1], axis, data)
        elif node.op_type == "MatMul" and not reduce_range and not _reads_probabilities(graph, data):
            readers[node.output[0]] = Reader(None, 0, data)
    return Plan(readers, frozenset(tables))


def write_pairs(
    model: onnx.ModelProto, chosen: Plan, ranges: Mapping[str, Range], *, reduce_range: bool = False
) -> onnx.ModelProto:
    """A copy of the prepared ``model`` with Q/DQ pairs and int8 weights where ``chosen`` says.

    Args:
        model: From ``compress.prepare.prepare``.
        chosen: From ``plan`` on the same model.
        ranges: One for each of ``chosen.activations``; a tensor without one stays FP32.
        reduce_range: As in ``quantize_weight``.

    Where others read a picture's tensor in FP32 too, a Max that changes nothing stands before the pair: OpenVINO rounds
    within it. By itself its rounding reads and writes FP32 in a layout of its own, and where the rest is BF16 the
    copies from and to it took half of PP-OCRv6 det's time (docs/adr/0006).
    """
    graph = Graph(model)
    written = copy_without(model, {*chosen.weights, *chosen.tables})
    activations = {name: signed for name, signed in chosen.activations.items() if name in ranges}
    apart = {name for name in activations if _rounds_apart(graph, name, chosen)}
    nodes: list[onnx.NodeProto] = []
    extra: list[onnx.TensorProto] = []
    renamed: dict[str, str] = {}

    def pair(name: str) -> None:
        encoding = activation_encoding(ranges[name], signed=activations[name])
        zero_point = np.array(encoding.zero_point, np.int8 if encoding.signed else np.uint8)
        extra.append(numpy_helper.from_array(np.array(encoding.scale, np.float32), f"{name}.scale"))
        extra.append(numpy_helper.from_array(zero_point, f"{name}.zero"))
        parameters, source = [f"{name}.scale", f"{name}.zero"], name
        if name in apart:
            least = float(np.iinfo(zero_point.dtype).min - encoding.zero_point) * encoding.scale
            extra.append(numpy_helper.from_array(np.array(least, np.float32), f"{name}.least"))
            nodes.append(helper.make_node("Max", [name, f"{name}.least"], [f"{name}.own"]))
            source = f"{name}.own"
        nodes.append(helper.make_node("QuantizeLinear", [source, *parameters], [f"{name}.q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}.q", *parameters], [f"{name}.dq"]))
        renamed[name] = f"{name}.dq"

    for each in written.graph.input:
        if each.name in activations:
            pair(each.name)
    for name, axis in chosen.weights.items():
        weight = graph.array(name)
        assert weight is not None
        integers, scales = quantize_weight(weight, axis, reduce_range=reduce_range)
        extra.append(numpy_helper.from_array(integers, f"{name}.int8"))
        extra.append(numpy_helper.from_array(scales, f"{name}.scale"))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}.int8", f"{name}.scale"], [f"{name}.dq"], axis=axis))
        renamed[name] = f"{name}.dq"
    for name in sorted(chosen.tables):
        table = graph.array(name)
        assert table is not None
        integers, scales = quantize_weight(table, 1)
        extra.append(numpy_helper.from_array(integers, f"{name}.int8"))
        extra.append(numpy_helper.from_array(scales, f"{name}.scale"))
    for node in written.graph.node:
        if node.output[0] in chosen.readers:
            for i, name in enumerate(node.input):
                if name in renamed:
                    node.input[i] = renamed[name]
        nodes.append(node)
        made = list(node.output)
        if node.op_type == "Gather" and node.input[0] in chosen.tables:
            nodes.extend(_shrunk(node))
        for name in made:
            if name in activations:
                pair(name)
    replace_nodes(written, nodes)
    read = {name for node in nodes for name in node.input}
    # what somebody else reads in FP32 as well
    extra.extend(graph.constants[name] for name in sorted(read & {*chosen.weights, *chosen.tables}))
    written.graph.initializer.extend(extra)
    drop_unused_initializers(written)
    strip(written)
    return written


def _rounds_apart(graph: Graph, name: str, chosen: Plan) -> bool:
    """Whether the operator that makes a convolution's input cannot itself write it as integers."""
    readers = graph.consumers[name]
    if name not in graph.producers or not any(each.op_type.startswith("Conv") for each in readers):
        return False
    shared = name in graph.outputs or any(each.output[0] not in chosen.readers for each in readers)
    return shared or graph.producers[name].op_type in _CANNOT_ROUND


def _shrunk(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """What follows a lookup of int8 rows: only what was looked up is dequantized, so no table is FP32 in memory."""
    table, output = node.input[0], node.output[0]
    node.input[0] = f"{table}.int8"
    node.output[0] = f"{output}.int8"
    # the looked-up tensor's last axis is the table's column, whatever the shape of the indices
    return [
        helper.make_node("Cast", [f"{output}.int8"], [f"{output}.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{output}.float", f"{table}.scale"], [output]),
    ]


def _is_table(graph: Graph, node: onnx.NodeProto) -> bool:
    array = graph.array(node.input[0])
    return array is not None and array.ndim == 2 and attribute(node, "axis", 0) == 0 and array.size >= _TABLE_VALUES


def _reads_probabilities(graph: Graph, names: Collection[str]) -> bool:
    return any(name in graph.producers and graph.producers[name].op_type == "Softmax" for name in names)


def _channel_axis(graph: Graph, node: onnx.NodeProto) -> int | None:
    """The output channel's axis in the weight of ``node``; None if the weight should stay FP32."""
    weight = graph.array(node.input[1])
    if weight is None:
        return None
    if node.op_type == "Conv":
        # depthwise: few products a value, and channels too unlike to share one activation scale
        small = weight[0].size < _PRODUCTS
        return None if attribute(node, "group", 1) != 1 and (small or weight.shape[1] != 1) else 0
    if node.op_type == "ConvTranspose":
        return 1 if attribute(node, "group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return weight.ndim - 1 if weight.ndim == 2 else None
