"""Paddle Inference on the CPU with oneDNN, or on an NVIDIA GPU, alone or with TensorRT.

It reads ``.pdmodel`` and Paddle 3's ``inference.json``.
"""

from __future__ import annotations

import json
import os
import queue
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.errors import BackendError, BackendMismatchError, BackendNotInstalledError
from devices.profile import on_cpu
from runtime.backends.kept import kept_dir
from runtime.backends.nvidia import engine_key, gpu_versions, workspace_mb
from runtime.predictor import Backend, ModelFiles, RunOptions, TensorSpec, check_feeds

# must be set before paddle is imported: with the new IR, legacy .pdmodel files fail (docs/adr/0002)
os.environ.setdefault("FLAGS_enable_pir_api", "0")
try:
    from paddle import inference
    from paddle.base import core
except ImportError as error:
    raise BackendNotInstalledError(
        "Backend paddle was asked for, but the package paddlepaddle is not installed.",
        remedy="Install the compression set with './build.sh setup', or choose another backend.",
    ) from error

_DTYPES = {
    inference.DataType.FLOAT32: "float32",
    inference.DataType.INT64: "int64",
    inference.DataType.INT32: "int32",
    inference.DataType.INT8: "int8",
    inference.DataType.UINT8: "uint8",
    inference.DataType.BOOL: "bool",
}
# oneDNN keeps one primitive per input shape; unbounded, memory grows with every new shape (Paddle#25506)
_ONEDNN_SHAPES = 10
_GPU_POOL_MB = 100  # taken at the start; it grows as needed


class PaddlePredictor:
    """As many predictors as may run at once, each in a thread of its own; they share the weights.

    A Paddle predictor shared between threads mixes results (Paddle#56524), and oneDNN keeps state by thread: a
    predictor that a second thread calls, even alone, fails with "could not execute a primitive".
    """

    def __init__(self, files: ModelFiles, options: RunOptions, backend: Backend = "paddle") -> None:
        self.name, self.precision, self.sha256 = files.name, files.precision, files.sha256
        self.backend: Backend = backend
        declared = _declared_inputs(files)  # first: bytes that are no program end the process in create_predictor
        threads = [ThreadPoolExecutor(1, thread_name_prefix=f"paddle-{files.name}") for _ in range(options.parallel)]
        predictors = _create(files, options, backend, threads)
        self._lanes = list(zip(threads, predictors, strict=True))
        first = predictors[0]
        self._idle: queue.SimpleQueue[tuple[ThreadPoolExecutor, inference.Predictor]] = queue.SimpleQueue()
        for lane in self._lanes:
            self._idle.put(lane)
        self.inputs = tuple(declared[name] for name in first.get_input_names())
        self.outputs = tuple(
            TensorSpec(name, _DTYPES.get(first.get_output_handle(name).type(), "float32"), ())
            for name in first.get_output_names()
        )

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """See ``Predictor.run``. Waits while every predictor is busy."""
        checked = check_feeds(self.name, self.inputs, feeds)
        lane = self._idle.get()
        try:
            thread, predictor = lane
            return thread.submit(self._run, predictor, checked).result()
        finally:
            self._idle.put(lane)

    def _run(
        self, predictor: inference.Predictor, feeds: Mapping[str, NDArray[np.generic]]
    ) -> dict[str, NDArray[np.generic]]:
        try:
            for name, array in feeds.items():
                predictor.get_input_handle(name).copy_from_cpu(array)
            predictor.run()
            return {spec.name: predictor.get_output_handle(spec.name).copy_to_cpu() for spec in self.outputs}
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"Paddle Inference failed on {self.name}: {_summary(error)}") from error

    def drop_caches(self) -> None:
        """See ``Predictor.drop_caches``. What oneDNN prepared for the latest shapes stays."""
        for thread, predictor in self._lanes:
            thread.submit(_shrink, predictor).result()


def _shrink(predictor: inference.Predictor) -> None:
    predictor.clear_intermediate_tensor()
    predictor.try_shrink_memory()


def _create(
    files: ModelFiles, options: RunOptions, backend: Backend, threads: Sequence[ThreadPoolExecutor]
) -> list[inference.Predictor]:
    """A predictor for each of ``threads``, made in it; the first one's weights are those of all."""
    # Paddle Inference reads inference.json from a path only, and again for each clone; the other format goes the same
    # way for one way
    with tempfile.TemporaryDirectory(prefix="edgekit-paddle-") as scratch:
        graph = Path(scratch) / ("inference.json" if files.is_pir else "inference.pdmodel")
        weights = Path(scratch) / "inference.pdiparams"
        graph.write_bytes(files.graph)
        weights.write_bytes(files.weights or b"")
        try:
            config = inference.Config(str(graph), str(weights))
            configure(config, files, options, backend)
            first = threads[0].submit(inference.create_predictor, config).result()
            return [first, *(thread.submit(first.clone).result() for thread in threads[1:])]
        except (RuntimeError, ValueError, OSError) as error:
            raise BackendError(f"Paddle Inference could not load {files.name}: {_summary(error)}") from error


