"""Q/DQ pairs: the arithmetic, and that what is written still computes the same on both backends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from compress.calibration import Range, observe
from compress.graph import Graph, prepare
from compress.qdq import activation_encoding, plan, quantize_weight, write_pairs
from devices.errors import CalibrationError
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
    chosen = plan(prepared)
    return write_pairs(
        prepared, chosen, observe(prepared, feeds, sorted(chosen.activations)), reduce_range=reduce_range
    )


@given(finite, finite, finite, st.booleans())
def test_a_value_in_range_comes_back_within_half_a_step(low: float, high: float, value: float, symmetric: bool):
    low, high = min(low, high, 0.0), max(low, high, 0.0)
    encoding = activation_encoding(Range(low, high), symmetric=symmetric)
    value = min(max(value, low), high)
    integer = np.clip(np.rint(value / encoding.scale) + encoding.zero_point, 0, 255)
    # the asymmetric zero point is itself rounded, which moves both ends by up to half a step
    slack = 0.5 if value not in (low, high) and symmetric else 1.0
    assert abs((integer - encoding.zero_point) * encoding.scale - value) <= slack * encoding.scale * (1 + 1e-6)


@given(finite, finite, st.booleans())
def test_zero_is_exact_so_that_padding_is(low: float, high: float, symmetric: bool):
    encoding = activation_encoding(Range(min(low, high), max(low, high)), symmetric=symmetric)
    assert 0 <= encoding.zero_point <= 255
    assert encoding.scale > 0


def test_a_symmetric_encoding_has_its_zero_in_the_middle_unless_nothing_is_negative():
    assert activation_encoding(Range(-1, 2), symmetric=True).zero_point == 128
    assert activation_encoding(Range(0, 2), symmetric=True).zero_point == 0
    assert activation_encoding(Range(-1, 2), symmetric=False).zero_point == 85


@pytest.mark.parametrize(("reduce_range", "limit"), [(False, 127), (True, 64)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_comes_back_within_half_a_step_of_its_channel(axis: int, reduce_range: bool, limit: int):
    weight = np.random.default_rng(0).normal(0, [[0.01], [1.0], [100.0]], (3, 30)).astype(np.float32)
    weight = weight if axis == 0 else weight.T
    integers, scales = quantize_weight(weight, axis, reduce_range=reduce_range)
    assert integers.dtype == np.int8
    assert np.abs(integers.astype(int)).max() == limit
    step = scales[:, None] if axis == 0 else scales[None, :]
    assert (np.abs(integers * step - weight) <= step / 2 * (1 + 1e-5)).all()


def test_a_channel_of_zeros_stays_zero_and_keeps_a_scale_that_a_bias_can_be_divided_by():
    integers, scales = quantize_weight(np.array([[0, 0], [1, 2]], np.float32), 0)
    assert not integers[0].any()
    assert scales[0] == pytest.approx(2e-6 / 127)
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


def test_attention_is_quantized_between_activations_too():
    model, feeds = networks.attention()
    graph = Graph(quantized(model, feeds))
    products = [node for node in graph.model.graph.node if node.op_type == "MatMul"]
    assert len(products) == 6
    for node in products:
        for name in node.input:
            assert graph.producers[name].op_type == "DequantizeLinear"


def test_depthwise_and_pooled_convolutions_stay_fp32():
    model, feeds = networks.convolutions()
    graph = Graph(quantized(model, feeds))
    kinds = {
        node.name: graph.producers[node.input[1]].op_type if node.input[1] in graph.producers else "FP32"
        for node in graph.model.graph.node
        if node.op_type == "Conv"
    }
    assert kinds == {
        "first": "DequantizeLinear",
        "depthwise": "FP32",
        "pointwise": "DequantizeLinear",
        "squeeze": "FP32",
        "last": "DequantizeLinear",
    }


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


def test_no_feeds_are_refused():
    model, _ = networks.convolutions()
    with pytest.raises(CalibrationError, match="no calibration data"):
        observe(model, [], [])


def test_values_that_are_not_numbers_are_refused():
    model, feeds = networks.convolutions()
    name = model.graph.input[0].name
    with pytest.raises(CalibrationError, match="not numbers"):
        observe(model, [{name: np.full_like(feeds[0][name], np.nan)}], [name])
