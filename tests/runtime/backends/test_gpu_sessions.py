"""How each library is asked for a GPU, seen by libraries that write down what they are asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.errors import BackendError, BackendMismatchError, BackendNotInstalledError
from devices.probe import Gpu
from runtime.predictor import ModelFiles, RunOptions, ShapeRange, load_predictor

T600 = Gpu("NVIDIA T600", 3911, "nvidia", "580.95.05")
FILES = ModelFiles("det", "onnx", b"graph")
SHAPES = {"x": ShapeRange((1, 3, 32, 32), (1, 3, 960, 960), (1, 3, 1440, 1440))}


class Session:
    """ONNX Runtime's session as a GPU machine might have it; ``got`` is what it really uses."""

    got: tuple[str, ...] = ()
    fails: Exception | None = None
    asked: dict[str, Any]

    def __init__(self, graph: bytes, settings: object, providers: list | None = None, **more: object) -> None:
        if self.fails is not None:
            raise self.fails
        type(self).asked = {"providers": providers, **more}

    def get_providers(self) -> list[str]:
        return list(self.got)

    def get_inputs(self) -> list[object]:
        return []

    get_outputs = get_inputs


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    import onnxruntime

    class Fresh(Session):
        asked: dict[str, Any] = {}

    available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "InferenceSession", Fresh)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: sys.stdout.write("what it does not find"))
    monkeypatch.setattr("runtime.backends.nvidia.nvidia_gpu", lambda: T600)
    return Fresh


def test_a_session_that_got_its_gpu_says_so(session: type[Session], tmp_path: Path, capsys) -> None:
    session.got = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
    predictor = load_predictor(FILES, "onnxruntime:tensorrt", RunOptions(cache_dir=tmp_path, shapes=SHAPES))
    assert predictor.backend == "onnxruntime:tensorrt"
    (name, options), *_ = session.asked["providers"]
    assert name == "TensorrtExecutionProvider"
    assert options["trt_profile_max_shapes"] == "x:1x3x1440x1440"
    assert Path(options["trt_engine_cache_path"]).is_relative_to(tmp_path / "onnxruntime" / "det")
    assert "T600" in (Path(options["trt_engine_cache_path"]) / "key.json").read_text()
    assert session.asked["enable_fallback"] == 0
    assert capsys.readouterr().out == ""  # stdout may be a JSON document


def test_a_session_that_fell_back_to_the_cpu_is_an_error(session: type[Session]) -> None:
    session.got = ("CPUExecutionProvider",)
    with pytest.raises(BackendMismatchError, match="would run det on CPUExecutionProvider"):
        load_predictor(FILES, "onnxruntime:cuda")
    session.got = ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert load_predictor(FILES, "onnxruntime:cuda").backend == "onnxruntime:cuda"
    with pytest.raises(BackendMismatchError, match="would run det on CUDAExecutionProvider"):
        load_predictor(FILES, "onnxruntime:tensorrt")


def test_a_provider_that_does_not_start_is_an_error_in_one_line(session: type[Session]) -> None:
    session.fails = RuntimeError("provider.cc:729\n  Please install TensorRT libraries")
    with pytest.raises(BackendMismatchError, match="does not start: provider.cc:729 Please install"):
        load_predictor(FILES, "onnxruntime:tensorrt")


