"""Paddle models to ONNX and to OpenVINO's own format."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import onnx
from onnx import version_converter

from devices.errors import CompressionError
from runtime.predictor import ModelFiles, model_files

# 17 has LayerNormalization as one operator; paddle2onnx raises it further by itself where a model needs it
OPSET = 17
PER_CHANNEL_OPSET = 13  # the first whose DequantizeLinear takes one scale for each channel
_TIMEOUT_S = 600
_CONVERT = (
    "import sys, paddle2onnx\n"
    f"paddle2onnx.export(sys.argv[1], sys.argv[2], sys.argv[3], opset_version={OPSET}, auto_upgrade_opset=True)\n"
)


def to_onnx(model_dir: Path, out: Path) -> Path:
    """Write the model in ``model_dir`` as the ONNX file ``out``.

    paddle2onnx reports failure by aborting, by ``SystemExit`` or by silence, so it runs in a process of its own.
    A model that is ONNX already is copied; one of an opset below 13, which has no scale for each channel, is raised
    to 17 where ONNX's own converter can.

    Args:
        model_dir: With ``inference.pdmodel`` and ``inference.pdiparams``, or ``model.onnx``.
        out: The file to write; its directory is made.

    Returns:
        ``out``.

    Raises:
        ModelError: No whole model is in ``model_dir``.
        CompressionError: The model is of a kind that paddle2onnx 1.3.1 cannot read, or the conversion failed.
        OSError: The disk is full.
    """
    files = model_files(model_dir, model_dir.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    if files.format == "onnx":
        out.write_bytes(_modern(files.graph))
        return out
    check_exportable(files, model_dir)
    out.unlink(missing_ok=True)  # what is in it afterwards is the converter's only sign of success
    command = [sys.executable, "-c", _CONVERT]
    command += [str(model_dir / "inference.pdmodel"), str(model_dir / "inference.pdiparams"), str(out)]
    try:
        result = subprocess.run(
            command,
            env={**os.environ, "FLAGS_enable_pir_api": "0"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failure(model_dir, f"it did not finish in {_TIMEOUT_S} s") from error
    if result.returncode != 0 or not out.is_file() or out.stat().st_size == 0:
        out.unlink(missing_ok=True)  # after a failure it is there, empty
        if os.strerror(errno.ENOSPC) in result.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))
        raise _failure(model_dir, _last_words(result))
    return out


def check_exportable(files: ModelFiles, origin: Path) -> None:
    """See that there is a way from the model's format to ONNX; ``origin`` is its directory, for messages.

    Raises:
        CompressionError: There is none.
    """
    if files.format == "openvino":
        raise CompressionError(
            f"{origin} holds an OpenVINO model (model.xml), from which there is no way back to ONNX.",
            remedy="Give the Paddle or ONNX model that it was made from.",
        )
    if files.is_pir:
        raise CompressionError(
            f"{origin / 'inference.json'} is in Paddle 3's new format, which paddle2onnx 1.3.1 cannot read.",
            remedy="Save the model again with FLAGS_enable_pir_api=0 set, which gives inference.pdmodel, or give it as "
            "model.onnx. A profile whose first backend is paddle serves inference.json as it is, in FP32.",
        )


def to_openvino(onnx_file: Path, out: Path) -> Path:
    """Write an ONNX file as OpenVINO's IR: ``out`` (``.xml``) and the ``.bin`` beside it.

    Weights stay as they are; OpenVINO's default of rounding them to 16 bits is switched off.

    Raises:
        CompressionError: OpenVINO cannot read the file.
    """
    import openvino

    try:
        openvino.save_model(openvino.Core().read_model(onnx_file), out, compress_to_fp16=False)
    except RuntimeError as error:
        raise CompressionError(f"OpenVINO could not convert {onnx_file}: {str(error).splitlines()[-1]}") from error
    return out


def _modern(graph: bytes) -> bytes:
    model = onnx.load_from_string(graph)
    if opset(model) >= PER_CHANNEL_OPSET:
        return graph
    try:
        return version_converter.convert_version(model, OPSET).SerializeToString()
    except (version_converter.ConvertError, RuntimeError):
        return graph  # an operator without a way up: it serves as it is


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that ``model`` is written in."""
    return max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=1)


def _failure(model_dir: Path, why: str) -> CompressionError:
    return CompressionError(
        f"paddle2onnx could not convert {model_dir / 'inference.pdmodel'}: {why}.",
        remedy="Give the model as model.onnx, or name a profile whose first backend is paddle.",
    )


def _last_words(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line.removeprefix("[Paddle2ONNX]").strip() for line in (result.stdout + result.stderr).splitlines()]
    telling = [line for line in lines if any(word in line.lower() for word in ("fail", "error", "not support"))]
    words = telling[0] if telling else f"it ended with status {result.returncode}"
    return words.rstrip(".")
