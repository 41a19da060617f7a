"""Transposed convolutions that only enlarge, done at the small size: the same sums, in a form that backends run faster.

Where kernel and stride are equal, no two products meet in one output pixel: each input pixel becomes a block of its
own. That is a 1x1 convolution to as many channels as the block has pixels, and a DepthToSpace that lays them out. Two
such in a row, as at the end of DB's head (arXiv:1911.08947), need to be laid out only once: what happens to one pixel
of the first's block happens in its own channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compress.graph import FloatArray, Graph, attribute, drop_unused_initializers, normalization, replace_nodes

_UNARY = ("Relu", "Sigmoid", "HardSigmoid")
_FEW = 4  # output channels of the last; with more, the many channels at the small size cost what the layout saves


def fold_into_transposed(model: onnx.ModelProto) -> None:
    """Fold constants added to a transposed convolution, and a normalization behind it, into its weight and bias."""
    graph = Graph(model)
    gone: set[str] = set()
    for node in model.graph.node:
        constants = [graph.array(name) for name in node.input[1:]] if node.op_type == "ConvTranspose" else []
        if len(constants) < 2 or attribute(node, "group", 1) != 1:
            continue
        weight, bias = (each for each in constants if each is not None)
        output = node.output[0]
        while (reader := graph.only_consumer(output)) is not None and (change := _affine(graph, reader, bias.size)):
            weight, bias = weight * change[0][:, None, None], bias * change[0] + change[1]
            output = reader.output[0]
            gone.add(output)
        if output == node.output[0]:
            continue
        for i, array in ((1, weight), (2, bias)):
            node.input[i] = f"{output}.folded.{i}"
            model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), node.input[i]))
        for reader in graph.consumers[output]:
            reader.input[:] = [node.output[0] if each == output else each for each in reader.input]
        if output in graph.outputs:
            node.output[0] = output
    kept = [each for each in model.graph.node if each.op_type == "ConvTranspose" or each.output[0] not in gone]
    replace_nodes(model, kept)
    drop_unused_initializers(model)


def _affine(graph: Graph, node: onnx.NodeProto, channels: int) -> tuple[FloatArray, FloatArray] | None:
    """What ``node`` multiplies each channel of a picture by, and adds to it; None if it does anything else."""
    if node.op_type == "BatchNormalization":
        return normalization(graph, node)
    if node.op_type != "Add":
        return None
    for array in map(graph.array, node.input):
        if array is None:
            continue
        if array.size == 1 or array.shape in ((channels, 1, 1), (1, channels, 1, 1)):
            return np.ones(channels, np.float32), np.broadcast_to(array.reshape(-1), channels)
    return None


def enlarge_last(model: onnx.ModelProto) -> None:
    """Rewrite every chain of such transposed convolutions that ends in few channels."""
    graph = Graph(model)
    replaced: dict[str, list[onnx.NodeProto]] = {}  # by the first output of the node that they stand in for
    gone: set[str] = set()
    for node in model.graph.node:
        chain = _chain(graph, node) if node.output[0] not in gone else []
        transposed = [each for each in chain if each.op_type == "ConvTranspose"]
        if not transposed or _weight(graph, transposed[-1]).shape[1] > _FEW:
            continue
        replaced[chain[-1].output[0]] = _at_small_size(model, graph, chain)
        gone.update(each.output[0] for each in chain)
    nodes = []
    for node in model.graph.node:
        nodes += replaced.get(node.output[0], [] if node.output[0] in gone else [node])
    replace_nodes(model, nodes)
    drop_unused_initializers(model)


def _chain(graph: Graph, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """``node``, if it only enlarges, and what follows as long as it does or looks at single values."""
    chain = [node] if _only_enlarges(graph, node) else []
    while chain:
        reader = graph.only_consumer(chain[-1].output[0])
        if reader is None or not (reader.op_type in _UNARY or _only_enlarges(graph, reader)):
            break
        chain.append(reader)
    return chain


def _only_enlarges(graph: Graph, node: onnx.NodeProto) -> bool:
    if (
        node.op_type != "ConvTranspose"
        or len(node.input) < 3
        or any(graph.array(name) is None for name in node.input[1:])
    ):
        return False
    given = {each.name: list(each.ints) for each in node.attribute if each.ints}
    kernel = list(_weight(graph, node).shape[2:])
    return (
        attribute(node, "group", 1) == 1
        and kernel == given.get("strides")
        and kernel[0] == kernel[1]
        and not any(given.get("pads", []) + given.get("output_padding", []))
        and set(given.get("dilations", [1])) == {1}
        and not any(each.name in ("auto_pad", "output_shape") and each.s != b"NOTSET" for each in node.attribute)
    )


def _weight(graph: Graph, node: onnx.NodeProto) -> FloatArray:
    weight = graph.array(node.input[1])
    assert weight is not None
    return weight


def _at_small_size(model: onnx.ModelProto, graph: Graph, chain: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    nodes, block, name = [], 1, chain[0].input[0]
    for node in chain:
        output = node.output[0]
        if node.op_type == "ConvTranspose":
            bias = graph.array(node.input[2])
            assert bias is not None
            side = _weight(graph, node).shape[2]
            weight = _blockwise(_weight(graph, node), block)
            block *= side
            constants = {f"{output}.weight": weight, f"{output}.bias.blocks": np.repeat(bias, block * block)}
            model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in constants.items())
            # the convolution keeps the name that PaddleSlim knows it by
            nodes.append(helper.make_node("Conv", [name, *constants], [output], kernel_shape=[1, 1]))
        else:
            nodes.append(onnx.NodeProto())
            nodes[-1].CopyFrom(node)
            nodes[-1].input[0] = name
        name = output
    laid_out, nodes[-1].output[0] = chain[-1].output[0], f"{chain[-1].output[0]}.blocks"
    nodes.append(helper.make_node("DepthToSpace", [nodes[-1].output[0]], [laid_out], blocksize=block, mode="CRD"))
    return nodes


def _blockwise(weight: FloatArray, block: int) -> FloatArray:
    """The 1x1 convolution's weight for inputs whose pixels lie as ``block`` x ``block`` in channels.

    Args:
        weight: (in, out, side, side), the transposed convolution's.
        block: Side of the blocks that came before, 1 at first.

    Returns:
        (out * total**2, in * block**2, 1, 1), total = block * side; channels in DepthToSpace's order "CRD".
    """
    inputs, outputs, side, _ = weight.shape
    total = block * side
    dense = np.zeros((outputs, block, side, block, side, inputs, block, block), np.float32)
    for row in range(block):
        for column in range(block):
            dense[:, row, :, column, :, :, row, column] = weight.transpose(1, 2, 3, 0)
    return dense.reshape(outputs * total * total, inputs * block * block, 1, 1)
