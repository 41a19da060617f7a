"""An ERNIE network as a model that backends load: Paddle's ``inference.pdmodel``, or ONNX."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from compress.ernie.checkpoint import read_checkpoint
from compress.ernie.model import ErnieClassifier, build_model
from compress.export import to_onnx
from compress.paddle_env import paddle
from runtime.artifact import Artifact, ModelEntry
from runtime.text import VOCAB_NAME

MODEL_NAME = "text-risk"


def export_paddle(model: paddle.nn.Layer, out_dir: Path, outputs: Sequence[str] = ("logits",)) -> None:
    """Write ``inference.pdmodel`` and ``inference.pdiparams`` with free batch and length.

    Inputs are ``input_ids`` and ``token_type_ids``, both int64 (B, T); dropout is off in what is written.

    Args:
        model: An ``ErnieClassifier``, or a layer that takes the same inputs.
        out_dir: Made if missing.
        outputs: Names for what the model returns; ``jit.save`` calls outputs after the operator that made them.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    training = model.training
    model.eval()
    ids = [paddle.static.InputSpec([None, None], "int64", name=name) for name in ("input_ids", "token_type_ids")]
    paddle.jit.save(model, str(out_dir / "inference"), input_spec=ids)
    (out_dir / "inference.pdiparams.info").unlink(missing_ok=True)
    path = out_dir / "inference.pdmodel"
    program = paddle.base.core.ProgramDesc(path.read_bytes())  # owns the block: without this name it is freed under us
    block = program.block(0)
    operators = [block.op(index) for index in range(block.op_size())]
    fetched = [operator.input("X")[0] for operator in operators if operator.type() == "fetch"]
    for old, new in zip(fetched, outputs, strict=True):
        block._rename_var(old.encode(), new.encode())
    path.write_bytes(program.serialize_to_string())
    if training:
        model.train()


def export_onnx(model: ErnieClassifier, out: Path) -> None:
    """Write the network as the ONNX file ``out``, with free batch and length."""
    with tempfile.TemporaryDirectory(prefix="edgekit-ernie-") as scratch:
        export_paddle(model, Path(scratch))
        to_onnx(Path(scratch), out)


def export_checkpoint(
    checkpoint_dir: Path, out_dir: Path, format: Literal["paddle", "onnx"], *, profile: str = "none"
) -> Artifact:
    """Make an uncompressed artifact of a PaddleNLP checkpoint: ``artifact.json``, ``vocab.txt`` and the model.

    Args:
        checkpoint_dir: With ``config.json``, ``vocab.txt`` and the weights.
        out_dir: Made if missing.
        format: ``paddle`` for backend paddle, ``onnx`` for the others.
        profile: The profile that artifact.json names.

    Raises:
        CheckpointError: The checkpoint is hostile, incomplete or does not fit together.
        TokenizerError: So is its vocabulary.
        CompressionError: The conversion to ONNX failed.
    """
    checkpoint = read_checkpoint(checkpoint_dir)
    model = build_model(checkpoint.config, checkpoint.weights)
    out_dir.mkdir(parents=True, exist_ok=True)
    if format == "onnx":
        export_onnx(model, out_dir / "model.onnx")
    else:
        export_paddle(model, out_dir)
    (out_dir / VOCAB_NAME).write_bytes(checkpoint.vocab)
    artifact = Artifact(
        kind="text",
        profile=profile,
        models=(ModelEntry(name=MODEL_NAME, backend="paddle" if format == "paddle" else "openvino"),),
        text=checkpoint.settings(),
    )
    artifact.write(out_dir)
    return artifact
