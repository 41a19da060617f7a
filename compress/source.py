"""Models as they come in: checked before anything is computed with them.

What a backend or a converter would only notice late, in words of its own or never: a format with no way to the
profile's backend, a file that is not whole, and weights that are not numbers.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper

from compress.export import check_exportable
from devices.errors import BackendUnsupportedError, ModelError
from runtime.paddle_files import check_paddle_files
from runtime.predictor import Backend, ModelFiles, model_files

_BLOCK = 1 << 20  # values looked at in one go
_PADDLE_FLOATS = ("float16", "float32", "float64")


def require_backend(backend: Backend) -> None:
    """See that ``backend`` can be used at all, before work is spent on a model for it.

    Raises:
        BackendNotInstalledError: Its library is not installed.
    """
    importlib.import_module(f"runtime.backends.{backend}")


def read_source(directory: Path, name: str, backend: Backend) -> ModelFiles:
    """Read a model that is to be compressed for ``backend``, and look through it.

    Args:
        directory: With ``inference.pdmodel`` or ``inference.json`` and ``inference.pdiparams``, or ``model.onnx``.
        name: What to call it.
        backend: What will serve it.

    Raises:
        ModelError: There is no model, it is not whole, or a weight is not a number; the weight is named.
        CompressionError: There is no way from its format to ``backend``.
    """
    files = model_files(directory, name)
    check_source(files, backend, origin=directory)
    return files


def check_source(files: ModelFiles, backend: Backend, *, origin: Path) -> None:
    """As ``read_source``, for files that are in memory already."""
    if backend != "paddle" or files.format == "openvino":
        check_exportable(files, origin)
    if files.format == "onnx" and backend == "paddle":
        raise BackendUnsupportedError(
            f"{origin} holds an ONNX model, which the profile's first backend, paddle, cannot read.",
            remedy="Name a profile whose first backend is openvino or onnxruntime, or give the Paddle model.",
        )
    weights = _paddle_weights(files, origin) if files.format == "paddle" else _onnx_weights(files, origin)
    for name, values in weights:
        wrong = _not_numbers(values)
        if wrong and not _is_mask(values):
            raise ModelError(
                f"Weight {name!r} of {origin} holds {wrong} that are not numbers, of {values.size:,}.",
                state="Nothing was compressed.",
                remedy="The training that made this model failed, or the file was damaged: export the model again.",
            )


def _paddle_weights(files: ModelFiles, origin: Path) -> Iterator[tuple[str, NDArray[np.generic]]]:
    data = files.weights or b""
    for name, place in check_paddle_files(files.graph, data, pir=files.is_pir, origin=str(origin)).items():
        if place.dtype in _PADDLE_FLOATS:
            yield name, np.frombuffer(memoryview(data)[place.start : place.end], place.dtype)


def _onnx_weights(files: ModelFiles, origin: Path) -> Iterator[tuple[str, NDArray[np.generic]]]:
    try:
        model = onnx.load_from_string(files.graph)
    except DecodeError as error:
        raise ModelError(f"{origin} holds an ONNX file that is damaged or not whole: {error}.") from error
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ModelError(
                f"The ONNX model in {origin} keeps weight {tensor.name!r} in another file.",
                remedy="Save it as one file: onnx.save(onnx.load(PATH), 'model.onnx').",
            )
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f":
            yield tensor.name, values


def _is_mask(values: NDArray[np.generic]) -> bool:
    """Zeros and minus infinities only: what attention adds to scores that must not count."""
    return bool(np.isin(values, (0.0, -np.inf)).all())


def _not_numbers(values: NDArray[np.generic]) -> int:
    """How many values are NaN or infinite; block by block, so that a large weight costs no second copy."""
    flat = values.reshape(-1)
    return sum(
        int(np.count_nonzero(~np.isfinite(flat[start : start + _BLOCK]))) for start in range(0, flat.size, _BLOCK)
    )
