"""An ONNX graph made ready for quantization: lookups, and the rewrites that move no number by more than rounding."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

FloatArray = NDArray[np.float32]


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


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute of ``node``."""
    return next((each.i for each in node.attribute if each.name == name), default)


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with constants as initializers, batch normalization folded into convolutions, and a bias for each.

    Quantizing a convolution and then scaling its output by a separate normalization would round twice.
    """
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    _constants_to_initializers(prepared)
    _fold_batch_norm(prepared)
    _give_every_conv_a_bias(prepared)
    return prepared


def drop_unused_initializers(model: onnx.ModelProto) -> None:
    """Remove initializers that no node reads."""
    used = {name for node in model.graph.node for name in node.input} | {each.name for each in model.graph.output}
    kept = [each for each in model.graph.initializer if each.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def replace_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    """Make ``nodes`` the graph's nodes."""
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _constants_to_initializers(model: onnx.ModelProto) -> None:
    kept = []
    for node in model.graph.node:
        if node.op_type != "Constant" or node.attribute[0].name != "value":
            kept.append(node)
            continue
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
    replace_nodes(model, kept)


def _fold_batch_norm(model: onnx.ModelProto) -> None:
    graph = Graph(model)
    folded: set[str] = set()
    for conv in model.graph.node:
        if conv.op_type != "Conv":
            continue
        norm = graph.only_consumer(conv.output[0])
        weight = graph.array(conv.input[1])
        if norm is None or norm.op_type != "BatchNormalization" or weight is None:
            continue
        statistics = [graph.array(name) for name in norm.input[1:5]]
        gamma, beta, mean, variance = (each for each in statistics if each is not None)
        epsilon = next((each.f for each in norm.attribute if each.name == "epsilon"), 1e-5)
        factor = gamma / np.sqrt(variance + epsilon)
        bias = graph.array(conv.input[2]) if len(conv.input) > 2 else None
        moved = beta + ((0 if bias is None else bias) - mean) * factor
        new_weight, new_bias = f"{conv.input[1]}.folded", f"{norm.output[0]}.bias"
        shaped = factor.reshape((-1,) + (1,) * (weight.ndim - 1))
        model.graph.initializer.append(numpy_helper.from_array((weight * shaped).astype(np.float32), new_weight))
        model.graph.initializer.append(numpy_helper.from_array(moved.astype(np.float32), new_bias))
        inputs = [conv.input[0], new_weight, new_bias]
        del conv.input[:]
        conv.input.extend(inputs)
        conv.output[0] = norm.output[0]
        folded.add(norm.output[0])
    keep = [n for n in model.graph.node if n.op_type != "BatchNormalization" or n.output[0] not in folded]
    replace_nodes(model, keep)
    drop_unused_initializers(model)


def _give_every_conv_a_bias(model: onnx.ModelProto) -> None:
    """Add a bias far below rounding to convolutions that have none.

    OpenVINO (seen in 2026.4) applies the weights' scales twice to an INT8 convolution without a bias whose output
    goes to a pooling and elsewhere, as in squeeze and excitation. Any bias that is not zero prevents it.
    """
    graph = Graph(model)
    for node in model.graph.node:
        weight = graph.array(node.input[1]) if node.op_type in ("Conv", "ConvTranspose") else None
        if weight is None or len(node.input) > 2:
            continue
        channels = weight.shape[0] if node.op_type == "Conv" else weight.shape[1] * attribute(node, "group", 1)
        name = f"{node.output[0]}.bias"
        model.graph.initializer.append(numpy_helper.from_array(np.full(channels, 1e-30, np.float32), name))
        node.input.append(name)
