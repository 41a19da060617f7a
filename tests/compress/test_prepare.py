"""Rewrites of a graph before it is quantized: they compute the same, in fewer or cheaper operators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.calibration import cpu_session
from compress.graph import Graph, pooled
from compress.prepare import prepare
from compress.qdq import plan

node = helper.make_node
RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def picture_model(nodes: Sequence[onnx.NodeProto], weights: dict[str, np.ndarray], opset: int = 17) -> onnx.ModelProto:
    """From ``x`` (1, 6, H, W) to ``y``."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(each.op_type for each in model.graph.node)


def prepared_and_equal(model: onnx.ModelProto) -> onnx.ModelProto:
    """``prepare(model)``, after a look that it computes the same on pictures of two sizes."""
    prepared = prepare(model)
    onnx.checker.check_model(prepared, full_check=True)
    for size in ((8, 12), (5, 7)):
        feed = {"x": normal(1, 6, *size)}
        want, got = (cpu_session(each, fuse=False).run(None, feed)[0] for each in (model, prepared))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    return prepared


def transposed(data: str, name: str, output: str, *, side: int = 2, **attributes: object) -> onnx.NodeProto:
    return node("ConvTranspose", [data, name], [output], strides=[side, side], **attributes)


def test_the_end_of_dbs_head_is_laid_out_once_at_the_end():
    head = picture_model(
        [
            transposed("x", "w1", "t1"),
            node("Add", ["t1", "b1"], ["a1"]),
            node("BatchNormalization", ["a1", "gamma", "beta", "mean", "variance"], ["n1"]),
            node("Relu", ["n1"], ["r1"]),
            transposed("r1", "w2", "t2"),
            node("Add", ["b2", "t2"], ["a2"]),
            node("Sigmoid", ["a2"], ["y"]),
        ],
        {
            **{"w1": normal(6, 4, 2, 2), "b1": normal(1, 4, 1, 1), "w2": normal(4, 1, 2, 2), "b2": normal(1, 1, 1, 1)},
            **{"gamma": normal(4), "beta": normal(4), "mean": normal(4), "variance": np.abs(normal(4))},
        },
    )
    prepared = prepared_and_equal(head)
    assert [each.op_type for each in prepared.graph.node] == ["Conv", "Relu", "Conv", "Sigmoid", "DepthToSpace"]
    # PaddleSlim knows the operators by these names
    assert set(plan(prepared).readers) == {"t1", "t2"}


@pytest.mark.parametrize("outputs", [1, 3])
def test_blocks_of_three_and_several_channels_land_where_they_belong(outputs: int):
    chain = picture_model(
        [transposed("x", "w1", "t1", side=3), transposed("t1", "w2", "y", side=2)],
        {"w1": normal(6, 4, 3, 3), "w2": normal(4, outputs, 2, 2)},
    )
    assert operators(prepared_and_equal(chain)) == {"Conv": 2, "DepthToSpace": 1}


@pytest.mark.parametrize(
    ("channels", "attributes"),
    [
        (5, {}),  # too many to pay
        (2, {"pads": [0, 0, 1, 1]}),
        (2, {"output_padding": [1, 1]}),
    ],
)
def test_other_transposed_convolutions_stay(channels: int, attributes: dict[str, object]):
    model = picture_model([transposed("x", "w", "y", **attributes)], {"w": normal(6, channels, 2, 2)})
    assert operators(prepared_and_equal(model)) == {"ConvTranspose": 1}


def test_kernels_that_overlap_stay():
    model = picture_model([transposed("x", "w", "y")], {"w": normal(6, 1, 3, 3)})
    assert operators(prepared_and_equal(model)) == {"ConvTranspose": 1}


def gated(x_first: bool) -> onnx.ModelProto:
    """x + x * gate, with Paddle's Identities between the operators."""
    return picture_model(
        [
            node("ReduceMean", ["x"], ["p"], axes=[2, 3]),
            node("Identity", ["p"], ["pi"]),
            node("Conv", ["pi", "w1"], ["c1"]),
            node("Identity", ["c1"], ["ci"]),
            node("Relu", ["ci"], ["r"]),
            node("Conv", ["r", "w2"], ["c2"]),
            node("HardSigmoid", ["c2"], ["g"]),
            node("Mul", ["x", "g"] if x_first else ["g", "x"], ["m"]),
            node("Identity", ["m"], ["mi"]),
            node("Add", ["mi", "x"] if x_first else ["x", "mi"], ["s"]),
            node("Identity", ["s"], ["y"]),
        ],
        {"w1": normal(3, 6, 1, 1), "w2": normal(6, 3, 1, 1)},
    )


@pytest.mark.parametrize("x_first", [True, False])
def test_one_is_added_to_the_gate_and_not_x_to_the_picture(x_first: bool):
    prepared = prepared_and_equal(gated(x_first))
    (add,) = (each for each in prepared.graph.node if each.op_type == "Add")
    assert add.input[0] == "g"
    assert operators(prepared)["Identity"] == 1  # the one that makes the output


def test_a_sum_with_a_product_of_two_pictures_stays():
    model = picture_model(
        [node("Conv", ["x", "w"], ["c"]), node("Mul", ["x", "c"], ["m"]), node("Add", ["x", "m"], ["y"])],
        {"w": normal(6, 6, 1, 1)},
    )
    assert [each.op_type for each in prepared_and_equal(model).graph.node] == ["Conv", "Mul", "Add"]


def test_gates_are_told_by_either_kind_of_pooling_and_stay_fp32():
    prepared = prepare(gated(x_first=True))
    assert {"p", "c1", "r", "c2", "g"} <= pooled(Graph(prepared))
    assert not plan(prepared).readers


def test_the_mean_of_a_layers_norm_is_no_pooling():
    model = picture_model([node("ReduceMean", ["x"], ["y"], axes=[-1])], {})
    assert not pooled(Graph(model))


def test_only_large_kernels_of_depthwise_convolutions_are_quantized():
    pads = {3: [1] * 4, 7: [3] * 4}
    model = picture_model(
        [
            node("Conv", ["x", "w3"], ["small"], group=6, pads=pads[3]),
            node("Conv", ["small", "w7"], ["large"], group=6, pads=pads[7]),
            node("Conv", ["large", "halves"], ["y"], group=2, pads=pads[7]),
        ],
        {"w3": normal(6, 1, 3, 3), "w7": normal(6, 1, 7, 7), "halves": normal(6, 3, 7, 7)},
    )
    assert set(plan(prepared_and_equal(model)).readers) == {"large"}
