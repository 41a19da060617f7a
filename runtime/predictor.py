"""One loaded model behind one backend.

``load_predictor`` is the only door to the backends; a library that is not asked for is never imported. A backend that
names a device, such as ``onnxruntime:cuda``, gets that device or raises BackendMismatchError (docs/adr/0015).
Inputs are bound by name, always: OpenVINO orders an ERNIE model's inputs differently from Paddle, and feeding
by position gives wrong logits with no error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from devices.errors import BackendUnsupportedError, ModelError, RequestError
from devices.profile import Backend as Backend  # the word is used with predictors everywhere
from devices.profile import Library, library_of, on_cpu
from runtime.paddle_files import check_paddle_files

ModelFormat = Literal["onnx", "paddle", "openvino"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

# file names of each format: (graph, weights); the first that exists is taken
_FILE_NAMES: tuple[tuple[ModelFormat, str, str | None], ...] = (
    ("onnx", "model.onnx", None),
    ("openvino", "model.xml", "model.bin"),
    ("paddle", "inference.pdmodel", "inference.pdiparams"),
    ("paddle", "inference.json", "inference.pdiparams"),
)
_READS: dict[Library, tuple[ModelFormat, ...]] = {
    "openvino": ("onnx", "openvino", "paddle"),
    "onnxruntime": ("onnx",),
    "paddle": ("paddle",),
}


@dataclass(frozen=True)
class TensorSpec:
    """Name, numpy dtype and shape of one input or output; None is a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class ModelFiles:
    """The bytes of one model: what was verified is what is loaded, whatever happens on the disk meanwhile."""

    name: str
    format: ModelFormat
    graph: bytes
    weights: bytes | None = None
    precision: str = "fp32"

    @property
    def sha256(self) -> str:
        """SHA-256 over the graph followed by the weights, hexadecimal."""
        digest = hashlib.sha256(self.graph)
        digest.update(self.weights or b"")
        return digest.hexdigest()

    @property
    def is_pir(self) -> bool:
        """Whether this is Paddle 3's ``inference.json``, which only Paddle Inference reads."""
        return self.format == "paddle" and self.graph.lstrip()[:1] == b"{"


def model_files(directory: Path, name: str, *, precision: str = "fp32") -> ModelFiles:
    """Read the model in ``directory``, and see that the two files of a Paddle model are whole and belong together.

    Raises:
        ModelError: No known model file is there, its weights are missing, cut short or another model's.
    """
    known = {file for _, graph, weights in _FILE_NAMES for file in (graph, weights) if file}
    present = {file: (directory / file).read_bytes() for file in sorted(known) if (directory / file).is_file()}
    files = model_from_bytes(present, name, origin=str(directory), precision=precision)
    if files.format == "paddle":
        check_paddle_files(files.graph, files.weights or b"", pir=files.is_pir, origin=str(directory))
    return files


def model_from_bytes(files: Mapping[str, bytes], name: str, *, origin: str, precision: str = "fp32") -> ModelFiles:
    """The model among ``files``, contents by file name; ``origin`` names the place in messages.

    Raises:
        ModelError: No known model file is there, or its weights are missing.
    """
    for format_, graph, weights in _FILE_NAMES:
        if graph not in files:
            continue
        if weights is not None and weights not in files:
            raise ModelError(f"{origin} holds {graph}, but {weights} beside it is missing.")
        return ModelFiles(name, format_, files[graph], files[weights] if weights else None, precision)
    names = ", ".join(graph for _, graph, _ in _FILE_NAMES)
    raise ModelError(f"{origin} holds no model: none of {names} is there.")


def backend_reads(backend: Backend, files: ModelFiles) -> bool:
    """Whether ``backend`` can load ``files`` as they are."""
    library = library_of(backend)
    return files.format in _READS[library] and not (library == "openvino" and files.is_pir)


class Predictor(Protocol):
    """A loaded model. ``run`` may be called from several threads; results never mix and are copies."""

    name: str
    backend: Backend
    precision: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Run once.

        Args:
            feeds: One array per input name, of the input's dtype.

        Returns:
            One array per output name.

        Raises:
            RequestError: A name is unknown or missing, or a dtype or shape does not fit.
            BackendError: The backend failed.
        """
        ...

    def drop_caches(self) -> None:
        """Give back what is kept from one run to the next, as far as the backend can; the next runs are slower."""
        ...


@dataclass(frozen=True)
class ShapeRange:
    """Shapes that one input may have: each side from ``least`` to ``most``; ``usual`` is what to be fastest at."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether ``shape`` is within."""
        return len(shape) == len(self.least) and all(
            low <= side <= high for low, side, high in zip(self.least, shape, self.most, strict=True)
        )


