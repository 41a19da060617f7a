"""ONNX Runtime on the CPU, or on an NVIDIA GPU through CUDA, TensorRT or TensorRT for RTX.

ONNX Runtime goes on without a provider that it cannot start, on the CPU, with no more than a line in its log. So each
session is asked what it got: a predictor whose backend names a device either has it or was never made.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.errors import BackendError, BackendMismatchError, BackendNotInstalledError
from devices.profile import on_cpu
from runtime.backends.kept import kept_dir
from runtime.backends.nvidia import PROVIDERS, engine_key, gpu_versions, provider_options
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
    ort_errors.EngineError,
    ort_errors.EPFail,
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
_RTX_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"  # module of the wheels onnxruntime-ep-nv-tensorrt-rtx[-cu12, -cu13]


class OnnxRuntimePredictor:
    """One session; ONNX Runtime lets several threads run it at once."""

    def __init__(self, files: ModelFiles, options: RunOptions, backend: Backend = "onnxruntime") -> None:
        self.name, self.precision, self.sha256 = files.name, files.precision, files.sha256
        self.backend: Backend = backend
        self._session = _cpu_session(files, options) if on_cpu(backend) else _gpu_session(files, options, backend)
        self._shrink = False
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """See ``Predictor.run``."""
        checked = check_feeds(self.name, self.inputs, feeds)
        names = [spec.name for spec in self.outputs]
        shrinking = None
        if self._shrink:
            self._shrink = False
            shrinking = onnxruntime.RunOptions()
            arenas = "cpu:0" if on_cpu(self.backend) else "cpu:0;gpu:0"
            shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", arenas)
        try:
            return dict(zip(names, self._session.run(names, checked, shrinking), strict=True))
        except _ERRORS as error:
            raise BackendError(f"ONNX Runtime failed on {self.name}: {error}") from error

    def drop_caches(self) -> None:
        """See ``Predictor.drop_caches``: the arena is given back when the next run ends, since only a run can."""
        self._shrink = True


def _settings(options: RunOptions) -> onnxruntime.SessionOptions:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # a pattern is kept for every shape ever seen: over 150 page sizes PP-OCRv4 det grew from 200 to 324 MB, still
    # growing; without patterns it stands at 217 MB after 100, at 7% of its speed
    settings.enable_mem_pattern = False
    return settings


def _cpu_session(files: ModelFiles, options: RunOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(files.graph, _settings(options), providers=["CPUExecutionProvider"])
    except _ERRORS as error:
        raise BackendError(f"ONNX Runtime could not load {files.name}: {error}") from error


def _gpu_session(files: ModelFiles, options: RunOptions, backend: Backend) -> onnxruntime.InferenceSession:
    wanted = PROVIDERS[backend]
    settings = _settings(options)
    plugin = _register_rtx(backend) if backend == "onnxruntime:tensorrt-rtx" else None
    if plugin is None:
        _load_nvidia_libraries(backend)
    engines = None
    if options.cache_dir is not None and backend != "onnxruntime:cuda":
        versions = gpu_versions(f"onnxruntime {onnxruntime.__version__}{plugin or ''}")
        if versions["gpu"] != "none":  # an engine for a GPU that nobody can name would be taken for another's
            engines = kept_dir(options.cache_dir, files, engine_key(backend, files, options, versions))
    providers = provider_options(backend, files, options, engines)
    try:
        if plugin is None:
            # with its own fall-back left on, the library would print and try again without the GPU
            session = onnxruntime.InferenceSession(files.graph, settings, providers=providers, enable_fallback=0)
        else:
            devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == wanted]
            if not devices:
                raise BackendMismatchError(f"Backend {backend} was asked for, but TensorRT for RTX finds no GPU here.")
            settings.add_provider_for_devices(devices[:1], providers[0][1])
            session = onnxruntime.InferenceSession(files.graph, settings)
    except _ERRORS as error:
        raise BackendError(f"ONNX Runtime could not load {files.name} on {backend}: {error}") from error
    except (RuntimeError, ValueError) as error:  # a provider that cannot start, its libraries missing for example
        reason = " ".join(str(error).split())
        raise BackendMismatchError(f"Backend {backend} was asked for, but it does not start: {reason}") from error
    if (got := session.get_providers())[0] != wanted:
        raise BackendMismatchError(
            f"Backend {backend} was asked for, but ONNX Runtime would run {files.name} on {got[0]}."
        )
    return session


def _register_rtx(backend: Backend) -> str:
    """Load the plugin, once a process; its version."""
    try:
        plugin = importlib.import_module(_RTX_PLUGIN)
    except ImportError as error:
        raise BackendNotInstalledError(
            f"Backend {backend} was asked for, but the plugin {_RTX_PLUGIN} is not installed.",
            remedy="Install it as docs/gpu.md says, or choose another backend.",
        ) from error
    if not any(device.ep_name == PROVIDERS[backend] for device in onnxruntime.get_ep_devices()):
        library = Path(plugin.get_library_path())
        try:
            onnxruntime.register_execution_provider_library(PROVIDERS[backend], str(library))
        except _ERRORS as error:
            raise BackendMismatchError(f"Backend {backend} was asked for, but {library.name} fails: {error}") from error
    return f", plugin {plugin.__version__}"


def _load_nvidia_libraries(backend: Backend) -> None:
    """Load CUDA, cuDNN and TensorRT from their wheels where they came so; otherwise the system's are found later."""
    if PROVIDERS[backend] not in onnxruntime.get_available_providers():
        raise BackendMismatchError(
            f"Backend {backend} was asked for, but the onnxruntime that is installed was built without it.",
            remedy="Install onnxruntime-gpu in place of onnxruntime, as docs/gpu.md says, or choose another backend.",
        )
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find, and stdout may be a document
        onnxruntime.preload_dlls()
    if backend == "onnxruntime:tensorrt":
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt_libs")


def _spec(node: onnxruntime.NodeArg) -> TensorSpec:
    shape = tuple(side if isinstance(side, int) else None for side in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)