def test_no_engine_is_kept_for_a_gpu_that_nobody_can_name(session, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("runtime.backends.nvidia.nvidia_gpu", lambda: None)
    session.got = ("TensorrtExecutionProvider",)
    load_predictor(FILES, "onnxruntime:tensorrt", RunOptions(cache_dir=tmp_path, shapes=SHAPES))
    assert "trt_engine_cache_path" not in session.asked["providers"][0][1]
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_that_is_not_installed_is_told_with_its_name() -> None:
    with pytest.raises(BackendNotInstalledError, match="onnxruntime_ep_nv_tensorrt_rtx is not installed"):
        load_predictor(FILES, "onnxruntime:tensorrt-rtx")


class Config:
    """Paddle's configuration of a build with CUDA: every call is written down."""

    def __init__(self, *, cuda: bool = True) -> None:
        self.calls: dict[str, tuple[tuple, dict]] = {}
        self._cuda = cuda

    def use_gpu(self) -> bool:
        return self._cuda

    def __getattr__(self, name: str):
        def record(*arguments: object, **named: object) -> None:
            self.calls[name] = (arguments, named)

        return record


@pytest.fixture
def paddle(monkeypatch: pytest.MonkeyPatch):
    import runtime.backends.paddle as backend

    flags: dict[str, object] = {}
    monkeypatch.setattr(backend.core, "globals", lambda: flags)
    monkeypatch.setattr(backend.inference, "get_trt_runtime_version", lambda: (8, 6, 1))
    monkeypatch.setattr("runtime.backends.nvidia.nvidia_gpu", lambda: T600)
    backend.flags = flags  # type: ignore[attr-defined]
    return backend


MODEL = ModelFiles("det", "paddle", b"graph", b"weights")


def test_paddle_on_a_gpu_gets_the_limit_of_the_whole_process(paddle) -> None:
    config = Config()
    paddle.configure(config, MODEL, RunOptions(gpu_memory_limit_mb=3000, gpu_models=5), "paddle:gpu")
    assert paddle.flags == {"FLAGS_gpu_memory_limit_mb": 3000}
    assert config.calls["enable_use_gpu"][0] == (100, 0, paddle.inference.PrecisionType.Float32)
    assert "enable_tensorrt_engine" not in config.calls
    assert "enable_mkldnn" not in config.calls


def test_paddle_with_tensorrt_gets_shapes_and_a_cache_by_all_that_an_engine_depends_on(paddle, tmp_path: Path) -> None:
    config = Config()
    options = RunOptions(cache_dir=tmp_path, shapes=SHAPES, fp16=True, gpu_memory_limit_mb=3000, gpu_models=5)
    paddle.configure(config, MODEL, options, "paddle:tensorrt")
    engine = config.calls["enable_tensorrt_engine"][1]
    assert engine["precision_mode"] == paddle.inference.PrecisionType.Half
    assert engine["workspace_size"] == 600 * 1024 * 1024
    assert (engine["use_static"], engine["use_calib_mode"]) == (True, False)
    assert config.calls["set_trt_dynamic_shape_info"][0] == (
        {"x": [1, 3, 32, 32]}, {"x": [1, 3, 1440, 1440]}, {"x": [1, 3, 960, 960]},
    )  # fmt: skip
    place = Path(config.calls["set_optim_cache_dir"][0][0])
    assert place.is_relative_to(tmp_path / "paddle" / "det")
    assert '"tensorrt": "8.6.1"' in (place / "key.json").read_text()


def test_paddle_calls_are_calls_that_paddle_has(paddle) -> None:
    """The fake takes any call; the real configuration must have each one, by these names."""
    config = Config()
    paddle.configure(config, MODEL, RunOptions(shapes=SHAPES), "paddle:tensorrt")
    paddle.configure(config, MODEL, RunOptions(), "paddle")
    for name in config.calls:
        assert hasattr(paddle.inference.Config, name), name
    told = paddle.inference.Config.enable_tensorrt_engine.__doc__
    assert all(f"{name}:" in told for name in config.calls["enable_tensorrt_engine"][1])


@pytest.mark.parametrize("missing", ["cuda", "tensorrt"])
def test_a_paddle_without_cuda_or_tensorrt_is_an_error(paddle, monkeypatch, missing: str) -> None:
    monkeypatch.setattr(paddle.inference, "get_trt_runtime_version", lambda: (0, 0, 0))
    with pytest.raises(BackendMismatchError, match="without CUDA" if missing == "cuda" else "finds no TensorRT"):
        paddle.configure(Config(cuda=missing != "cuda"), MODEL, RunOptions(), "paddle:tensorrt")


def test_openvino_on_a_gpu_is_told_the_precision_and_nothing_of_cpu_threads(tmp_path: Path) -> None:
    from runtime.backends.openvino import device_config

    assert device_config("openvino:gpu", RunOptions(threads=4, parallel=2, cache_dir=tmp_path)) == {
        "NUM_STREAMS": 2,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    assert device_config("openvino:gpu", RunOptions(fp16=True))["INFERENCE_PRECISION_HINT"] == "f16"


def test_bf16_is_openvino_s_alone_and_others_say_fp32(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    files = ModelFiles("m", "onnx", model.SerializeToString(), precision="bf16")
    predictor = load_predictor(files, "onnxruntime")
    assert predictor.precision == "fp32"
    np.testing.assert_array_equal(predictor.run({"x": np.array([-1, 2], np.float32)})["y"], [0, 2])


def test_a_model_that_the_gpu_refuses_is_a_backend_error(session: type[Session]) -> None:
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    session.fails = errors.EPFail("an operator")
    with pytest.raises(BackendError, match="could not load det on onnxruntime:cuda: an operator"):
        load_predictor(FILES, "onnxruntime:cuda")
