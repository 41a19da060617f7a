"""Model files, and what a backend cannot read; what all backends have in common is in tests/contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.errors import BackendError, BackendUnsupportedError, ModelError
from runtime.predictor import ModelFiles, load_predictor, model_files


@pytest.fixture(scope="module")
def paddle_sum(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    directory = tmp_path_factory.mktemp("paddle")
    _save_paddle(directory)
    return model_files(directory, "sum")


def _save_paddle(directory: Path) -> None:
    from compress.paddle_env import paddle

    class ScaleAndShift(paddle.nn.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.two = self.create_parameter([1], default_initializer=paddle.nn.initializer.Constant(2.0))

        def forward(self, left, right):  # type: ignore[no-untyped-def]
            return self.two * left + right

    spec = [paddle.static.InputSpec([None, 3], "float32", name) for name in ("left", "right")]
    layer = ScaleAndShift()
    layer.eval()
    paddle.jit.save(layer, str(directory / "inference"), input_spec=spec)


@pytest.mark.parametrize("keep", [0, 8, 20])
def test_truncated_paddle_weights_are_an_error_of_the_kit(paddle_sum: ModelFiles, keep: int) -> None:
    assert paddle_sum.weights is not None
    with pytest.raises(BackendError):
        load_predictor(ModelFiles("sum", "paddle", paddle_sum.graph, paddle_sum.weights[:keep]), "paddle")


def test_a_format_that_a_backend_cannot_read_is_said_with_those_that_can(
    paddle_sum: ModelFiles,
) -> None:
    with pytest.raises(BackendUnsupportedError, match="onnxruntime cannot read sum") as caught:
        load_predictor(paddle_sum, "onnxruntime")
    assert "openvino, paddle" in caught.value.remedy


def test_a_directory_without_a_model_and_one_without_weights_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        model_files(tmp_path, "x")
    (tmp_path / "inference.pdmodel").write_bytes(b"graph")
    with pytest.raises(ModelError, match=r"inference.pdiparams beside it is missing"):
        model_files(tmp_path, "x")
