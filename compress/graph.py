"""Lookups in an ONNX graph, and the small edits that others are made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

FloatArray = NDArray[np.float32]

# after a global pooling there is one value a channel, and these keep it so
_POOLED_THROUGH = ("Conv", "Relu", "HardSigmoid", "Sigmoid", "Flatten", "Reshape", "Squeeze", "MatMul", "Gemm", "Add")
_VECTOR = 64  # shorter vectors are not worth an operator
_LARGEST_HALF = float(np.finfo(np.float16).max)


class Graph:
    """Lookups over a model's main graph, built once; whoever edits the graph makes a new one.

    Attributes:
        model: The model itself, not a copy.
        constants: Initializers by name.
        producers: The node that makes a tensor.
        consumers: The nodes that read a tensor, once for each input that does.
        outputs: Names of the graph's outputs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants: dict[str, onnx.TensorProto] = {each.name: each for each in model.graph.initializer}
        self.producers: dict[str, onnx.NodeProto] = {}
        self.consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.output:
                self.producers[name] = node
            for name in node.input:
                self.consumers[name].append(node)
        self.outputs = {each.name for each in model.graph.output}

    def array(self, name: str) -> FloatArray | None:
        """The FP32 constant called ``name``; None if it is computed or of another type."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
            return None
        return numpy_helper.to_array(tensor)

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """The node that reads ``name``, if exactly one does and it is no output of the graph."""
        readers = self.consumers[name]
        return readers[0] if len(readers) == 1 and name not in self.outputs else None


def pooled(graph: Graph) -> set[str]:
    """Tensors behind a global pooling, with one value a channel: the gates of squeeze and excitation, a classifier."""
    found: set[str] = set()
    for node in graph.model.graph.node:  # in topological order, as ONNX requires
        data = [name for name in node.input if name and name not in graph.constants]
        if _pools(graph, node) or (node.op_type in _POOLED_THROUGH and data and found.issuperset(data)):
            found.update(node.output)
    return found


def _pools(graph: Graph, node: onnx.NodeProto) -> bool:
    if node.op_type != "ReduceMean":
        return node.op_type == "GlobalAveragePool"
    axes = [list(each.ints) for each in node.attribute if each.name == "axes"]
    if len(node.input) > 1 and node.input[1] in graph.constants:  # from opset 18 on
        axes = [numpy_helper.to_array(graph.constants[node.input[1]]).tolist()]
    return axes in ([[2, 3]], [[-2, -1]])  # of pictures; a layer's norm takes the last alone


def normalization(graph: Graph, norm: onnx.NodeProto) -> tuple[FloatArray, FloatArray]:
    """A BatchNormalization as the factor of each channel and what is added to it."""
    statistics = [graph.array(name) for name in norm.input[1:5]]
    gamma, beta, mean, variance = (each for each in statistics if each is not None)
    epsilon = next((each.f for each in norm.attribute if each.name == "epsilon"), 1e-5)
    factor = gamma / np.sqrt(variance + epsilon)
    return factor, beta - mean * factor


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute of ``node``."""
    return next((each.i for each in node.attribute if each.name == name), default)


def drop_unused_initializers(model: onnx.ModelProto) -> None:
    """Remove initializers that no node reads."""
    used = {name for node in model.graph.node for name in node.input} | {each.name for each in model.graph.output}
    # one by one: a list that is built anew holds every weight twice, and protobuf gives no memory back
    for i in reversed(range(len(model.graph.initializer))):
        if model.graph.initializer[i].name not in used:
            del model.graph.initializer[i]


def copy_without(model: onnx.ModelProto, initializers: Collection[str]) -> onnx.ModelProto:
    """A copy that lacks some initializers, whose bytes are never copied."""
    copied = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    copied.opset_import.extend(model.opset_import)
    copied.metadata_props.extend(model.metadata_props)
    graph = copied.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.initializer.extend(each for each in model.graph.initializer if each.name not in initializers)
    return copied


def replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    """Make ``nodes`` the graph's nodes."""
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def rounded_to_half(values: FloatArray) -> FloatArray:
    """``values`` with float16's 11 bits, so that ``strip`` can store them in two bytes; as they are if too small."""
    if float(np.abs(values).min()) < np.finfo(np.float16).tiny or float(np.abs(values).max()) > _LARGEST_HALF:
        return values.astype(np.float32)
    return values.astype(np.float16).astype(np.float32)


def strip(model: onnx.ModelProto) -> None:
    """Drop from the file what no backend needs: documentation, names of nodes, and half of every vector's bytes.

    A vector (bias, norm, scales) is stored as float16 where that moves no value by more than its eleventh bit or the
    largest one's eighteenth, and makes none zero: far below what INT8 rounds. Backends turn it back into float32 when
    they load the model.
    """
    model.doc_string = model.graph.doc_string = ""
    for node in model.graph.node:
        node.name = node.doc_string = ""
    casts = []
    for each in model.graph.initializer:
        each.doc_string = ""
        if each.data_type != onnx.TensorProto.FLOAT or len(each.dims) != 1 or each.dims[0] < _VECTOR:
            continue
        values = numpy_helper.to_array(each)
        half = np.clip(values, -_LARGEST_HALF, _LARGEST_HALF).astype(np.float16)
        allowed = np.maximum(np.abs(values) * 2**-11, np.abs(values).max() * 2**-18)
        if (np.abs(half - values) > allowed).any() or ((half == 0) & (values != 0)).any():
            continue
        stored = f"{each.name}.half"
        casts.append(helper.make_node("Cast", [stored], [each.name], to=onnx.TensorProto.FLOAT))
        each.CopyFrom(numpy_helper.from_array(half, stored))
    replace_nodes(model, [*casts, *model.graph.node])
