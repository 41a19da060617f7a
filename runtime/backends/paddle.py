"""Paddle Inference on the CPU with oneDNN: reads ``.pdmodel`` and Paddle 3's ``inference.json``."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.errors import BackendError, BackendNotInstalledError
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


class PaddlePredictor:
    """One predictor in one thread of its own, from whichever thread it is called.

    A Paddle predictor shared between threads mixes results (Paddle#56524), and oneDNN keeps state by thread: a
    predictor that a second thread calls, even alone, fails with "could not execute a primitive".
    """

    def __init__(self, files: ModelFiles, options: RunOptions, backend: Backend = "paddle") -> None:
        self.backend: Backend = backend
        self.name, self.precision, self.sha256 = files.name, files.precision, files.sha256
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"paddle-{files.name}")
        self._predictor = self._thread.submit(_create, files, options).result()
        declared = _declared_inputs(files)
        self.inputs = tuple(declared[name] for name in self._predictor.get_input_names())
        self.outputs = tuple(
            TensorSpec(name, _DTYPES.get(self._predictor.get_output_handle(name).type(), "float32"), ())
            for name in self._predictor.get_output_names()
        )

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """See ``Predictor.run``."""
        checked = check_feeds(self.name, self.inputs, feeds)
        return self._thread.submit(self._run, checked).result()

    def _run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        try:
            for name, array in feeds.items():
                self._predictor.get_input_handle(name).copy_from_cpu(array)
            self._predictor.run()
            return {spec.name: self._predictor.get_output_handle(spec.name).copy_to_cpu() for spec in self.outputs}
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"Paddle Inference failed on {self.name}: {_summary(error)}") from error


def _create(files: ModelFiles, options: RunOptions) -> inference.Predictor:
    # Paddle Inference reads inference.json from a path only; the other format goes the same way for one way
    with tempfile.TemporaryDirectory(prefix="edgekit-paddle-") as scratch:
        graph = Path(scratch) / ("inference.json" if files.is_pir else "inference.pdmodel")
        weights = Path(scratch) / "inference.pdiparams"
        graph.write_bytes(files.graph)
        weights.write_bytes(files.weights or b"")
        config = inference.Config(str(graph), str(weights))
        config.disable_gpu()
        config.enable_mkldnn()
        config.set_mkldnn_cache_capacity(_ONEDNN_SHAPES)
        if files.precision == "int8":
            config.enable_mkldnn_int8()
        config.set_cpu_math_library_num_threads(options.threads)
        if not files.is_pir:  # with inference.json Paddle 3.0 then finds no pass of that name and refuses the model
            config.enable_memory_optim()
        config.disable_glog_info()
        try:
            return inference.create_predictor(config)
        except (RuntimeError, ValueError, OSError) as error:
            raise BackendError(f"Paddle Inference could not load {files.name}: {_summary(error)}") from error


def _declared_inputs(files: ModelFiles) -> dict[str, TensorSpec]:
    """Inputs as the graph declares them; a Paddle predictor knows names only until it has run once."""
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
