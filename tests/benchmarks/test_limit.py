"""What a model has to do at least, counted from its graph, and the roofline."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from benchmarks.harness import Report
from benchmarks.limit import draw
from benchmarks.operations import Work, work
from benchmarks.peak import OPERATIONS, SIDE, _plain, _quantized

Floats = NDArray[np.float32]


def graph(nodes: list[onnx.NodeProto], shape: list[int], **weights: NDArray[Any]) -> bytes:
    """A model from ``x`` of ``shape`` to ``y``."""
    made = helper.make_graph(
        nodes,
        "counted",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None] * len(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def floats(*shape: int) -> Floats:
    return np.ones(shape, np.float32)


def test_a_product_counts_two_for_each_of_its_multiplications_and_moves_everything_once() -> None:
    model = graph([helper.make_node("MatMul", ["x", "w"], ["y"])], [2, 3], w=floats(3, 5))
    assert work(model, {"x": floats(2, 3)}) == Work(int8=0, other=2 * 2 * 3 * 5, bytes=4 * (6 + 15 + 10))


def test_a_product_of_two_computed_values_has_no_weights_to_read() -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["t"]), helper.make_node("MatMul", ["x", "t"], ["y"])]
    assert work(graph(nodes, [2, 3]), {"x": floats(2, 3)}) == Work(int8=0, other=2 * 2 * 3 * 2, bytes=4 * (6 + 4))


def test_gemm_counts_the_side_that_it_turns() -> None:
    model = graph([helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)], [3, 2], w=floats(3, 5))
    assert work(model, {"x": floats(3, 2)}).operations == 2 * 2 * 3 * 5


def test_convolutions_count_by_the_picture_that_they_are_run_on_and_by_their_groups() -> None:
    conv = graph([helper.make_node("Conv", ["x", "w"], ["y"], group=2)], [1, 4, 9, 9], w=floats(6, 2, 3, 3))
    assert work(conv, {"x": floats(1, 4, 9, 9)}).operations == 2 * (6 * 7 * 7) * (2 * 3 * 3)
    back = graph(
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])], [1, 4, 5, 5], w=floats(4, 6, 2, 2)
    )
    assert work(back, {"x": floats(1, 4, 5, 5)}).operations == 2 * (4 * 5 * 5) * (6 * 2 * 2)


def test_an_lstm_counts_every_step() -> None:
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4)
    model = graph([node], [7, 2, 3], w=floats(1, 16, 3), r=floats(1, 16, 4))
    assert work(model, {"x": floats(7, 2, 3)}).operations == 2 * 7 * 2 * 16 * (3 + 4)


def test_what_is_int8_on_both_sides_counts_as_such_and_its_weights_as_they_are_stored() -> None:
    quantized = work(_quantized(np.random.default_rng(0)), {"x": floats(SIDE, SIDE)})
    plain = work(_plain(np.random.default_rng(0)), {"x": floats(SIDE, SIDE)})
    assert (quantized.int8, quantized.other) == (OPERATIONS, 0)
    assert (plain.int8, plain.other) == (0, OPERATIONS)
    ends = 2 * 4 * SIDE**2
    assert plain.bytes - ends == 4 * (quantized.bytes - ends)


def test_a_product_with_one_side_in_int8_is_none_of_int8() -> None:
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = graph(nodes, [2, 3], q=np.ones((3, 5), np.int8), s=np.array(0.5, np.float32))
    assert work(model, {"x": floats(2, 3)}) == Work(int8=0, other=60, bytes=4 * (6 + 10) + 15)


def test_the_least_time_is_of_both_kinds_of_operations_at_their_own_rates() -> None:
    computing, moving = Work(int8=4000, other=1000, bytes=50).least_ms(
        np.array([4000.0]), np.array([500.0]), np.array([1000.0])
    )
    assert (computing[0], moving[0]) == (pytest.approx(3000), pytest.approx(50))


def test_the_roofline_is_drawn_of_what_was_measured_and_of_nothing_else(tmp_path: Path) -> None:
    report = Report("try", Console(file=io.StringIO()), tmp_path)
    draw(report, tmp_path / "limit.png")
    assert not (tmp_path / "limit.png").exists()
    report.details |= {
        "peaks, GOP/s": {"fp32": 100.0, "int8": 400.0},
        "bandwidth, GB/s": 20.0,
        "models": {"A": {"GOP": 1.0, "MB": 5.0, "ms": 10.0, "GOP/s": 100.0}},
    }
    draw(report, tmp_path / "limit.png")
    assert (tmp_path / "limit.png").stat().st_size > 5_000
