"""What this machine can do at most: matrix products in a row on OpenVINO, whose CPU code is oneDNN's, and copying.

In a row, because a single INT8 product spends a third of its time on reading and writing FP32. Copying is glibc's, one
thread a core, in blocks that no cache holds; a byte read and a byte written count as two, as in STREAM's Copy
(McCalpin 1995).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from runtime.predictor import ModelFiles, RunOptions, load_predictor

SIDE, LAYERS = 1024, 8
OPERATIONS = 2 * SIDE**3 * LAYERS
COPIED_BYTES = 2 * 128 * 2**20  # of each thread: as many read as written


def products(threads: int) -> dict[str, Callable[[], object]]:
    """``OPERATIONS`` in each precision that this processor computes in."""
    options = RunOptions(threads=threads)
    random = np.random.default_rng(0)
    x = random.standard_normal((SIDE, SIDE)).astype(np.float32)
    plain = _plain(random)
    calls: dict[str, Callable[[], object]] = {}
    for precision, graph in (("fp32", plain), ("bf16", plain), ("int8", _quantized(random))):
        predictor = load_predictor(ModelFiles(precision, "onnx", graph, precision=precision), "openvino", options)
        if predictor.precision == precision:  # without BF16 OpenVINO computes in FP32
            calls[precision] = partial(predictor.run, {"x": x})
    return calls


def copying(threads: int) -> Callable[[], object]:
    """Moves ``threads * COPIED_BYTES`` through memory."""
    pool = ThreadPoolExecutor(threads)
    blocks = [(np.zeros(COPIED_BYTES // 2, np.uint8), np.ones(COPIED_BYTES // 2, np.uint8)) for _ in range(threads)]
    return lambda: list(pool.map(lambda pair: np.copyto(*pair), blocks))


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
        "peak",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [SIDE, SIDE])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
