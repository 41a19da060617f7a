"""An ONNX graph made ready for quantization, by rewrites that move no number by more than rounding."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compress.graph import Graph, attribute, drop_unused_initializers, normalization, pooled, replace_nodes
from compress.positions import move_selections_up
from compress.upsampling import enlarge_last, fold_into_transposed

_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")  # operators that compute nothing


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with constants as initializers, and scales and batch normalization folded into what they follow.

    Quantizing a convolution and then scaling its output by a separate normalization would round twice. Every
    convolution has a bias afterwards. What nobody reads is not computed (``compress.positions``), and pictures are
    enlarged as late as possible (``compress.upsampling``).
    """
    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    _constants_to_initializers(prepared)
    _drop_identities(prepared)
    _fold_batch_norm(prepared)
    _give_every_conv_a_bias(prepared)
    _fold_scales(prepared)
    _add_to_gates(prepared)
    fold_into_transposed(prepared)
    enlarge_last(prepared)
    move_selections_up(prepared)
    return prepared


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


def _drop_identities(model: onnx.ModelProto) -> None:
    """Let readers read what an Identity copies; one that makes an output of the graph stays."""
    outputs = {each.name for each in model.graph.output}
    copied: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        node.input[:] = [copied.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.output[0] not in outputs:
            copied[node.output[0]] = node.input[0]
        else:
            kept.append(node)
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
        factor, added = normalization(graph, norm)
        bias = graph.array(conv.input[2]) if len(conv.input) > 2 else None
        moved = added if bias is None else bias * factor + added
        new_weight, new_bias = f"{conv.input[1]}.folded", f"{conv.output[0]}.bias"
        shaped = factor.reshape((-1,) + (1,) * (weight.ndim - 1))
        model.graph.initializer.append(numpy_helper.from_array((weight * shaped).astype(np.float32), new_weight))
        model.graph.initializer.append(numpy_helper.from_array(moved.astype(np.float32), new_bias))
        inputs = [conv.input[0], new_weight, new_bias]
        del conv.input[:]
        conv.input.extend(inputs)
        folded.add(norm.output[0])
        if norm.output[0] in graph.outputs:
            conv.output[0] = norm.output[0]
        for reader in graph.consumers[norm.output[0]]:  # the convolution keeps the name that PaddleSlim knows it by
            reader.input[:] = [conv.output[0] if each == norm.output[0] else each for each in reader.input]
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


def _add_to_gates(model: onnx.ModelProto) -> None:
    """Turn ``x + x * gate`` into ``x * (gate + 1)``: one is added to a value a channel, not x to a value a pixel."""
    graph = Graph(model)
    gates = pooled(graph)
    rewritten: dict[str, list[onnx.NodeProto]] = {}  # by the first output of the node whose place they take
    for node in model.graph.node:
        for product, x in (tuple(node.input), tuple(reversed(node.input))) if node.op_type == "Add" else ():
            mul = graph.producers.get(product)
            if mul is None or mul.op_type != "Mul" or graph.only_consumer(product) is None or x not in mul.input:
                continue
            (gate,) = {*mul.input} - {x} or {x}
            if gate not in gates or x in gates:
                continue
            raised = [f"{gate}.raised", f"{gate}.one"]
            model.graph.initializer.append(numpy_helper.from_array(np.ones((), np.float32), raised[1]))
            rewritten[product] = [helper.make_node("Add", [gate, raised[1]], raised[:1])]
            rewritten[node.output[0]] = [helper.make_node("Mul", [x, raised[0]], [node.output[0]])]
            break
    replace_nodes(model, [each for node in model.graph.node for each in rewritten.get(node.output[0], [node])])


def _fold_scales(model: onnx.ModelProto) -> None:
    """Multiply a dense layer's weight and bias by the constant that its output is multiplied by.

    So attention scales its queries; left between the layer and the product, the scale keeps OpenVINO from reading
    the queries as INT8.
    """
    graph = Graph(model)
    folded: set[str] = set()
    for node in model.graph.node:
        factor = graph.array(node.input[1]) if node.op_type == "Mul" else None
        if factor is None or factor.size != 1:
            continue
        name = node.input[0]
        while graph.only_consumer(name) and name in graph.producers and graph.producers[name].op_type in _MOVES:
            name = graph.producers[name].input[0]
        layer = _dense_layer(graph, name)
        if layer is None:
            continue
        for constant in layer:
            array = graph.array(constant)
            assert array is not None
            graph.constants[constant].CopyFrom(numpy_helper.from_array(array * factor.reshape(()), constant))
        for reader in graph.consumers[node.output[0]]:
            reader.input[:] = [node.input[0] if each == node.output[0] else each for each in reader.input]
        folded.add(node.output[0])
    replace_nodes(model, [node for node in model.graph.node if node.output[0] not in folded])
    drop_unused_initializers(model)


def _dense_layer(graph: Graph, output: str) -> tuple[str, str] | None:
    """Weight and bias of the dense layer that makes ``output``, if nothing else reads any of the three."""
    add = graph.producers.get(output)
    if add is None or add.op_type != "Add" or graph.only_consumer(output) is None:
        return None
    for product, bias in (tuple(add.input), tuple(reversed(add.input))):
        made_by = graph.producers.get(product)
        if made_by is None or made_by.op_type != "MatMul" or graph.only_consumer(product) is None:
            continue
        weight = made_by.input[1]
        constants = (weight, bias)
        if all(graph.array(name) is not None and len(graph.consumers[name]) == 1 for name in constants):
            return constants
    return None
