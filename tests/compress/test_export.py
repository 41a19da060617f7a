"""To ONNX and OpenVINO: what works, and what is refused in words."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.export import opset, to_onnx, to_openvino
from compress.paddle_env import paddle
from compress.quantize import quantize
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


def old_onnx(directory: Path) -> onnx.ModelProto:
    """A convolution in opset 11, as PP-OCRv6 comes; its scales for each channel need 13."""
    weight = np.random.default_rng(0).normal(0, 0.3, (16, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3]), helper.make_node("Relu", ["c"], ["y"])],
        "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3, None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 16, None, None])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 6
    helper.set_model_props(model, {"character": "甲\n乙"})
    onnx.save(model, directory / "model.onnx")
    return model


def test_an_old_onnx_model_is_raised_so_that_it_can_be_quantized(tmp_path: Path):
    old_onnx(tmp_path)
    written = to_onnx(tmp_path, tmp_path / "new" / "model.onnx")
    assert opset(onnx.load(written)) == 17
    assert onnx.load(written).metadata_props[0].value == "甲\n乙"
    feeds = [{"x": np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)}]
    quantize(tmp_path, feeds, tmp_path / "int8", backend="openvino")
    outputs = [
        load_predictor(model_files(directory, "m"), "openvino").run(feeds[0])["y"]
        for directory in (tmp_path, tmp_path / "new", tmp_path / "int8")
    ]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)
    np.testing.assert_allclose(outputs[0], outputs[2], atol=0.05 * outputs[0].max())


def test_an_old_onnx_model_without_a_way_up_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise onnx.version_converter.ConvertError("No adapter to version 12 for Bank.")

    old_onnx(tmp_path)
    monkeypatch.setattr("compress.export.version_converter.convert_version", fail)
    assert to_onnx(tmp_path, tmp_path / "new.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()


def test_a_full_disk_is_told_from_a_model_that_cannot_be_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paddle_nets.save(paddle.nn.Linear(4, 4), tmp_path, x=([None, 4], "float32"))

    def full(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "OSError: [Errno 28] No space left on device: 'out.onnx'")

    monkeypatch.setattr("compress.export.subprocess.run", full)
    with pytest.raises(OSError, match="No space left") as caught:
        to_onnx(tmp_path, tmp_path / "out.onnx")
    assert caught.value.errno == errno.ENOSPC


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
