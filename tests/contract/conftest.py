"""The network that every backend is given, in each format, and its answers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.errors import BackendMismatchError, BackendNotInstalledError
from devices.gpu import gpus
from devices.profile import on_cpu
from runtime.predictor import (
    BACKENDS,
    Backend,
    ModelFiles,
    Predictor,
    RunOptions,
    backend_reads,
    load_predictor,
    model_files,
)

# the dev set installs these, so a machine on which one cannot run is broken; the others are skipped where missing
MUST_RUN: tuple[Backend, ...] = ("openvino", "onnxruntime", "paddle")
# where there is no GPU, those that name one are asked once: test_no_device.py
ASKED = tuple(backend for backend in BACKENDS if on_cpu(backend) or gpus())
WORDS, CHANNELS, CLASSES = 50, 8, 4

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Network:
    """Its weights: a convolution, an embedding, and a layer over both. Drawn with a seed, they mean nothing."""

    kernel: NDArray[np.float32]  # (CHANNELS, 3, 3, 3)
    table: NDArray[np.float32]  # (WORDS, CHANNELS)
    layer: NDArray[np.float32]  # (CHANNELS, CLASSES)

    def answer(self, feeds: dict[str, Array]) -> dict[str, NDArray[np.float32]]:
        """What the network answers, without any of the libraries: map (N, 1, H, W) and scores (N, CLASSES)."""
        image, ids = feeds["image"], feeds["ids"]
        padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))  # (N, 3, H, W, 3, 3)
        features = np.maximum(np.einsum("nchwij,ocij->nohw", windows, self.kernel), 0)
        pooled = features.mean(axis=(2, 3)) + self.table[ids].mean(axis=1)
        return {
            "map": (1 / (1 + np.exp(-features.mean(axis=1, keepdims=True)))).astype(np.float32),
            "scores": (pooled @ self.layer).astype(np.float32),
        }


@pytest.fixture(scope="session")
def network() -> Network:
    rng = np.random.default_rng(4)
    shapes = ((CHANNELS, 3, 3, 3), (WORDS, CHANNELS), (CHANNELS, CLASSES))
    return Network(*(rng.normal(0, 0.5, shape).astype(np.float32) for shape in shapes))


@pytest.fixture(scope="session")
def formats(network: Network, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFiles]:
    """The network as Paddle and as ONNX; the inputs are declared in one order and used in the other."""
    from compress.export import to_onnx

    directory = tmp_path_factory.mktemp("network")
    _save_paddle(network, directory / "paddle")
    (directory / "onnx").mkdir()
    to_onnx(directory / "paddle", directory / "onnx" / "model.onnx")
    return {name: model_files(directory / name, "network") for name in ("paddle", "onnx")}


def _save_paddle(network: Network, directory: Path) -> None:
    from compress.paddle_env import paddle

    class Layer(paddle.nn.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            for name in ("kernel", "table", "layer"):
                value = paddle.nn.initializer.Assign(getattr(network, name))
                shape = list(getattr(network, name).shape)
                setattr(self, name, self.create_parameter(shape, default_initializer=value))

        def forward(self, image, ids):  # type: ignore[no-untyped-def]
            features = paddle.nn.functional.relu(paddle.nn.functional.conv2d(image, self.kernel, padding=1))
            words = paddle.nn.functional.embedding(ids, self.table).mean(axis=1)
            pooled = features.mean(axis=[2, 3]) + words
            return paddle.nn.functional.sigmoid(features.mean(axis=1, keepdim=True)), paddle.matmul(pooled, self.layer)

    spec = [
        paddle.static.InputSpec([None, 3, None, None], "float32", "image"),
        paddle.static.InputSpec([None, None], "int64", "ids"),
    ]
    layer = Layer()
    layer.eval()
    paddle.jit.save(layer, str(directory / "inference"), input_spec=spec)


Load = Callable[..., Predictor]


@pytest.fixture(params=ASKED, scope="session")
def load(request: pytest.FixtureRequest, formats: dict[str, ModelFiles]) -> Load:
    """Loads the network into one backend, with the options given; skips where the backend cannot be had."""
    backend: Backend = request.param
    files = next(each for each in formats.values() if backend_reads(backend, each))

    def load_it(**options: object) -> Predictor:
        try:
            return load_predictor(files, backend, RunOptions(**({"threads": 1, "parallel": 2} | options)))  # type: ignore[arg-type]
        except (BackendNotInstalledError, BackendMismatchError) as error:
            if backend in MUST_RUN:
                raise
            pytest.skip(str(error))

    load_it.files, load_it.backend = files, backend  # type: ignore[attr-defined]
    return load_it


@pytest.fixture
def predictor(load: Load) -> Predictor:
    return load()


@pytest.fixture
def feeds() -> Callable[..., dict[str, Array]]:
    """Inputs of the network, drawn with a seed: image (rows, 3, height, width) and ids (rows, words)."""

    def draw(rows: int = 2, height: int = 16, width: int = 24, words: int = 5, seed: int = 0) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        image = rng.normal(0, 1, (rows, 3, height, width)).astype(np.float32)
        return {"image": image, "ids": rng.integers(0, WORDS, (rows, words))}

    return draw
