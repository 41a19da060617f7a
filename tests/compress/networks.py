"""Two tiny ONNX networks with random weights: one of convolutions, one with attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.predictor import Backend, ModelFiles, Predictor, RunOptions, load_predictor

Feeds = list[dict[str, np.ndarray]]


def load_with_bf16(files: ModelFiles, backend: Backend, options: RunOptions | None = None) -> Predictor:
    """``load_predictor`` as on a processor with BF16, on any: it computes in FP32 and rounds the outputs."""
    predictor = load_predictor(replace(files, precision="fp32"), backend, options)
    predictor.precision = files.precision
    if files.precision == "bf16":
        run = predictor.run
        predictor.run = lambda feeds: {name: as_bf16(value) for name, value in run(feeds).items()}
    return predictor


def as_bf16(values: np.ndarray) -> np.ndarray:
    """Floats cut to the 8 bits of mantissa that BF16 has."""
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _model(nodes, weights: dict[str, np.ndarray], inputs, outputs) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "tiny", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in weights.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def convolutions() -> tuple[onnx.ModelProto, Feeds]:
    """(1, 3, 32, 32) to (1, 8, 32, 32): what PP-OCR is made of, squeeze and excitation included."""
    rng = np.random.default_rng(0)

    def normal(*shape: int, scale: float = 0.2) -> np.ndarray:
        return rng.normal(0, scale, shape).astype(np.float32)

    weights = {
        "w1": normal(48, 3, 3, 3, scale=0.3),
        "gamma": rng.uniform(0.5, 1.5, 48).astype(np.float32),
        "beta": normal(48),
        "mean": normal(48),
        "variance": rng.uniform(0.5, 1.5, 48).astype(np.float32),
        "w2": normal(48, 1, 3, 3, scale=0.4),
        "w3": normal(96, 48, 1, 1, scale=0.2),
        "w4": normal(96, 96, 1, 1, scale=0.1),
        "w5": normal(8, 96, 3, 3, scale=0.1),
    }
    half = numpy_helper.from_array(np.array(0.5, np.float32))
    pad = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], name="first", **pad),
        helper.make_node("BatchNormalization", ["c1", "gamma", "beta", "mean", "variance"], ["n1"]),
        helper.make_node("HardSwish", ["n1"], ["a1"]),
        helper.make_node("Conv", ["a1", "w2"], ["c2"], name="depthwise", group=48, **pad),
        helper.make_node("Constant", [], ["half"], value=half),
        helper.make_node("Mul", ["c2", "half"], ["m2"]),
        helper.make_node("Conv", ["m2", "w3"], ["c3"], name="pointwise"),
        helper.make_node("GlobalAveragePool", ["c3"], ["p3"]),
        helper.make_node("Conv", ["p3", "w4"], ["s3"], name="squeeze"),
        helper.make_node("HardSigmoid", ["s3"], ["h3"]),
        helper.make_node("Mul", ["c3", "h3"], ["e3"]),
        helper.make_node("Add", ["c3", "e3"], ["a3"]),
        helper.make_node("Conv", ["a3", "w5"], ["y"], name="last", **pad),
    ]
    model = _model(
        nodes,
        weights,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 8, None, None])],
    )
    return model, [{"x": normal(1, 3, 32, 32, scale=1.0)} for _ in range(4)]


def attention() -> tuple[onnx.ModelProto, Feeds]:
    """Ids (B, T) to (B, T, 64): an embedding and one attention layer with four projections."""
    rng = np.random.default_rng(1)
    width = 64
    weights = {name: rng.normal(0, 0.15, (width, width)).astype(np.float32) for name in ("q", "k", "v", "o")}
    weights["table"] = rng.normal(0, 1, (2000, width)).astype(np.float32)
    weights["scale"] = np.array(width**-0.5, np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        *(helper.make_node("MatMul", ["e", name], [f"{name}x"]) for name in ("q", "k", "v")),
        helper.make_node("Mul", ["qx", "scale"], ["qs"]),
        helper.make_node("Transpose", ["kx"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["qs", "kt"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["chances"], axis=-1),
        helper.make_node("MatMul", ["chances", "vx"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "o"], ["ox"]),
        helper.make_node("Add", ["ox", "e"], ["y"]),
    ]
    model = _model(
        nodes,
        weights,
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None, width])],
    )
    return model, [{"ids": rng.integers(0, 2000, (2, 16))} for _ in range(4)]
