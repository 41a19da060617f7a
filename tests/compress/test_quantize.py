"""PaddleSlim's thresholds, found again in the ONNX export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from compress.export import to_onnx
from compress.paddle_env import paddle
from compress.quantize import quantize
from compress.slim import calibrate
from devices.errors import CalibrationError, CompressionError
from runtime.predictor import load_predictor, model_files


class Network(paddle.nn.Layer):
    """A convolution, a linear layer and a product of two activations: every kind of input PaddleSlim quantizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 64, 3, padding=1)
        self.linear = paddle.nn.Linear(64, 128)

    def forward(self, image):
        rows = paddle.nn.functional.hardswish(self.conv(image)).flatten(2).transpose([0, 2, 1])  # (N, H * W, 64)
        wide = self.linear(rows)
        return paddle.matmul(wide, wide, transpose_y=True) / 64


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("paddle")
    paddle.seed(0)
    spec = [paddle.static.InputSpec([None, 3, None, None], "float32", name="image")]
    network = Network()
    network.eval()
    paddle.jit.save(network, str(directory / "inference"), input_spec=spec)
    return directory


@pytest.fixture(scope="module")
def feeds() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    # batches of different shapes, as pages are
    return [{"image": rng.normal(size=(1, 3, 8, width)).astype(np.float32)} for width in (8, 12)]


@pytest.fixture(scope="module")
def reference(model_dir: Path, feeds, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    fp32 = to_onnx(model_dir, tmp_path_factory.mktemp("fp32") / "model.onnx")
    (output,) = load_predictor(model_files(fp32.parent, "fp32"), "onnxruntime").run(feeds[0]).values()
    return output


def test_thresholds_are_the_largest_values_and_nothing_is_left_behind(
    model_dir: Path, feeds, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    thresholds = calibrate(model_dir, feeds, tmp_path / "out")
    largest = max(float(np.abs(feed["image"]).max()) for feed in feeds)
    conv = [value for value in thresholds.values() if value.get(0) == pytest.approx(largest, rel=1e-5)]
    assert len(conv) == 1
    assert sorted(len(value) for value in thresholds.values()) == [1, 1, 2]
    assert not list((tmp_path / "cwd").iterdir())
    assert capfd.readouterr() == ("", "")


def test_for_openvino_the_pairs_stand_at_every_product(model_dir: Path, feeds, reference, tmp_path: Path):
    report = quantize(model_dir, feeds, tmp_path, backend="openvino")
    assert report.int8_operators == 3
    assert report.size_bytes == (tmp_path / "model.onnx").stat().st_size
    model = onnx.load(tmp_path / "model.onnx")
    assert sum(each.data_type == TensorProto.INT8 for each in model.graph.initializer) >= 2
    for backend in ("openvino", "onnxruntime"):
        (output,) = load_predictor(model_files(tmp_path, "int8", precision="int8"), backend).run(feeds[0]).values()
        assert 0 < np.abs(output - reference).mean() < 0.05 * np.abs(reference).mean()


def test_for_paddle_slims_own_model_is_the_result(model_dir: Path, feeds, reference, tmp_path: Path):
    # oneDNN would refuse seven bits, so none are made
    quantize(model_dir, feeds, tmp_path, backend="paddle", reduce_range=True)
    (output,) = load_predictor(model_files(tmp_path, "int8", precision="int8"), "paddle").run(feeds[0]).values()
    assert 0 < np.abs(output - reference).mean() < 0.1 * np.abs(reference).mean()


def test_paddles_graph_leaves_named_layers_in_fp32_and_takes_thresholds_from_training(
    model_dir: Path, feeds, reference, tmp_path: Path
):
    measured = calibrate(model_dir, feeds, tmp_path / "measured")
    assert len(measured) == 3
    (product,) = (name for name, inputs in measured.items() if len(inputs) == 2)
    conv, linear = (name for name in measured if name != product)
    trained = {conv: {0: measured[conv][0] / 2}}
    kept = calibrate(model_dir, feeds, tmp_path / "kept", keep_fp32={linear}, thresholds=trained)
    assert set(kept) == {conv, product}
    assert kept[conv][0] == pytest.approx(measured[conv][0] / 2)
    assert kept[product] == pytest.approx(measured[product])
    outputs = []
    for name in ("measured", "kept"):
        predictor = load_predictor(model_files(tmp_path / name, name, precision="int8"), "paddle")
        (output,) = predictor.run(feeds[0]).values()
        outputs.append(np.abs(output - reference).mean() / np.abs(reference).mean())
    assert 0 < outputs[0] < 0.1
    assert outputs[1] > 1.5 * outputs[0]  # half the range of the picture is cut off


def test_no_feeds_are_refused(model_dir: Path, tmp_path: Path):
    with pytest.raises(CalibrationError, match="no calibration data"):
        quantize(model_dir, [], tmp_path, backend="openvino")


def test_feeds_that_do_not_fit_are_a_compression_error(model_dir: Path, tmp_path: Path):
    wrong = [{"image": np.zeros((1, 4, 8, 8), np.float32)}]
    with pytest.raises(CompressionError, match="PaddleSlim could not quantize"):
        calibrate(model_dir, wrong, tmp_path)


@pytest.mark.parametrize("origin", ["slim", "training"])
def test_thresholds_cut_what_was_observed(
    origin: str, model_dir: Path, feeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    largest = max(float(np.abs(feed["image"]).max()) for feed in feeds)
    conv = next(
        node.output[0]
        for node in onnx.load(to_onnx(model_dir, tmp_path / "fp32.onnx")).graph.node
        if node.op_type == "Conv"
    )
    thresholds = {conv: {0: largest / 4}}
    given = {"thresholds": thresholds} if origin == "training" else {}
    # what training found is not measured again
    monkeypatch.setattr("compress.quantize.calibrate", lambda *_: {} if given else thresholds)
    quantize(model_dir, feeds, tmp_path, backend="openvino", **given)
    stored = {each.name: each for each in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert float(numpy_helper.to_array(stored["image.scale"])) == pytest.approx(largest / 2 / 255, rel=1e-5)
