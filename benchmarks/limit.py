"""What this processor can do at most: a large matrix product on OpenVINO, in FP32 and in INT8."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.harness import Times, take_turns
from runtime.predictor import ModelFiles, RunOptions, load_predictor

SIDE = 1536
OPERATIONS = 2 * SIDE**3


def encoder_operations(layers: int, hidden: int, inner: int, tokens: int) -> int:
    """Multiplications and additions of an ERNIE encoder for one text."""
    dense = 2 * tokens * (4 * hidden * hidden + 2 * hidden * inner)
    attention = 2 * 2 * tokens * tokens * hidden
    return layers * (dense + attention)


def peak(threads: int) -> dict[str, Times]:
    """Operations a second, in billions, by precision; one figure a round."""
    options = RunOptions(threads=threads)
    random = np.random.default_rng(0)
    weights = random.integers(-100, 100, (SIDE, SIDE))
    calls = {}
    for name, graph, array in (
        ("FP32", _plain(weights), random.random((SIDE, SIDE), np.float32)),
        ("INT8", _quantized(weights), random.integers(0, 255, (SIDE, SIDE)).astype(np.uint8)),
    ):
        predictor = load_predictor(ModelFiles(name, "onnx", graph), "openvino", options)
        calls[name] = lambda predictor=predictor, array=array: predictor.run({"x": array})
    times = take_turns(calls, rounds=7)
    return {name: OPERATIONS / each / 1e6 for name, each in times.items()}


def _plain(weights: NDArray[Any]) -> bytes:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return _model([node], TensorProto.FLOAT, {"w": weights.astype(np.float32)})


def _quantized(weights: NDArray[Any]) -> bytes:
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "scale"], ["wf"]),
        helper.make_node("MatMul", ["xf", "wf"], ["y"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "w": weights.astype(np.int8),
        "scale": np.array(0.01, np.float32),
        "zero": np.array(128, np.uint8),
    }
    return _model(nodes, TensorProto.UINT8, constants)


def _model(nodes: list[onnx.NodeProto], kind: int, constants: dict[str, NDArray[Any]]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "limit",
        [helper.make_tensor_value_info("x", kind, [SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [SIDE, SIDE])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
