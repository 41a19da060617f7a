"""Models that a backend cannot read as they are, converted once and kept in the cache by content.

Conversion needs the compression set, which a serving box does not have; there it ends in a clear error. Serving
itself never comes here: bundles hold models in the form that their profile's backend reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from devices.errors import BackendNotInstalledError, ModelError
from devices.profile import library_of
from devices.state import ensure_state_dir
from runtime.artifact import ARTIFACT_NAME
from runtime.predictor import Backend, ModelFiles, backend_reads, model_files

_FORM = 2  # of what is kept; a higher number makes all of it anew. 2: artifacts say which head a text model has


def readable_by(files: ModelFiles, backend: Backend) -> ModelFiles:
    """``files`` in a form that ``backend`` reads; unchanged if it already does, or if nothing can be done.

    Raises:
        CompressionError: The conversion failed.
        BackendNotInstalledError: The compression set is not installed.
    """
    if backend_reads(backend, files) or library_of(backend) != "onnxruntime" or files.format != "paddle":
        return files

    def convert(out: Path) -> None:
        from compress.export import to_onnx

        with TemporaryDirectory(prefix="edgekit-convert-") as scratch:
            source = Path(scratch)
            (source / ("inference.json" if files.is_pir else "inference.pdmodel")).write_bytes(files.graph)
            (source / "inference.pdiparams").write_bytes(files.weights or b"")
            to_onnx(source, out / "model.onnx")

    return model_files(_cached(f"{files.sha256}-onnx", convert), files.name, precision=files.precision)


def text_artifact(model: Path, backend: Backend) -> Path:
    """The artifact directory for ``predict text``: ``model`` itself, or one exported from a PaddleNLP checkpoint.

    Raises:
        ModelError: ``model`` is neither.
        CheckpointError: The checkpoint is hostile, incomplete, or does not fit its config.json.
    """
    if (model / ARTIFACT_NAME).is_file():
        return model
    if not (model / "config.json").is_file():
        raise ModelError(
            f"{model} is neither an artifact (no {ARTIFACT_NAME}) nor a PaddleNLP checkpoint (no config.json).",
            remedy="Name a directory that 'edgekit compress ernie' or PaddleNLP's save_pretrained wrote.",
        )
    form: Literal["onnx", "paddle"] = "onnx" if library_of(backend) == "onnxruntime" else "paddle"
    digest = hashlib.sha256()
    for path in sorted(path for path in model.iterdir() if path.is_file()):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())

    def convert(out: Path) -> None:
        from compress.ernie.export import export_checkpoint

        export_checkpoint(model, out, form)

    return _cached(f"{digest.hexdigest()}-{form}", convert)


def _cached(key: str, convert: Callable[[Path], None]) -> Path:
    """The directory of ``key`` in the cache; made by ``convert`` under another name and renamed when whole."""
    cache = ensure_state_dir("cache", "converted")
    target = cache / f"{key}-{_FORM}"
    if not target.is_dir():
        with TemporaryDirectory(dir=cache, prefix=".new-") as scratch:
            draft = Path(scratch) / "model"
            draft.mkdir()
            try:
                convert(draft)
            except ModuleNotFoundError as error:
                raise BackendNotInstalledError(
                    f"Converting this model needs the package {error.name}, which is not installed.",
                    remedy="Run the command where the compression set is installed ('./build.sh setup' installs it).",
                ) from error
            try:
                draft.rename(target)
            except OSError:
                if not target.is_dir():  # otherwise another process was faster, with the same bytes
                    raise
    return target
