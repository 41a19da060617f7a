"""What only OpenVINO does: it drops operators and hands their names on; an output of fixed shape is the request's."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from runtime.predictor import ModelFiles, RunOptions, load_predictor


def test_an_output_keeps_its_name_when_openvino_drops_the_operator_that_makes_it():
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(8, 4)).astype(np.float32), "b": np.zeros(4, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["linear_25.tmp_0"]),
        helper.make_node("Add", ["linear_25.tmp_0", "b"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    predictor = load_predictor(ModelFiles("dense", "onnx", model.SerializeToString()), "openvino")
    assert [spec.name for spec in predictor.outputs] == ["logits"]
    x = rng.normal(size=(2, 8)).astype(np.float32)
    np.testing.assert_allclose(predictor.run({"x": x})["logits"], x @ weights["w"], rtol=1e-5)


def test_an_output_of_fixed_shape_is_a_copy_too():
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    predictor = load_predictor(
        ModelFiles("relu", "onnx", model.SerializeToString()), "openvino", RunOptions(parallel=1)
    )
    first = predictor.run({"x": np.ones((2, 3), np.float32)})["y"]
    predictor.run({"x": np.full((2, 3), 7, np.float32)})
    np.testing.assert_array_equal(first, np.ones((2, 3)))
