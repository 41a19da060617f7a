"""To ONNX and OpenVINO: what works, and what is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from compress.export import to_onnx, to_openvino
from compress.paddle_env import paddle
from devices.errors import CompressionError, ModelError
from runtime.predictor import load_predictor, model_files
from tests.compress import networks, paddle_nets


def test_a_paddle_model_keeps_its_free_dimensions_and_values(tmp_path: Path):
    paddle.seed(0)
    layer = paddle.nn.Sequential(paddle.nn.Linear(4, 8), paddle.nn.LayerNorm(8))
    layer.eval()
    paddle.jit.save(layer, str(tmp_path / "inference"), [paddle.static.InputSpec([None, None, 4], "float32", "x")])
    out = to_onnx(tmp_path, tmp_path / "deep" / "er" / "model.onnx")
    predictor = load_predictor(model_files(out.parent, "m"), "onnxruntime")
    assert [spec.shape for spec in predictor.inputs] == [(None, None, 4)]
    feed = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    (output,) = predictor.run({"x": feed}).values()
    np.testing.assert_allclose(output, layer(paddle.to_tensor(feed)).numpy(), atol=1e-5)


def test_what_paddle2onnx_cannot_convert_leaves_no_file_and_the_process_alive(tmp_path: Path):
    class Unknown(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.line = paddle.nn.Linear(4, 4)

        def forward(self, x):
            return paddle.lgamma(self.line(x))

    paddle.jit.save(Unknown(), str(tmp_path / "inference"), [paddle.static.InputSpec([None, 4], "float32", "x")])
    with pytest.raises(CompressionError, match="paddle2onnx could not convert") as caught:
        to_onnx(tmp_path, tmp_path / "out.onnx")
    assert "model.onnx" in caught.value.remedy
    assert not (tmp_path / "out.onnx").exists()


def test_a_damaged_paddle_model_is_refused_before_the_converter_sees_it(tmp_path: Path):
    (tmp_path / "inference.pdmodel").write_bytes(b"no model")
    (tmp_path / "inference.pdiparams").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="not whole"):
        to_onnx(tmp_path, tmp_path / "out.onnx")


def test_paddles_new_format_is_refused_with_both_ways_out(tmp_path: Path):
    paddle_nets.save_pir(tmp_path)
    with pytest.raises(CompressionError, match=r"inference\.json") as caught:
        to_onnx(tmp_path, tmp_path / "out.onnx")
    assert "FLAGS_enable_pir_api=0" in caught.value.remedy
    assert "backend is paddle" in caught.value.remedy


def test_an_onnx_model_is_copied(tmp_path: Path):
    onnx.save(networks.attention()[0], tmp_path / "model.onnx")
    assert to_onnx(tmp_path, tmp_path / "copy.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()


def test_a_directory_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="holds no model"):
        to_onnx(tmp_path, tmp_path / "out.onnx")


def test_openvinos_own_format_keeps_full_precision(tmp_path: Path):
    model, feeds = networks.convolutions()
    onnx.save(model, tmp_path / "model.onnx")
    to_openvino(tmp_path / "model.onnx", tmp_path / "ir" / "model.xml")
    outputs = [
        next(iter(load_predictor(model_files(directory, "m"), "openvino").run(feeds[0]).values()))
        for directory in (tmp_path, tmp_path / "ir")
    ]
    np.testing.assert_allclose(*outputs, atol=1e-5)
    with pytest.raises(CompressionError, match="no way back"):
        to_onnx(tmp_path / "ir", tmp_path / "again.onnx")


def test_what_openvino_cannot_read_is_refused(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(CompressionError, match="could not convert"):
        to_openvino(tmp_path / "model.onnx", tmp_path / "model.xml")