@dataclass(frozen=True)
class RunOptions:
    """How a backend may use the machine.

    Attributes:
        threads: CPU threads for one inference.
        parallel: Inferences that may run at once.
        cache_dir: Where compiled models and engines are kept between starts; None keeps none.
        fp16: Whether FP32 models may be computed in FP16 on a GPU.
        gpu_memory_limit_mb: What all models of this process together may take of the GPU's memory; None is no limit.
        gpu_models: How many models share that memory.
        shapes: By input, what TensorRT builds an engine for.
        few_shapes: Whether the model meets few shapes, all of them while it warms up, so that what a backend prepares
            for each is worth keeping. OCR's det meets as many as there are sizes of pages.
    """

    threads: int = 2
    parallel: int = 1
    cache_dir: Path | None = None
    fp16: bool = False
    gpu_memory_limit_mb: int | None = None
    gpu_models: int = 1
    shapes: Mapping[str, ShapeRange] = field(default_factory=dict)
    few_shapes: bool = True


def load_predictor(files: ModelFiles, backend: Backend, options: RunOptions | None = None) -> Predictor:
    """Load a model into a backend. May take seconds.

    Raises:
        ModelError: The model's file is empty.
        BackendNotInstalledError: The library is not installed.
        BackendUnsupportedError: The backend cannot read this format.
        BackendMismatchError: The backend did not get the device that it names.
        BackendError: The backend refused the model.
    """
    options = options or RunOptions()
    if not files.graph:
        raise ModelError(f"The file of model {files.name} is empty.")
    if not backend_reads(backend, files):
        kind = "Paddle 3 inference.json" if files.is_pir else files.format
        able = [other for other in BACKENDS if on_cpu(other) and backend_reads(other, files)]
        raise BackendUnsupportedError(
            f"Backend {backend} cannot read {files.name}, whose format is {kind}.",
            remedy=f"Use one of {', '.join(able)}, or convert the model with 'edgekit compress'.",
        )
    library = library_of(backend)
    if library != "openvino":  # the same files, and only OpenVINO is told to compute them so
        files = replace(files, precision=without_bf16(files.precision))
    if library == "openvino":
        from runtime.backends.openvino import OpenVinoPredictor

        return OpenVinoPredictor(files, options, backend)
    if library == "onnxruntime":
        from runtime.backends.onnxruntime import OnnxRuntimePredictor

        return OnnxRuntimePredictor(files, options, backend)
    from runtime.backends.paddle import PaddlePredictor

    return PaddlePredictor(files, options, backend)


def without_bf16(precision: str) -> str:
    """What a model is computed in where nothing computes in BF16."""
    return {"bf16": "fp32", "int8+bf16": "int8"}.get(precision, precision)


def check_feeds(
    name: str, specs: tuple[TensorSpec, ...], feeds: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """Compare ``feeds`` with a model's inputs before a backend sees them.

    Returns:
        The same arrays, C-contiguous, in the model's order.

    Raises:
        RequestError: Names, dtypes or shapes do not fit; the message says which and what was expected.
    """
    known = {spec.name for spec in specs}
    if unknown := sorted(set(feeds) - known):
        raise RequestError(f"Model {name} has no input {unknown[0]!r}; its inputs are {sorted(known)}.")
    checked: dict[str, NDArray[np.generic]] = {}
    for spec in specs:
        if spec.name not in feeds:
            raise RequestError(f"Model {name} needs input {spec.name!r}, which is missing.")
        array = np.ascontiguousarray(feeds[spec.name])
        if array.dtype.name != spec.dtype:
            raise RequestError(f"Input {spec.name!r} of {name} is {array.dtype.name}; expected {spec.dtype}.")
        fits = len(array.shape) == len(spec.shape) and all(
            want in (None, have) for want, have in zip(spec.shape, array.shape, strict=True)
        )
        if not fits:
            want = "x".join("?" if side is None else str(side) for side in spec.shape)
            have = "x".join(map(str, array.shape))
            raise RequestError(f"Input {spec.name!r} of {name} has shape {have}; expected {want}.")
        if not array.size:  # one of OpenVINO's requests that was given a batch of none fails ever after
            have = "x".join(map(str, array.shape))
            raise RequestError(f"Input {spec.name!r} of {name} is empty: its shape is {have}.")
        checked[spec.name] = array
    return checked
