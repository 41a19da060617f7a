"""One suite for every backend: the same model, the same answers, the same refusals."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from devices.errors import BackendError, BackendUnsupportedError, ModelError, RequestError
from runtime.predictor import Backend, ModelFiles, Predictor, RunOptions, load_predictor, model_files


@pytest.fixture(scope="module")
def scale_and_shift(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFiles]:
    """sum = 2 * left + right, both (N, 3), as ONNX and as Paddle; inputs that are easy to swap by mistake."""
    nodes = [
        helper.make_node("Mul", ["left", "two"], ["doubled"]),
        helper.make_node("Add", ["doubled", "right"], ["sum"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("left", "right", "sum")]
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    graph = helper.make_graph(nodes, "scale_and_shift", values[:2], values[2:], [two])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    directory = tmp_path_factory.mktemp("paddle")
    _save_paddle(directory)
    return {
        "onnx": ModelFiles("sum", "onnx", model.SerializeToString()),
        "paddle": model_files(directory, "sum"),
    }


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


@pytest.fixture(params=("openvino", "onnxruntime", "paddle"))
def predictor(request: pytest.FixtureRequest, scale_and_shift: dict[str, ModelFiles]) -> Predictor:
    backend: Backend = request.param
    files = scale_and_shift["paddle" if backend == "paddle" else "onnx"]
    return load_predictor(files, backend, RunOptions(threads=1, parallel=2))


def test_inputs_are_bound_by_name_whatever_their_order(predictor: Predictor) -> None:
    left, right = np.ones((2, 3), np.float32), np.full((2, 3), 10, np.float32)
    for feeds in ({"left": left, "right": right}, {"right": right, "left": left}):
        (output,) = predictor.run(feeds).values()
        np.testing.assert_allclose(output, np.full((2, 3), 12))


def test_the_inputs_are_described_as_the_model_declares_them(predictor: Predictor) -> None:
    described = {spec.name: (spec.dtype, spec.shape) for spec in predictor.inputs}
    assert described == {"left": ("float32", (None, 3)), "right": ("float32", (None, 3))}


def test_an_output_is_a_copy_that_the_next_run_leaves_alone(predictor: Predictor) -> None:
    zeros = np.zeros((1, 3), np.float32)
    (first,) = predictor.run({"left": zeros, "right": zeros}).values()
    predictor.run({"left": zeros + 5, "right": zeros})
    np.testing.assert_array_equal(first, zeros)


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({"left": np.zeros((1, 3), np.float32)}, "'right', which is missing"),
        ({"left": np.zeros((1, 3), np.float32), "rigth": np.zeros((1, 3), np.float32)}, "no input 'rigth'"),
        ({"left": np.zeros((1, 3)), "right": np.zeros((1, 3), np.float32)}, "is float64; expected float32"),
        ({"left": np.zeros((1, 4), np.float32), "right": np.zeros((1, 3), np.float32)}, r"shape 1x4; expected \?x3"),
        ({"left": np.zeros(3, np.float32), "right": np.zeros((1, 3), np.float32)}, r"shape 3; expected \?x3"),
    ],
)
def test_wrong_feeds_are_refused_by_name_and_the_next_run_works(predictor: Predictor, feeds: dict, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        predictor.run(feeds)
    ones = np.ones((1, 3), np.float32)
    (output,) = predictor.run({"left": ones, "right": ones}).values()
    np.testing.assert_allclose(output, 3 * ones)


def test_threads_never_get_each_others_results(predictor: Predictor) -> None:
    wrong: list[float] = []

    def ask(who: int) -> None:
        for turn in range(40):
            value = float(who * 1000 + turn)
            array = np.full((1 + who % 3, 3), value, np.float32)
            (output,) = predictor.run({"left": array, "right": array}).values()
            if output.shape != array.shape or not np.array_equal(output, 3 * array):
                wrong.append(value)

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("backend", ("openvino", "onnxruntime", "paddle"))
@pytest.mark.parametrize("keep", [0, 10, 60])
def test_a_truncated_model_is_an_error_of_the_kit(
    scale_and_shift: dict[str, ModelFiles], backend: Backend, keep: int
) -> None:
    files = scale_and_shift["paddle" if backend == "paddle" else "onnx"]
    with pytest.raises((BackendError, ModelError)):
        load_predictor(ModelFiles("sum", files.format, files.graph[:keep], files.weights), backend)


@pytest.mark.parametrize("keep", [0, 8, 20])
def test_truncated_paddle_weights_are_an_error_of_the_kit(scale_and_shift: dict[str, ModelFiles], keep: int) -> None:
    files = scale_and_shift["paddle"]
    assert files.weights is not None
    with pytest.raises(BackendError):
        load_predictor(ModelFiles("sum", "paddle", files.graph, files.weights[:keep]), "paddle")


def test_a_format_that_a_backend_cannot_read_is_said_with_those_that_can(
    scale_and_shift: dict[str, ModelFiles],
) -> None:
    with pytest.raises(BackendUnsupportedError, match="onnxruntime cannot read sum") as caught:
        load_predictor(scale_and_shift["paddle"], "onnxruntime")
    assert "openvino, paddle" in caught.value.remedy


def test_a_directory_without_a_model_and_one_without_weights_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        model_files(tmp_path, "x")
    (tmp_path / "inference.pdmodel").write_bytes(b"graph")
    with pytest.raises(ModelError, match=r"inference.pdiparams beside it is missing"):
        model_files(tmp_path, "x")