def configure(config: inference.Config, files: ModelFiles, options: RunOptions, backend: Backend) -> None:
    """Set up ``config`` for the CPU, the GPU, or the GPU with TensorRT.

    Raises:
        BackendMismatchError: This build of Paddle has no CUDA or no TensorRT, or finds no GPU.
    """
    if on_cpu(backend):
        config.disable_gpu()
        config.enable_mkldnn()
        config.set_mkldnn_cache_capacity(_ONEDNN_SHAPES)
        if files.precision == "int8":
            config.enable_mkldnn_int8()
    else:
        _configure_gpu(config, files, options, backend)
    config.set_cpu_math_library_num_threads(options.threads)
    if not files.is_pir:  # with inference.json Paddle 3.0 then finds no pass of that name and refuses the model
        config.enable_memory_optim()
    config.disable_glog_info()


def _configure_gpu(config: inference.Config, files: ModelFiles, options: RunOptions, backend: Backend) -> None:
    precision = inference.PrecisionType.Half if options.fp16 else inference.PrecisionType.Float32
    if options.gpu_memory_limit_mb is not None:  # of the whole process, so here no share of it
        core.globals()["FLAGS_gpu_memory_limit_mb"] = options.gpu_memory_limit_mb
    config.enable_use_gpu(_GPU_POOL_MB, 0, precision)
    if not config.use_gpu():
        raise BackendMismatchError(
            f"Backend {backend} was asked for, but this Paddle was built without CUDA or finds no GPU."
        )
    if backend == "paddle:gpu":
        return
    tensorrt = ".".join(map(str, inference.get_trt_runtime_version()))
    if tensorrt == "0.0.0":
        raise BackendMismatchError(f"Backend {backend} was asked for, but this Paddle finds no TensorRT.")
    engines = None
    versions = gpu_versions(f"paddle {inference.get_version()}") | {"tensorrt": tensorrt}
    if options.cache_dir is not None and versions["gpu"] != "none":
        engines = kept_dir(options.cache_dir, files, engine_key(backend, files, options, versions))
        config.set_optim_cache_dir(str(engines))
    config.enable_tensorrt_engine(
        workspace_size=workspace_mb(options) * 1024 * 1024,
        max_batch_size=1,  # of no effect with dynamic shapes
        min_subgraph_size=3,
        precision_mode=inference.PrecisionType.Int8 if files.precision == "int8" else precision,
        use_static=engines is not None,  # keep the engine
        use_calib_mode=False,  # the scales are in the model
    )
    if options.shapes:
        config.set_trt_dynamic_shape_info(
            {name: list(each.least) for name, each in options.shapes.items()},
            {name: list(each.most) for name, each in options.shapes.items()},
            {name: list(each.usual) for name, each in options.shapes.items()},
        )


def _declared_inputs(files: ModelFiles) -> dict[str, TensorSpec]:
    """Inputs as the graph declares them; a Paddle predictor knows names only until it has run once."""
    try:
        return _read_inputs(files)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BackendError(f"Paddle Inference could not load {files.name}: {_summary(error)}") from error


def _read_inputs(files: ModelFiles) -> dict[str, TensorSpec]:
    if files.is_pir:
        operations = json.loads(files.graph)["program"]["regions"][0]["blocks"][0]["ops"]
        attributes = [
            {attribute["N"]: attribute["AT"]["D"] for attribute in operation["A"]}
            for operation in operations
            if operation["#"] == "1.data"
        ]
        found = [(each["name"], each["dtype"], each["shape"]) for each in attributes]
    else:
        program = core.ProgramDesc(files.graph)  # owns the blocks: without this name they are freed under us
        block = program.block(0)
        feeds = [block.op(i) for i in range(block.op_size()) if block.op(i).type() == "feed"]
        variables = [block.find_var(feed.output("Out")[0].encode()) for feed in feeds]
        found = [(var.name(), str(var.dtype()).rpartition(".")[2], var.shape()) for var in variables]
    return {
        name: TensorSpec(name, dtype, tuple(None if side < 0 else side for side in shape))
        for name, dtype, shape in found
    }


def _summary(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    marked = [line for line in lines if "Error:" in line]
    return (marked or lines or [type(error).__name__])[-1]
