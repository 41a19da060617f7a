"""What nobody reads is not computed: a selection of the first position moves up to where the positions still meet.

A text classifier reads the first token of its last layer only, yet the export computes that layer for every token. Here
``Slice(f(x))`` becomes ``f(Slice(x))`` as long as ``f`` computes each position by itself, which leaves of the last
layer the keys and values of all tokens and everything else of one. Not a number changes but by rounding.
"""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

from compress.graph import Graph, attribute, copy_without, drop_unused_initializers, replace_nodes

# one value out for each in, whatever its neighbours; Add and its like broadcast, which counts axes from the end
_ELEMENT_WISE = ("Add", "Sub", "Mul", "Div", "Erf", "Tanh", "Relu", "Gelu", "Identity")
_SMALL = 64  # values of a constant that may be a shape


def move_selections_up(model: onnx.ModelProto) -> None:
    """Move every ``Slice`` that keeps position 0 of one axis as far up as it goes, in place."""
    inferred = onnx.shape_inference.infer_shapes(_without_large_values(model)).graph
    known = (*inferred.input, *inferred.value_info, *inferred.output)
    ranks = {each.name: len(each.type.tensor_type.shape.dim) for each in known}
    while _move_one(model, ranks):
        pass
    drop_unused_initializers(model)


def _move_one(model: onnx.ModelProto, ranks: dict[str, int]) -> bool:
    graph = Graph(model)
    for node in model.graph.node:
        axis = _selected_axis(graph, node, ranks)
        if axis is None:
            continue
        source = node.input[0]
        above = graph.producers.get(source)
        twins = graph.consumers[source]
        if above is None or source in graph.outputs or any(list(each.input) != list(node.input) for each in twins):
            continue
        if any(each.output[0] in graph.outputs for each in twins):
            continue  # its name must stay
        inputs = _inputs_to_select(graph, above, axis, ranks)
        if inputs is None:
            continue
        _swap(graph, above, twins, inputs, ranks)
        return True
    return False


def _selected_axis(graph: Graph, node: onnx.NodeProto, ranks: dict[str, int]) -> int | None:
    """The axis, counted from the end, of whose positions ``node`` keeps the first; None if it does anything else."""
    if node.op_type != "Slice" or len(node.input) != 5 or node.input[0] not in ranks:
        return None
    if any(name not in graph.constants for name in node.input[1:]):
        return None
    starts, ends, axes, steps = (numpy_helper.to_array(graph.constants[name]).tolist() for name in node.input[1:])
    if (starts, ends, steps) != ([0], [1], [1]):
        return None
    (axis,) = axes
    return int(axis) - ranks[node.input[0]] if axis >= 0 else int(axis)


def _inputs_to_select(graph: Graph, node: onnx.NodeProto, axis: int, ranks: dict[str, int]) -> dict[int, int] | None:
    """By index of its inputs, the axis (from the end) where each may be cut instead of the output; None if none may."""
    data = [i for i, name in enumerate(node.input) if name and name not in graph.constants]
    if len(node.output) != 1 or any(node.input[i] not in ranks for i in data):
        return None
    if node.op_type in _ELEMENT_WISE:
        if any(len(graph.constants[name].dims) >= -axis for name in node.input if name in graph.constants):
            return None  # a constant with values of its own for each position
        # position 0 of an input that is broadcast along the axis is all of it, so cutting it does no harm
        return {i: axis for i in data if ranks[node.input[i]] >= -axis}
    rank = ranks[node.input[0]]
    if node.op_type in ("LayerNormalization", "Softmax"):
        own = attribute(node, "axis", -1)
        return {0: axis} if axis < (own if own < 0 else own - rank) else None
    if node.op_type == "MatMul":
        return {0: axis} if axis == -2 and rank >= 2 else None
    if node.op_type == "Transpose":
        order = next((list(each.ints) for each in node.attribute if each.name == "perm"), [])
        return {0: order[axis] - rank} if order else None
    if node.op_type == "Reshape" and node.input[1] in graph.constants:
        shape = numpy_helper.to_array(graph.constants[node.input[1]]).tolist()
        place = axis + len(shape)
        # a leading 0 copies that dimension, whatever its size
        return {0: place - rank} if not any(shape[: place + 1]) and not attribute(node, "allowzero", 0) else None
    return None


def _swap(
    graph: Graph, above: onnx.NodeProto, selections: list[onnx.NodeProto], inputs: dict[int, int], ranks: dict[str, int]
) -> None:
    """Let ``above`` compute what ``selections``, which are all alike, kept of its output; the output keeps its name."""
    first = selections[0]
    added: list[onnx.NodeProto] = []
    for i, axis in inputs.items():
        name = above.input[i]
        axes, selected = f"{name}.axis{axis}", f"{name}.first{axis}"
        if axes not in graph.constants:
            graph.model.graph.initializer.append(helper.make_tensor(axes, onnx.TensorProto.INT64, [1], [axis]))
        starts, ends, steps = first.input[1], first.input[2], first.input[4]
        above.input[i] = selected
        if selected not in graph.producers and selected not in [each.output[0] for each in added]:
            added.append(helper.make_node("Slice", [name, starts, ends, axes, steps], [selected]))
            ranks[selected] = ranks[name]
    for each in selections:
        for reader in graph.consumers[each.output[0]]:
            reader.input[:] = [above.output[0] if name == each.output[0] else name for name in reader.input]
    dropped = {each.output[0] for each in selections}
    # each cut stands right behind what it cuts, where every later reader finds it
    nodes = [each for each in added if each.input[0] not in graph.producers]
    for node in graph.model.graph.node:
        if node.output[0] not in dropped:
            nodes.append(node)
        nodes.extend(each for each in added if each.input[0] in node.output)
    replace_nodes(graph.model, nodes)


def _without_large_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` for shape inference, which needs the small constants only: a copy of all would be another 500 MB."""
    large = [each for each in model.graph.initializer if len(each.dims) > 1 or sum(each.dims) > _SMALL]
    light = copy_without(model, {each.name for each in large})
    light.graph.input.extend(helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in large)
    return light
