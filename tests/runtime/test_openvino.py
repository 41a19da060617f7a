"""What only OpenVINO does: it drops operators and hands their names on; an output of fixed shape is the request's."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.artifact import ModelEntry
from runtime.choice import Golden, choose_backend
from runtime.predictor import Backend, ModelFiles, RunOptions, load_predictor


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


def dense(seed: int, width: int = 64) -> tuple[ModelFiles, Golden]:
    """One layer with its golden output; its weights are easy to damage in a file."""
    weight = np.random.default_rng(seed).normal(size=(width, width)).astype(np.float32)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width]) for name in ("x", "y")]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "dense", values[:1], values[1:], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.eye(width, dtype=np.float32)
    return ModelFiles("dense", "onnx", model.SerializeToString()), Golden({"x": x}, {"y": weight})


def served(files: ModelFiles, golden: Golden, cache: Path) -> list[str]:
    """Choose a backend that keeps compiled models in ``cache``; returns what was passed over."""
    entry = ModelEntry(name="dense", tolerance=1e-4)
    choice = choose_backend(files, entry, golden, ["openvino"], RunOptions(cache_dir=cache), full_int8=True)
    assert choice.predictor.backend == "openvino"
    return choice.passed_over


def blobs(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.blob"))


def test_a_damaged_compiled_model_is_removed_and_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files, golden = dense(1)
    assert served(files, golden, tmp_path) == []
    (blob,) = blobs(tmp_path)
    whole = blob.read_bytes()
    place = whole.find(golden.outputs["y"].tobytes()[:64])
    assert place > 0
    blob.write_bytes(whole[:place] + b"\x40" * 4096 + whole[place + 4096 :])
    with caplog.at_level(logging.WARNING):
        assert served(files, golden, tmp_path) == []
    assert "damaged and was removed" in caplog.text
    assert blobs(tmp_path) == []
    caplog.clear()
    assert served(files, golden, tmp_path) == []
    assert len(blobs(tmp_path)) == 1
    assert caplog.text == ""


def test_compiled_models_of_older_bundles_are_removed(tmp_path: Path) -> None:
    for seed in (1, 2, 3, 4):
        served(*dense(seed), tmp_path)
    assert len(blobs(tmp_path)) == 2


def test_where_nothing_can_be_kept_it_is_compiled_anew_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "openvino").write_text("a file in the way")
    with caplog.at_level(logging.WARNING):
        assert served(*dense(1), tmp_path) == []
    assert "dense is compiled anew at every start" in caplog.text


@pytest.mark.parametrize(
    ("precision", "bf16", "computed", "hint"),
    [
        ("bf16", True, "bf16", "bf16"),
        ("bf16", False, "fp32", "f32"),
        ("int8+bf16", True, "int8+bf16", "bf16"),
        ("int8+bf16", False, "int8", "f32"),
        ("int8", True, "int8", "f32"),
        ("fp32", True, "fp32", "f32"),
    ],
)
def test_bf16_is_asked_for_only_where_the_model_and_the_processor_have_it(
    precision: str, bf16: bool, computed: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runtime.backends import openvino

    asked: list[object] = []

    def noted(backend: Backend, options: RunOptions, precision: str) -> dict[str, object]:
        config = device_config(backend, options, precision)
        asked.append(config["INFERENCE_PRECISION_HINT"])
        return config | {"INFERENCE_PRECISION_HINT": "f32"}  # as every processor can

    device_config = openvino.device_config
    monkeypatch.setattr(openvino, "device_config", noted)
    monkeypatch.setattr(openvino, "_computes_bf16", lambda core: bf16)
    predictor = load_predictor(replace(dense(0)[0], precision=precision), "openvino")
    assert (predictor.precision, asked) == (computed, [hint])


@pytest.mark.parametrize(("precision", "computed"), [("bf16", "fp32"), ("int8+bf16", "int8")])
def test_other_libraries_take_the_files_and_compute_without_bf16(precision: str, computed: str) -> None:
    assert load_predictor(replace(dense(0)[0], precision=precision), "onnxruntime").precision == computed
