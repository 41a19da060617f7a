"""Layers left in FP32: the ones that measurement names, and no more than are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.fallback import quantize_with_fallback, sensitivity
from compress.quantize import measure, quantize
from runtime.predictor import load_predictor, model_files

WIDTH, LAYERS, BROKEN = 32, 9, 3
Feeds = list[dict[str, np.ndarray]]


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    """Dense layers, one of which reads a tensor where a single channel is a thousand times larger than the others.

    That channel's weights are zero, so FP32 does not care; INT8 spends all its steps on it and loses the others.
    """
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float32) for i in range(LAYERS)}
    weights[f"w{BROKEN}"][0] = 0
    outlier = np.zeros(WIDTH, np.float32)
    outlier[0] = 1000
    weights["outlier"] = outlier
    nodes, source = [], "x"
    for i in range(LAYERS):
        if i == BROKEN:
            nodes.append(helper.make_node("Add", [source, "outlier"], ["far"]))
            source = "far"
        nodes.append(helper.make_node("MatMul", [source, f"w{i}"], [f"layer{i}"]))
        nodes.append(helper.make_node("Tanh", [f"layer{i}"], [f"out{i}"]))
        source = f"out{i}"
    graph = helper.make_graph(
        nodes,
        "outlier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, WIDTH])],
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, [None, WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    (tmp_path / "fp32").mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "fp32" / "model.onnx")
    return tmp_path / "fp32"


@pytest.fixture
def feeds() -> Feeds:
    rng = np.random.default_rng(1)
    return [{"x": rng.normal(size=(8, WIDTH)).astype(np.float32)} for _ in range(6)]


def error(directory: Path, reference: Path, feeds: Feeds) -> float:
    outputs = [
        np.concatenate(
            [
                next(iter(predictor.run(feed).values()))
                for predictor in [load_predictor(model_files(each, "m"), "openvino")]
                for feed in feeds
            ]
        )
        for each in (directory, reference)
    ]
    return float(np.linalg.norm(outputs[0] - outputs[1]) / np.linalg.norm(outputs[1]))


def test_the_broken_layer_is_named_first_by_far(model_dir: Path, feeds: Feeds):
    stages: list[tuple[str, float]] = []
    ranked = sensitivity(measure(model_dir, feeds), feeds, progress=lambda *each: stages.append(each))
    assert [name for name, _ in ranked][0] == f"layer{BROKEN}"
    assert {name for name, _ in ranked} == {f"layer{i}" for i in range(LAYERS)}
    assert ranked[0][1] > 5 * ranked[1][1] > 0
    assert stages[0] == ("rank operators", 0.0)
    assert stages[-1] == ("rank operators", 1.0)


def test_only_fallback_rescues_a_model_with_an_outlier(model_dir: Path, feeds: Feeds, tmp_path: Path):
    quantize(model_dir, feeds, tmp_path / "plain", backend="openvino")
    assert error(tmp_path / "plain", model_dir, feeds) > 0.3
    found = quantize_with_fallback(
        model_dir, feeds, tmp_path / "out", backend="openvino", accept=lambda out: error(out, model_dir, feeds) < 0.05
    )
    assert found.accepted
    assert found.kept_fp32 == (f"layer{BROKEN}",)
    assert found.report.int8_operators == LAYERS - 1
    assert error(tmp_path / "out", model_dir, feeds) < 0.05


def test_a_model_that_passes_keeps_no_layer_and_ranks_none(model_dir: Path, feeds: Feeds, tmp_path: Path):
    stages: list[str] = []
    found = quantize_with_fallback(
        model_dir,
        feeds,
        tmp_path,
        backend="openvino",
        accept=lambda out: True,
        progress=lambda stage, share: stages.append(stage),
    )
    assert (found.accepted, found.kept_fp32, stages) == (True, (), [])


@pytest.mark.parametrize("needed", [1, 3, 4])
def test_as_few_layers_as_possible_are_kept_and_the_last_file_is_the_accepted_one(
    needed: int, model_dir: Path, feeds: Feeds, tmp_path: Path
):
    def int8_layers() -> int:
        model = onnx.load(tmp_path / "model.onnx")
        return sum(each.data_type == TensorProto.INT8 and each.dims != [] for each in model.graph.initializer)

    found = quantize_with_fallback(
        model_dir, feeds, tmp_path, backend="openvino", accept=lambda out: int8_layers() <= LAYERS - needed
    )
    assert found.accepted
    assert len(found.kept_fp32) == needed
    assert int8_layers() == LAYERS - needed == found.report.int8_operators


def test_past_half_of_the_operators_it_gives_up_and_leaves_all_in_int8(model_dir: Path, feeds: Feeds, tmp_path: Path):
    tried: list[int] = []
    found = quantize_with_fallback(
        model_dir, feeds, tmp_path, backend="openvino", accept=lambda out: bool(tried.append(1))
    )
    assert not found.accepted
    assert found.kept_fp32 == ()
    assert found.report.int8_operators == LAYERS
    assert len(tried) == 4  # all in INT8, then one, two and four in FP32


def test_an_operator_that_does_not_exist_is_a_mistake_of_the_caller(model_dir: Path, feeds: Feeds, tmp_path: Path):
    with pytest.raises(ValueError, match="layer99"):
        quantize(model_dir, feeds, tmp_path, backend="openvino", keep_fp32={"layer99"})
