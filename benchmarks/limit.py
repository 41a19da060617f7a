"""What this processor can do at most: matrix products in a row on OpenVINO, in FP32 and in INT8.

In a row, because a single INT8 product spends a third of its time on reading and writing FP32.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.harness import Times, take_turns
from runtime.predictor import ModelFiles, RunOptions, load_predictor

SIDE, LAYERS = 1024, 8
OPERATIONS = 2 * SIDE**3 * LAYERS


def encoder_operations(layers: int, hidden: int, inner: int, tokens: int) -> int:
    """Multiplications and additions of an ERNIE encoder for one text."""
    dense = 2 * tokens * (4 * hidden * hidden + 2 * hidden * inner)
    attention = 2 * 2 * tokens * tokens * hidden
    return layers * (dense + attention)


def peak(threads: int) -> dict[str, Times]:
    """Operations a second, in billions, by precision; one figure a round."""
    options = RunOptions(threads=threads)
    random = np.random.default_rng(0)
    x = random.standard_normal((SIDE, SIDE)).astype(np.float32)
    calls = {}
    for name, graph in (("FP32", _plain(random)), ("INT8", _quantized(random))):
        predictor = load_predictor(ModelFiles(name, "onnx", graph), "openvino", options)
        calls[name] = lambda predictor=predictor: predictor.run({"x": x})
    times = take_turns(calls, rounds=9)
    return {name: OPERATIONS / each / 1e6 for name, each in times.items()}


def _plain(random: np.random.Generator) -> bytes:
    nodes, constants = [], {}
    for layer, (source, target) in enumerate(_names()):
        constants[f"w{layer}"] = (random.standard_normal((SIDE, SIDE)) / SIDE**0.5).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [source, f"w{layer}"], [target]))
    return _model(nodes, constants)


def _quantized(random: np.random.Generator) -> bytes:
    nodes = []
    constants: dict[str, NDArray[Any]] = {"scale": np.array(0.03, np.float32), "zero": np.array(128, np.uint8)}
    for layer, (source, target) in enumerate(_names()):
        constants[f"w{layer}"] = random.integers(-127, 128, (SIDE, SIDE)).astype(np.int8)
        constants[f"s{layer}"] = np.full(SIDE, 5e-4, np.float32)
        nodes += [
            helper.make_node("QuantizeLinear", [source, "scale", "zero"], [f"q{layer}"]),
            helper.make_node("DequantizeLinear", [f"q{layer}", "scale", "zero"], [f"d{layer}"]),
            helper.make_node("DequantizeLinear", [f"w{layer}", f"s{layer}"], [f"f{layer}"], axis=1),
            helper.make_node("MatMul", [f"d{layer}", f"f{layer}"], [target]),
        ]
    return _model(nodes, constants)


def _names() -> list[tuple[str, str]]:
    names = ["x", *(f"h{layer}" for layer in range(1, LAYERS)), "y"]
    return list(pairwise(names))


def _model(nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "limit",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [SIDE, SIDE])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
