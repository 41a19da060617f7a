"""A selection of the first position moves up: the same answers from less work."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.graph import Graph
from compress.positions import move_selections_up
from compress.prepare import prepare
from runtime.predictor import ModelFiles, load_predictor

WIDTH, HEADS = 24, 2


def classifier() -> onnx.ModelProto:
    """(B, T, 24) to (B, 24): one attention layer with a mask, as Paddle exports it, and its first token."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.3, (WIDTH, WIDTH)).astype(np.float32) for name in "qkvof"}
    weights |= {f"{name}.bias": rng.normal(0, 0.3, WIDTH).astype(np.float32) for name in "qkvof"}
    weights |= {"norm.scale": rng.uniform(0.5, 1.5, WIDTH).astype(np.float32), "norm.bias": np.ones(WIDTH, np.float32)}
    weights["scale"] = np.array(0.25, np.float32)
    integers = {"split": [0, 0, HEADS, WIDTH // HEADS], "join": [0, 0, WIDTH], "zero": [0], "one": [1], "step": [1]}
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    tensors += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in integers.items()]

    def dense(name: str, source: str) -> list[onnx.NodeProto]:
        product = helper.make_node("MatMul", [source, name], [f"{name}.product"])
        return [product, helper.make_node("Add", [f"{name}.product", f"{name}.bias"], [f"{name}.out"])]

    def heads(name: str, perm: list[int]) -> list[onnx.NodeProto]:
        split = helper.make_node("Reshape", [f"{name}.out", "split"], [f"{name}.split"])
        return [split, helper.make_node("Transpose", [f"{name}.split"], [f"{name}.heads"], perm=perm)]

    nodes = [
        *(node for name in "qkv" for node in dense(name, "x")),
        *(
            node
            for name, perm in zip("qkv", ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
            for node in heads(name, perm)
        ),
        helper.make_node("Mul", ["q.heads", "scale"], ["q.scaled"]),
        helper.make_node("MatMul", ["q.scaled", "k.heads"], ["scores"]),
        helper.make_node("Add", ["scores", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["chances"], axis=-1),
        helper.make_node("MatMul", ["chances", "v.heads"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["rows"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["rows", "join"], ["joined"]),
        *dense("o", "joined"),
        helper.make_node("Add", ["x", "o.out"], ["residual"]),
        helper.make_node("LayerNormalization", ["residual", "norm.scale", "norm.bias"], ["normed"], axis=-1),
        *dense("f", "normed"),
        helper.make_node("Add", ["normed", "f.out"], ["all"]),
        helper.make_node("Slice", ["all", "zero", "one", "one", "step"], ["first"]),
        helper.make_node("Squeeze", ["first", "one"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, WIDTH]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, [None, 1, 1, None]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, WIDTH])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def feeds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    mask = np.zeros((3, 1, 1, 7), np.float32)
    mask[1, ..., 4:] = -1e4
    return {"x": rng.normal(size=(3, 7, WIDTH)).astype(np.float32), "mask": mask}


def answer(model: onnx.ModelProto) -> np.ndarray:
    return load_predictor(ModelFiles("tiny", "onnx", model.SerializeToString()), "onnxruntime").run(feeds())["y"]


@pytest.mark.parametrize("rewrite", [prepare, move_selections_up], ids=["prepare", "move_selections_up"])
def test_the_answer_stays_the_same(rewrite):
    model = classifier()
    expected = answer(model)
    rewritten = rewrite(model) or model
    onnx.checker.check_model(rewritten, full_check=True)
    np.testing.assert_allclose(answer(rewritten), expected, rtol=1e-4, atol=1e-5)


def test_all_but_keys_and_values_is_computed_for_one_position_only():
    model = classifier()
    move_selections_up(model)
    watched = ["q.product", "k.product", "v.product", "scores", "o.product", "f.product"]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in watched)
    found = load_predictor(ModelFiles("tiny", "onnx", model.SerializeToString()), "onnxruntime").run(feeds())
    positions = {name: found[name].shape[-2] for name in watched}
    assert positions == {"q.product": 1, "k.product": 7, "v.product": 7, "scores": 1, "o.product": 1, "f.product": 1}


def change(model: onnx.ModelProto, name: str, value: list[int]) -> None:
    tensor = Graph(model).constants[name]
    tensor.CopyFrom(numpy_helper.from_array(np.array(value, np.int64), name))


@pytest.mark.parametrize(("name", "value"), [("one", [2]), ("join", [3, 7, WIDTH]), ("zero", [1])])
def test_what_is_no_selection_of_the_first_position_or_fixes_a_length_stays_right(name: str, value: list[int]):
    model = classifier()
    if name == "one":  # the axis: a column of each vector instead of a position
        del model.graph.node[-1]
        model.graph.node.append(helper.make_node("Squeeze", ["first", "step"], ["y"]))
        model.graph.node[-2].input[2:4] = ["step", "one"]
        model.graph.node[-1].input[1] = "one"
        model.graph.output[0].type.tensor_type.shape.dim[1].Clear()
    if name == "zero":  # the second position
        model.graph.node[-2].input[2] = "two"
        model.graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "two"))
    change(model, name, value)
    expected = answer(model)
    move_selections_up(model)
    np.testing.assert_allclose(answer(model), expected, rtol=1e-4, atol=1e-5)


def test_a_tensor_that_somebody_else_reads_whole_is_still_computed_whole():
    model = classifier()
    model.graph.output.append(helper.make_tensor_value_info("normed", TensorProto.FLOAT, [None, None, WIDTH]))
    predictor = load_predictor(ModelFiles("tiny", "onnx", model.SerializeToString()), "onnxruntime")
    expected = predictor.run(feeds())
    move_selections_up(model)
    found = load_predictor(ModelFiles("tiny", "onnx", model.SerializeToString()), "onnxruntime").run(feeds())
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


def test_a_constant_with_values_for_each_position_is_not_cut_by_mistake():
    model = classifier()
    places = np.random.default_rng(2).normal(size=(7, WIDTH)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(places, "places"))
    model.graph.node[-3].input[0] = "placed"
    model.graph.node.insert(-3, helper.make_node("Add", ["normed", "places"], ["placed"]))
    expected = answer(model)
    move_selections_up(model)
    np.testing.assert_allclose(answer(model), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Softmax", ["x"], ["whole"], axis=-1),
        helper.make_node("MatMul", ["x", "w"], ["whole"]),
        helper.make_node("LayerNormalization", ["x", "ones"], ["whole"], axis=-1),
    ],
    ids=lambda node: node.op_type,
)
def test_a_column_is_not_computed_without_its_row(node: onnx.NodeProto):
    rng = np.random.default_rng(3)
    constants = {"w": rng.normal(size=(4, 4)).astype(np.float32), "ones": np.ones(4, np.float32)}
    constants |= {name: np.array([value], np.int64) for name, value in {"zero": 0, "one": 1, "last": -1}.items()}
    graph = helper.make_graph(
        [node, helper.make_node("Slice", ["whole", "zero", "one", "last", "one"], ["cut"])],
        "columns",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    graph.node.append(helper.make_node("Tanh", ["cut"], ["y"]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feed = {"x": rng.normal(size=(3, 4)).astype(np.float32)}
    answers = []
    for _ in range(2):
        predictor = load_predictor(ModelFiles("tiny", "onnx", model.SerializeToString()), "onnxruntime")
        answers.append(predictor.run(feed)["y"])
        move_selections_up(model)
    np.testing.assert_allclose(*answers, rtol=1e-5)
