"""Quantization-aware training of a student, for where post-training quantization costs too much accuracy.

PaddleSlim's ``QAT`` puts a rounding in front of every dense layer's input and weight (Jacob et al., arXiv:1712.05877),
and the student learns once more to answer as its teacher does, with the roundings in place. What comes out are FP32
weights that round well, and how large each layer's input and output get. The Q/DQ writer rounds as PaddleSlim does:
weights by each output channel's largest value, activations up to the learned limits. The products inside attention
are not rounded in training; the writer takes their limits from the outputs of the projections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.ernie.checkpoint import Checkpoint, ErnieConfig, Weights
from compress.ernie.distill import DistillSettings, Job, Pupil, learn
from compress.ernie.model import ErnieClassifier, build_model
from compress.ernie.teacher import answer
from compress.paddle_env import paddle
from compress.parallel import Worker, run_parallel
from compress.slim import Thresholds

# by layer, as in the checkpoint's weight names: the largest absolute value of its input and of its output
Limits = dict[str, tuple[float, float]]
SETTINGS = DistillSettings(epochs=1, peak=5e-5, hidden_weight=0.0)
_INNER = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "linear1", "linear2")


def train_quantized(
    student: Checkpoint,
    teacher: Checkpoint,
    rows: Sequence[Sequence[int]],
    targets: Sequence[NDArray[np.float32]] | NDArray[np.float32],
    *,
    seed: int,
    scratch: Path,
    answers: Path | None = None,
    settings: DistillSettings = SETTINGS,
    weight_bits: int = 8,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[Checkpoint, Limits]:
    """Train a student with INT8 roundings in place.

    Args:
        student: In FP32.
        teacher: Of the same vocabulary.
        rows: Token ids of the labelled texts, then those of the pool.
        targets: As for ``compress.ernie.distill.distil``.
        seed: The same seed and data give the same weights, also after an interruption.
        scratch: A directory of this very training, kept when it is interrupted; made if missing.
        answers: Where the teacher's answers to these texts are or will be; None for a directory in ``scratch``.
        settings: How long and how hard; inner views are not compared.
        weight_bits: 7 for processors without VNNI.
        progress: Called with a stage and the share of it that is done.

    Returns:
        The student with weights that round well, and its limits; ``thresholds`` makes of these what ``quantize``
        takes, once the student is exported.

    Raises:
        CompressionError: A training process died, the disk is full, or the training broke down.
    """
    report = progress or (lambda stage, share: None)
    said = answer(
        teacher,
        rows,
        [],
        answers or scratch / "teacher",
        relations=False,
        progress=lambda share: report("teacher", share),
    )
    job = QuantizedJob(
        student=student.config,
        start=student.weights,
        teacher=teacher.config,
        rows=tuple(map(list, rows)),
        targets=tuple(targets),
        answers=said.directory,
        settings=settings,
        seed=seed,
        state=scratch / "quantized.npz",
        weight_bits=weight_bits,
    )
    weights, limits = run_parallel(
        _train, job, shared_floats=job.floats, progress=lambda share: report("quantized", share)
    )
    return Checkpoint(student.config, weights, student.vocab, student.lowercase), limits


def thresholds(model_dir: Path, config: ErnieConfig, limits: Mapping[str, Sequence[float]]) -> Thresholds:
    """Limits by the names that matrix products have in an exported student, as ``quantize`` takes them.

    Args:
        model_dir: From ``export_paddle`` of a network of ``config``.
        config: The student's.
        limits: From ``train_quantized``.

    Raises:
        ValueError: The export does not hold the network's matrix products, in their order.
    """
    program = paddle.base.core.ProgramDesc((model_dir / "inference.pdmodel").read_bytes())
    block = program.block(0)
    products = [block.op(index) for index in range(block.op_size())]
    products = [each for each in products if each.type() == "matmul_v2"]
    wanted: list[dict[int, float]] = []
    for layer in range(config.num_hidden_layers):
        query, key, value, out, first, second = (limits[f"ernie.encoder.layers.{layer}.{name}"] for name in _INNER)
        scaled = query[1] * config.head_size**-0.5
        wanted += [{0: query[0]}, {0: key[0]}, {0: value[0]}, {0: scaled, 1: key[1]}, {1: value[1]}]
        wanted += [{0: out[0]}, {0: first[0]}, {0: second[0]}]
    heads = ("ernie.pooler.dense", "classifier") if config.head == "sequence" else ("classifier",)
    wanted += [{0: limits[name][0]} for name in heads]
    are_weights = [block.find_var(each.input("Y")[0].encode()).persistable() for each in products]
    if are_weights != [1 not in each for each in wanted]:
        raise ValueError(f"{model_dir} has {len(products)} matrix products; they are not those of the student")
    return {each.output("Out")[0]: limit for each, limit in zip(products, wanted, strict=True)}


@dataclass(frozen=True)
class QuantizedJob(Job):
    """As ``Job``, with the bits of a weight."""

    weight_bits: int = 8


def with_roundings(model: ErnieClassifier, weight_bits: int = 8) -> None:
    """Put PaddleSlim's roundings into ``model``; in training mode they follow what passes through them.

    Weights keep their place in memory but lose their names: take ``model.state_dict()`` before.
    """
    from paddleslim.dygraph.quant import QAT

    QAT({"weight_bits": weight_bits, "quantizable_layer_type": ["Linear"]}).quantize(model)


def limits_of(model: ErnieClassifier) -> Limits:
    """What the roundings in ``model`` have seen."""
    found = {}
    for name, layer in model.named_sublayers():
        if hasattr(layer, "_ma_output_scale"):  # Paddle's MAOutputScaleLayer around a QuantizedLinear
            scales = layer._layer._fake_quant_input._scale, layer._ma_output_scale._scale
            found[name] = (float(scales[0]), float(scales[1]))
    return found


def _train(worker: Worker, job: QuantizedJob) -> tuple[Weights, Limits]:
    """One process's part of the training."""
    model = build_model(job.student, job.start)
    weights = dict(model.state_dict())
    with_roundings(model, job.weight_bits)
    pupil = Pupil(job, model)
    learn(worker, pupil, job, observed=[each for each in model.parameters() if each.stop_gradient])
    return {name: tensor.numpy() for name, tensor in weights.items()}, limits_of(model)
