"""What comes in is looked through before anything is computed with it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compress.export import to_openvino
from compress.paddle_env import paddle
from compress.source import check_source, require_backend
from devices.errors import (
    BackendNotInstalledError,
    BackendUnsupportedError,
    CompressionError,
    EdgeKitError,
    ModelError,
)
from devices.profile import Backend
from runtime.predictor import model_files
from tests.compress import networks, paddle_nets


def check(directory: Path, backend: Backend) -> None:
    check_source(model_files(directory, "m"), backend, origin=directory)


def save_onnx(directory: Path, **weights: np.ndarray) -> Path:
    """The network of convolutions with other weights, or more."""
    model, _ = networks.convolutions()
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *(numpy_helper.from_array(each, name) for name, each in weights.items())])
    onnx.save(model, directory / "model.onnx")
    return directory


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_numbers_are_refused_by_name(tmp_path: Path, value: float):
    w5 = np.zeros((8, 96, 3, 3), np.float32)
    w5[3, 2, 1, 0] = w5[0, 0, 0, 1] = value
    w5[1] = 1
    with pytest.raises(ModelError, match="Weight 'w5' .* holds 2 that are not numbers, of 6,912") as caught:
        check(save_onnx(tmp_path, w5=w5), "openvino")
    assert caught.value.state == "Nothing was compressed."


def test_a_paddle_weight_that_is_not_a_number_is_refused_by_name(tmp_path: Path):
    network = paddle.nn.Linear(4, 3)
    network.weight.set_value(np.array([[0, 1, np.nan]] * 4, np.float32))
    paddle_nets.save(network, tmp_path, x=([None, 4], "float32"))
    with pytest.raises(ModelError, match=r"Weight 'linear_\d+\.w_\d+' .* holds 4 that are not numbers, of 12"):
        check(tmp_path, "openvino")


def test_a_mask_of_minus_infinity_is_none_of_them(tmp_path: Path):
    mask = np.triu(np.full((4, 4), -np.inf, np.float32), 1)
    check(save_onnx(tmp_path, mask=mask), "openvino")


@pytest.mark.parametrize("kept", [1, 100, -1])
def test_an_onnx_file_that_is_cut_short_is_refused(tmp_path: Path, kept: int):
    path = save_onnx(tmp_path) / "model.onnx"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError, match="damaged or not whole"):
        check(tmp_path, "openvino")


def test_weights_in_another_file_are_refused_with_the_remedy(tmp_path: Path):
    onnx.save(networks.convolutions()[0], tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match="another file") as caught:
        check(tmp_path, "openvino")
    assert "onnx.save" in caught.value.remedy


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "paddle"])
def test_an_openvino_model_has_no_way_back(tmp_path: Path, backend: Backend):
    to_openvino(save_onnx(tmp_path) / "model.onnx", tmp_path / "ir" / "model.xml")
    with pytest.raises(CompressionError, match=r"OpenVINO model \(model\.xml\)"):
        check(tmp_path / "ir", backend)


def test_formats_go_where_there_is_a_way(tmp_path: Path):
    save_onnx(tmp_path)
    paddle_nets.save_pir(tmp_path / "pir")
    check(tmp_path, "openvino")
    check(tmp_path, "onnxruntime")
    check(tmp_path / "pir", "paddle")
    ways: tuple[tuple[Path, Backend, type[EdgeKitError]], ...] = (
        (tmp_path, "paddle", BackendUnsupportedError),
        (tmp_path / "pir", "openvino", CompressionError),
        (tmp_path / "pir", "onnxruntime", CompressionError),
    )
    for directory, backend, error in ways:
        with pytest.raises(error):
            check(directory, backend)


@pytest.mark.parametrize(("backend", "library"), [("openvino", "openvino"), ("onnxruntime", "onnxruntime")])
def test_a_backend_that_is_not_installed_is_said_before_any_work(
    backend: Backend, library: str, monkeypatch: pytest.MonkeyPatch
):
    require_backend(backend)
    monkeypatch.delitem(sys.modules, f"runtime.backends.{backend}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BackendNotInstalledError, match=f"Backend {backend}"):
        require_backend(backend)
