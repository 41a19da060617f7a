"""Q/DQ pairs: the arithmetic, and that what is written still computes the same on both backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compress.calibration import Range, observe
from compress.graph import Graph, strip
from compress.prepare import prepare
from compress.qdq import Encoding, activation_encoding, plan, quantize_weight, write_pairs
from runtime.predictor import Backend, ModelFiles, Predictor, load_predictor
from tests.compress import networks

BACKENDS: tuple[Backend, ...] = ("openvino", "onnxruntime")
finite = st.floats(-1e4, 1e4, width=32)


def predictor(model: onnx.ModelProto, backend: Backend) -> Predictor:
    return load_predictor(ModelFiles("tiny", "onnx", model.SerializeToString()), backend)


def only_output(model: onnx.ModelProto, backend: Backend, feeds: dict[str, np.ndarray]) -> np.ndarray:
    (output,) = predictor(model, backend).run(feeds).values()
    return output


def quantized(model: onnx.ModelProto, feeds: list[dict[str, np.ndarray]], *, reduce_range: bool = False):
    prepared = prepare(model)
    chosen = plan(prepared, reduce_range=reduce_range)
    return write_pairs(
        prepared, chosen, observe(prepared, feeds, sorted(chosen.activations)), reduce_range=reduce_range
    )


@given(finite, finite, finite, st.booleans())
def test_a_value_in_range_comes_back_within_half_a_step(low: float, high: float, value: float, signed: bool):
    low, high = min(low, high, 0.0), max(low, high, 0.0)
    encoding = activation_encoding(Range(low, high), signed=signed)
    least, most = (-128, 127) if signed else (0, 255)
    value = min(max(value, low), high)
    integer = np.clip(np.rint(value / encoding.scale) + encoding.zero_point, least, most)
    # the zero point is itself rounded, which moves both ends by up to half a step
    slack = 0.5 if signed else 1.0
    assert abs((integer - encoding.zero_point) * encoding.scale - value) <= slack * encoding.scale * (1 + 1e-6)


@given(finite, finite)
def test_zero_is_exact_so_that_padding_is(low: float, high: float):
    encoding = activation_encoding(Range(min(low, high), max(low, high)), signed=False)
    assert 0 <= encoding.zero_point <= 255
    assert encoding.scale > 0


def test_all_steps_go_to_the_range_unless_the_encoding_is_signed():
    assert activation_encoding(Range(-1, 2), signed=False) == Encoding(3 / 255, 85, signed=False)
    assert activation_encoding(Range(0, 2), signed=False) == Encoding(2 / 255, 0, signed=False)
    assert activation_encoding(Range(-1, 2), signed=True) == Encoding(2 / 127, 0, signed=True)


@pytest.mark.parametrize(("reduce_range", "limit"), [(False, 127), (True, 64)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_comes_back_within_half_a_step_of_its_channel(axis: int, reduce_range: bool, limit: int):
    weight = np.random.default_rng(0).normal(0, [[0.01], [1.0], [100.0]], (3, 30)).astype(np.float32)
    weight = weight if axis == 0 else weight.T
    integers, scales = quantize_weight(weight, axis, reduce_range=reduce_range)
    assert integers.dtype == np.int8
    assert np.abs(integers.astype(int)).max() == limit
    step = scales[:, None] if axis == 0 else scales[None, :]
    # at the ends, the scale's own rounding to eleven bits comes on top
    assert (np.abs(integers * step - weight) <= step * (0.5 + limit * 2**-11)).all()


def test_a_channel_of_zeros_stays_zero_and_keeps_a_scale_that_a_bias_can_be_divided_by():
    integers, scales = quantize_weight(np.array([[0, 0], [1, 2]], np.float32), 0)
    assert not integers[0].any()
    assert scales[0] == pytest.approx(2e-6 / 127, rel=1e-3)
    assert (quantize_weight(np.zeros((2, 4), np.float32), 0)[1] > 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_preparing_moves_no_output_by_more_than_rounding(backend: Backend):
    model, feeds = networks.convolutions()
    assert any(node.op_type == "BatchNormalization" for node in model.graph.node)
    prepared = prepare(model)
    assert not any(node.op_type in ("BatchNormalization", "Constant") for node in prepared.graph.node)
    assert all(len(node.input) == 3 for node in prepared.graph.node if node.op_type == "Conv")
    expected = only_output(model, backend, feeds[0])
    np.testing.assert_allclose(only_output(prepared, backend, feeds[0]), expected, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("network", [networks.convolutions, networks.attention], ids=lambda each: each.__name__)
@pytest.mark.parametrize("reduce_range", [False, True])
def test_int8_stays_close_to_fp32(network, backend: Backend, reduce_range: bool):
    model, feeds = network()
    expected = only_output(model, backend, feeds[0])
    actual = only_output(quantized(model, feeds, reduce_range=reduce_range), backend, feeds[0])
    assert actual.shape == expected.shape
    error = np.abs(actual - expected).mean() / np.abs(expected).mean()
    assert 0 < error < 0.04


def test_both_backends_compute_the_same_from_int8():
    # OpenVINO 2026.4 doubles the scales of a convolution without bias before squeeze and excitation
    model, feeds = networks.convolutions()
    written = quantized(model, feeds)
    outputs = [only_output(written, backend, feeds[0]) for backend in BACKENDS]
    np.testing.assert_allclose(*outputs, atol=0.02 * np.abs(outputs[0]).max())


@pytest.mark.parametrize("network", [networks.convolutions, networks.attention], ids=lambda each: each.__name__)
def test_weights_are_stored_as_one_byte_a_value(network, tmp_path: Path):
    model, feeds = network()
    written = quantized(model, feeds)
    onnx.checker.check_model(written, full_check=True)
    onnx.save(model, tmp_path / "fp32.onnx")
    onnx.save(written, tmp_path / "int8.onnx")
    stored = {each.name: each for each in written.graph.initializer}
    names = plan(prepare(model)).weights
    assert names
    for name in names:
        assert name not in stored
        assert stored[f"{name}.int8"].data_type == TensorProto.INT8
    assert (tmp_path / "int8.onnx").stat().st_size < 0.65 * (tmp_path / "fp32.onnx").stat().st_size


def test_reduced_range_keeps_weights_to_seven_bits():
    model, feeds = networks.attention()
    stored = {each.name: each for each in quantized(model, feeds, reduce_range=True).graph.initializer}
    for name in plan(prepare(model)).weights:
        assert np.abs(numpy_helper.to_array(stored[f"{name}.int8"]).astype(int)).max() == 64


@pytest.mark.parametrize("reduce_range", [False, True])
def test_queries_and_keys_are_multiplied_in_int8_but_not_probabilities(reduce_range: bool):
    model, feeds = networks.attention()
    graph = Graph(quantized(model, feeds, reduce_range=reduce_range))
    kinds = {
        node.output[0]: [graph.producers[name].op_type == "DequantizeLinear" for name in node.input]
        for node in graph.model.graph.node
        if node.op_type == "MatMul"
    }
    assert kinds.pop("mixed") == [False, False]
    # without VNNI the product of two activations could overflow, so it stays in FP32
    assert kinds.pop("logits") == [not reduce_range, not reduce_range]
    assert len(kinds) == 4
    assert all(all(each) for each in kinds.values())
    types = {name: each.data_type for name, each in graph.constants.items() if name.endswith(".zero")}
    assert types.pop("e.zero") == TensorProto.UINT8
    if not reduce_range:  # around zero, or OpenVINO computes the product in FP32
        assert types["kt.zero"] == TensorProto.INT8


def test_two_products_of_the_reduced_range_never_overflow_sixteen_bits():
    model, feeds = networks.attention()
    written = quantized(model, feeds, reduce_range=True)
    graph = Graph(written)
    integers = {each.name: numpy_helper.to_array(each).astype(int) for each in written.graph.initializer}
    products = [node for node in written.graph.node if node.op_type == "MatMul"]
    pairs = []
    for node in products:
        quantizers = [graph.producers[name] for name in node.input]
        if all(each.op_type == "DequantizeLinear" for each in quantizers):
            activation, weight = quantizers
            assert integers[activation.input[2]].item() in range(256)  # uint8, which saturates at 255
            values = integers[weight.input[0]]
            pairs.append(255 * np.abs(values[0::2]).max(axis=0) + 255 * np.abs(values[1::2]).max(axis=0))
    assert len(pairs) == 4
    assert max(each.max() for each in pairs) <= 2**15 - 1


def test_depthwise_and_pooled_convolutions_stay_fp32():
    model, feeds = networks.convolutions()
    chosen = plan(prepare(model))
    assert set(chosen.readers) == {"c1", "c3", "y"}  # not the depthwise c2, nor s3 behind the pooling
    graph = Graph(quantized(model, feeds))
    for node in graph.model.graph.node:
        if node.op_type == "Conv":
            is_int8 = node.input[1] in graph.producers and graph.producers[node.input[1]].op_type == "DequantizeLinear"
            assert is_int8 == (node.output[0] in chosen.readers)


def test_a_picture_that_is_also_read_in_fp32_is_rounded_by_an_operator_of_its_own():
    kernel = np.random.default_rng(0).normal(size=(8, 8, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["shared"]),
        helper.make_node("Conv", ["shared", "w2"], ["alone"]),
        helper.make_node("Conv", ["alone", "w3"], ["branch"]),
        helper.make_node("Add", ["branch", "shared"], ["sum"]),
        helper.make_node("MaxPool", ["sum"], ["pooled"], kernel_shape=[2, 2]),
        helper.make_node("Conv", ["pooled", "w4"], ["y"]),
    ]
    model = networks._model(
        nodes,
        {f"w{number}": kernel for number in range(1, 5)},
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 5, 5])],
    )
    feeds = [{"x": np.random.default_rng(seed).normal(size=(1, 8, 6, 6)).astype(np.float32)} for seed in range(3)]
    written = quantized(model, feeds)
    own = [node for node in written.graph.node if node.op_type == "Max"]
    assert {node.input[0] for node in own} == {"shared", "pooled"}
    plain = onnx.ModelProto()
    plain.CopyFrom(written)
    for node in plain.graph.node:
        if node.op_type == "QuantizeLinear":
            node.input[0] = node.input[0].removesuffix(".own")
    for backend in BACKENDS:
        got, expected = (only_output(each, backend, feeds[0]) for each in (written, plain))
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_an_operator_that_is_left_out_keeps_its_weight_and_its_input():
    model, feeds = networks.attention()
    prepared = prepare(model)
    chosen = plan(prepared)
    ranges = observe(prepared, feeds, sorted(chosen.activations))
    graph = Graph(write_pairs(prepared, chosen.without(["kx"]), ranges))
    assert list(graph.producers["kx"].input) == ["e", "k"]
    np.testing.assert_array_equal(graph.array("k"), Graph(prepared).array("k"))
    assert graph.producers["vx"].input[0] == "e.dq"  # another reader of the same tensor still is INT8


def test_a_weight_that_is_also_read_in_fp32_is_stored_twice():
    model, feeds = networks.attention()
    (key,) = (node for node in model.graph.node if node.output[0] == "kx")
    key.input[1] = "q"
    prepared = prepare(model)
    chosen = plan(prepared)
    ranges = observe(prepared, feeds, sorted(chosen.activations))
    written = write_pairs(prepared, chosen.without(["kx"]), ranges)
    onnx.checker.check_model(written, full_check=True)
    assert {"q", "q.int8"} <= {each.name for each in written.graph.initializer}


def test_the_same_model_is_written_to_the_same_bytes():
    model, feeds = networks.attention()
    assert quantized(model, feeds).SerializeToString() == quantized(model, feeds).SerializeToString()


def test_vectors_are_stored_as_half_floats_unless_that_would_change_them():
    values = {
        "bias": np.linspace(-1, 1, 128),
        "tiny": np.full(128, 1e-30),  # would become zero
        "mixed": np.append(np.ones(127), 1e-9),  # one value would
        "wide": np.geomspace(1e-7, 1e5, 128),  # would be cut
        "short": np.ones(8),
    }
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in values.items()]
    sums = [helper.make_node("Add", ["x", name], [f"{name}.sum"]) for name in values]
    outputs = [helper.make_tensor_value_info(f"{name}.sum", TensorProto.FLOAT, None) for name in values]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]
    model = helper.make_model(helper.make_graph(sums, "vectors", inputs, outputs, tensors), ir_version=8)
    model.opset_import[0].version = 17
    strip(model)
    assert {each.name for each in model.graph.initializer} == {"bias.half", "tiny", "mixed", "wide", "short"}
    found = predictor(model, "onnxruntime").run({"x": np.zeros(1, np.float32)})
    for name, array in values.items():
        np.testing.assert_allclose(found[f"{name}.sum"], array, rtol=2**-11, atol=1e-7 if name == "bias" else 0)


def test_an_embedding_table_is_looked_up_in_int8():
    model, feeds = networks.attention()
    graph = Graph(quantized(model, feeds))
    (gather,) = (node for node in graph.model.graph.node if node.op_type == "Gather")
    assert graph.constants[gather.input[0]].data_type == TensorProto.INT8


def test_a_tensor_without_a_range_stays_fp32():
    model, _ = networks.convolutions()
    prepared = prepare(model)
    written = write_pairs(prepared, plan(prepared), {})
    assert not any(node.op_type == "QuantizeLinear" for node in written.graph.node)


def test_a_range_reaches_over_all_feeds():
    model, feeds = networks.convolutions()
    name = model.graph.input[0].name
    ranges = observe(model, [{name: feeds[0][name] * 0}, {name: feeds[0][name]}], [name])
    assert ranges[name] == Range(float(feeds[0][name].min()), float(feeds[0][name].max()))
