"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from devices.errors import BackendError, BackendNotInstalledError
from runtime.predictor import Backend, ModelFiles, RunOptions, TensorSpec, check_feeds

try:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
except ImportError as error:
    raise BackendNotInstalledError(
        "Backend onnxruntime was asked for, but the package onnxruntime is not installed.",
        remedy="Install the serving set with './build.sh setup', or choose another backend.",
    ) from error

_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


class OnnxRuntimePredictor:
    """One session; ONNX Runtime lets several threads run it at once."""

    def __init__(self, files: ModelFiles, options: RunOptions, backend: Backend = "onnxruntime") -> None:
        self.backend: Backend = backend
        self.name, self.precision, self.sha256 = files.name, files.precision, files.sha256
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(files.graph, settings, providers=["CPUExecutionProvider"])
        except _ERRORS as error:
            raise BackendError(f"ONNX Runtime could not load {files.name}: {error}") from error
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """See ``Predictor.run``."""
        checked = check_feeds(self.name, self.inputs, feeds)
        names = [spec.name for spec in self.outputs]
        try:
            return dict(zip(names, self._session.run(names, checked), strict=True))
        except _ERRORS as error:
            raise BackendError(f"ONNX Runtime failed on {self.name}: {error}") from error


def _spec(node: onnxruntime.NodeArg) -> TensorSpec:
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)
