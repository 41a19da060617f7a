"""OpenVINO on the CPU or an Intel GPU: reads ONNX, its own IR, and FP32 ``.pdmodel``."""

from __future__ import annotations

import functools
import logging
import os
import queue
import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from devices.errors import BackendError, BackendMismatchError, BackendNotInstalledError
from devices.profile import on_cpu
from runtime.backends.kept import kept_dir
from runtime.predictor import Backend, ModelFiles, RunOptions, TensorSpec, check_feeds, without_bf16

# oneDNN keeps the last 1,024 operators of all models once more, beside what is kept below, and takes them for good
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
try:
    import openvino
except ImportError as error:
    raise BackendNotInstalledError(
        "Backend openvino was asked for, but the package openvino is not installed.",
        remedy="Install the serving set with './build.sh setup', or choose another backend.",
    ) from error


log = logging.getLogger(__name__)

# Compiled operators kept for shapes met before, of each model. All 13 shapes of rec need 600; 400 are eight sizes of
# page for det, and a ninth in turn with them takes twice its time.
_CACHED_OPERATORS = {"few shapes": 600, "any shape": 400}


class OpenVinoPredictor:
    """A compiled model and as many infer requests as may run at once."""

    def __init__(self, files: ModelFiles, options: RunOptions, backend: Backend = "openvino") -> None:
        self.name, self.precision, self.sha256 = files.name, files.precision, files.sha256
        self.backend: Backend = backend
        core = openvino.Core()
        if not (on_cpu(backend) and _computes_bf16(core)):
            self.precision = without_bf16(self.precision)  # the same files
        device = "CPU" if on_cpu(backend) else "GPU"
        if device == "GPU" and not any(found.startswith("GPU") for found in core.available_devices):
            raise BackendMismatchError(
                f"Backend {backend} was asked for, but OpenVINO finds no GPU here, only "
                f"{', '.join(core.available_devices)}."
            )
        try:
            weights = openvino.Tensor(np.frombuffer(files.weights, np.uint8)) if files.weights else None
            model = core.read_model(files.graph, weights) if weights else core.read_model(files.graph)
            # before compiling, which adds the names of operators that it drops, in any order
            self.inputs = tuple(_spec(port) for port in model.inputs)
            self.outputs = tuple(_spec(port) for port in model.outputs)
            self._types = [port.get_element_type() for port in model.outputs]
            config = device_config(backend, options, self.precision) | _cache(files, options, backend, self.precision)
            self._compile = functools.partial(core.compile_model, model, device, config)
            self._compiled = self._compile()
        except RuntimeError as error:
            raise BackendError(f"OpenVINO could not load {files.name}: {_first_line(error)}") from error
        self._parallel, self._renewing = options.parallel, threading.Lock()
        self._idle: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        self._fill()

    def _fill(self) -> None:
        for _ in range(self._parallel):
            self._idle.put(self._compiled.create_infer_request())

    def drop_caches(self) -> None:
        """See ``Predictor.drop_caches``. Waits until nobody runs, which OpenVINO asks for."""
        with self._renewing:
            idle = [self._idle.get() for _ in range(self._parallel)]
            try:
                self._compiled.release_memory()
            finally:
                for request in idle:
                    self._idle.put(request)

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """See ``Predictor.run``. Waits while every infer request is busy."""
        checked = check_feeds(self.name, self.inputs, feeds)
        compiled = self._compiled
        try:
            return self._run(checked)
        except BackendError:
            self._renew(compiled)
        compiled = self._compiled
        try:
            return self._run(checked)  # the error may have been another caller's
        except BackendError:
            self._renew(compiled)
            raise

    def _renew(self, broken: openvino.CompiledModel) -> None:
        """Compile again, once for all who met an error of ``broken``.

        Shapes that do not fit each other leave an error in OpenVINO's streams (2026.4.1) that comes out in later
        runs, whoever's they are; a stream of one thread is stuck for good.
        """
        with self._renewing:
            if self._compiled is not broken:
                return
            try:
                fresh = self._compile()
            except RuntimeError as error:
                raise BackendError(f"OpenVINO could not load {self.name} again: {_first_line(error)}") from error
            for _ in range(self._parallel):  # with all of them in hand nobody else is running
                self._idle.get()
            self._compiled = fresh
            self._fill()

    def _run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        request = self._idle.get()
        try:
            return self._infer(request, feeds)
        finally:
            self._idle.put(request)

    def _infer(
        self, request: openvino.InferRequest, feeds: Mapping[str, NDArray[np.generic]]
    ) -> dict[str, NDArray[np.generic]]:
        try:
            for index, spec in enumerate(self.outputs):
                if None in spec.shape:
                    request.set_output_tensor(index, openvino.Tensor(self._types[index], [0] * len(spec.shape)))
            # not infer(): that runs in the caller's thread, and every thread of the server would get threads of its own
            request.start_async(feeds)
            request.wait()
            arrays = [request.get_output_tensor(index).data for index in range(len(self.outputs))]
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed on {self.name}: {_first_line(error)}") from error
        # A stream of one thread swallows such an error: ``wait`` returns, and what lies in the outputs is what the
        # caller before got. So each run gets new ones, and one that stays empty is the error.
        if empty := [
            spec.name for spec, array in zip(self.outputs, arrays, strict=True) if array.ndim and not any(array.shape)
        ]:
            raise BackendError(f"OpenVINO failed on {self.name}: it left output {empty[0]!r} empty and said nothing.")
        # an output of fixed shape is the request's own, which its next run overwrites
        return {
            spec.name: array if None in spec.shape else array.copy()
            for spec, array in zip(self.outputs, arrays, strict=True)
        }


def device_config(backend: Backend, options: RunOptions, precision: str = "fp32") -> dict[str, object]:
    """OpenVINO's properties for compiling a model of ``precision``."""
    if on_cpu(backend):
        # without the hint a CPU with BF16 rounds FP32 models silently, and backends no longer agree
        hint = "bf16" if precision.endswith("bf16") else "f32"
        config: dict[str, object] = {
            # at least two: a stream of one thread swallows errors and then stays broken (see run)
            "INFERENCE_NUM_THREADS": max(2, options.threads * options.parallel),
            "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_OPERATORS["few shapes" if options.few_shapes else "any shape"],
        }
    else:
        hint = "f16" if options.fp16 else "f32"
        config = {}
    return config | {"NUM_STREAMS": options.parallel, "INFERENCE_PRECISION_HINT": hint}


def _cache(files: ModelFiles, options: RunOptions, backend: Backend, precision: str) -> dict[str, object]:
    """Where the compiled model is kept; nowhere if that cannot be written, which costs time only."""
    if options.cache_dir is None:
        return {}
    key = {"backend": backend, "model": files.sha256, "precision": precision, "library": openvino.get_version()}
    try:
        return {"CACHE_DIR": str(kept_dir(options.cache_dir, files, key))}
    except BackendError as error:
        log.warning("%s is compiled anew at every start. %s", files.name, error.problem)
        return {}


def _computes_bf16(core: openvino.Core) -> bool:
    """Whether the CPU multiplies BF16 itself; elsewhere OpenVINO would emulate it."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _spec(port: openvino.Output) -> TensorSpec:
    shape = tuple(None if side.is_dynamic else side.get_length() for side in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), np.dtype(port.get_element_type().to_dtype()).name, shape)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
