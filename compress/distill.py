"""Distillation: a small ERNIE learns to answer as a big one does, with PaddleSlim's ``Distill``.

The student starts from chosen layers of the teacher where shapes allow (DistilBERT, arXiv:1910.01108), and is pulled
towards the teacher's logits and towards its view of the whole text in each chosen layer (after TinyBERT,
arXiv:1909.10351): the first token's vector beside the mean of all. Only these are kept of the teacher, so that its
answers to a pool of 60,000 texts fit into memory; they are computed once.
"""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.ernie.batches import apply_averaged_gradients, learning_rate, length_batches, pad
from compress.ernie.checkpoint import ErnieConfig, Weights
from compress.ernie.export import export_paddle
from compress.ernie.model import ErnieClassifier, build_model, model_weights
from compress.paddle_env import paddle
from compress.parallel import PROCESSES, Worker, run_parallel
from devices.errors import CompressionError
from runtime.predictor import RunOptions, load_predictor, model_files

# layers, hidden, heads: the published sizes of ERNIE 3.0 (PaddleNLP, ernie/configuration.py)
SIZES = {"nano": (4, 312, 12), "micro": (4, 384, 12), "mini": (6, 384, 12)}
SENTENCES, LOGITS = "sentences", "logits"
_TEACHER_BATCH = 32
_TRIAL_TEXTS, _TRIAL_TOKENS = 64, 64  # what two possible starts are compared on


@dataclass(frozen=True)
class DistillSettings:
    """How long and how hard the student learns.

    Attributes:
        epochs: Passes over the labelled texts and the pool.
        batch: Texts a step, over all processes.
        peak: The highest learning rate.
        hidden_weight: Of the distance to the teacher's inner view.
        label_weight: Of the true labels, beside the teacher's opinion.
    """

    epochs: int = 3
    batch: int = 32
    peak: float = 4e-4
    hidden_weight: float = 0.5
    label_weight: float = 0.5


def default_settings(teacher: ErnieConfig, student: ErnieConfig) -> DistillSettings:
    """One gentle pass for a student that starts from the teacher's own layers; more and faster for any other."""
    if student.hidden_size == teacher.hidden_size:
        return DistillSettings(epochs=1, peak=1e-4)
    return DistillSettings()


def student_config(teacher: ErnieConfig, size: str) -> ErnieConfig:
    """The network of a student.

    Args:
        teacher: Whose vocabulary, labels and other settings it shares.
        size: ``nano``, ``micro``, ``mini``, or ``LAYERSxHIDDENxHEADS`` such as ``2x192x12``. A size that would not
            be smaller than the teacher becomes half the teacher's layers.

    Raises:
        CompressionError: There is no such size.
    """
    numbers = size.split("x")
    if size in SIZES:
        layers, hidden, heads = SIZES[size]
    elif len(numbers) == 3 and all(number.isdecimal() and int(number) for number in numbers):
        layers, hidden, heads = map(int, numbers)
    else:
        raise CompressionError(
            f"There is no student size {size!r}.",
            remedy=f"Use one of {', '.join(SIZES)}, or LAYERSxHIDDENxHEADS such as 2x192x12.",
        )
    if hidden % heads:
        raise CompressionError(f"Student size {size!r} cannot be: {hidden} is no multiple of {heads} heads.")
    if layers * hidden**2 >= teacher.num_hidden_layers * teacher.hidden_size**2:
        layers = max(1, teacher.num_hidden_layers // 2)
        hidden, heads = teacher.hidden_size, teacher.num_attention_heads
    same = hidden == teacher.hidden_size
    return teacher.model_copy(
        update={
            "num_hidden_layers": layers,
            "hidden_size": hidden,
            "num_attention_heads": heads,
            "intermediate_size": teacher.intermediate_size if same else 4 * hidden,
        }
    )


def chosen_layers(teacher: ErnieConfig, student: ErnieConfig) -> list[int]:
    """Which of the teacher's layers the student's stand for: evenly spread, the last always among them."""
    ratio = teacher.num_hidden_layers / student.num_hidden_layers
    return [max(0, round((layer + 1) * ratio) - 1) for layer in range(student.num_hidden_layers)]


def initial_weights(
    teacher: Weights, teacher_config: ErnieConfig, student: ErnieConfig, layers: Sequence[int], *, seed: int
) -> Weights:
    """What the student may start from.

    With the teacher's width everything comes from the teacher, its ``layers`` in place of the student's. With another
    width the embedding tables come, projected onto the directions in which the teacher's words differ most (their
    leading right singular vectors), and the rest is random.
    """
    paddle.seed(seed)
    start = model_weights(build_model(student))
    sources = {name: name for name in start}
    for layer, origin in enumerate(layers):
        prefix = f"ernie.encoder.layers.{layer}."
        for name in start:
            if name.startswith(prefix):
                sources[name] = f"ernie.encoder.layers.{origin}.{name.removeprefix(prefix)}"
    if student.hidden_size != teacher_config.hidden_size:
        words = teacher["ernie.embeddings.word_embeddings.weight"]
        directions = np.linalg.svd(words.T @ words)[2][: student.hidden_size].T.astype(np.float32)
        teacher = {
            name: array @ directions if name.endswith("_embeddings.weight") else array
            for name, array in teacher.items()
        }
    for name, source in sources.items():
        if teacher[source].shape == start[name].shape:
            start[name] = teacher[source]
    return start


def closest_start(
    teacher: Weights, teacher_config: ErnieConfig, student: ErnieConfig, rows: Sequence[Sequence[int]], *, seed: int
) -> Weights:
    """Of two starts, the evenly spread layers and the first ones, that whose logits are closer to the teacher's.

    Which is better depends on the teacher: a deep one does something in every layer, a small one may do most in the
    first.
    """
    ids = paddle.to_tensor(pad([list(row)[:_TRIAL_TOKENS] for row in rows[:_TRIAL_TEXTS]], teacher_config.pad_token_id))

    def logits(config: ErnieConfig, weights: Weights) -> NDArray[np.float32]:
        with paddle.no_grad():
            answer: NDArray[np.float32] = build_model(config, weights)(ids, paddle.zeros_like(ids)).numpy()
        return answer

    wanted = logits(teacher_config, teacher)
    selections = [chosen_layers(teacher_config, student), list(range(student.num_hidden_layers))]
    starts = [initial_weights(teacher, teacher_config, student, layers, seed=seed) for layers in selections]
    distances = [float(np.square(logits(student, start) - wanted).mean()) for start in starts]
    return starts[int(np.argmin(distances))]


def distil(
    teacher: Weights,
    teacher_config: ErnieConfig,
    student: ErnieConfig,
    rows: Sequence[Sequence[int]],
    targets: NDArray[np.float32],
    *,
    seed: int,
    settings: DistillSettings | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Weights:
    """Train a student.

    Args:
        teacher: The teacher's weights.
        teacher_config: The teacher's network.
        student: The student's, as ``student_config`` gives it.
        rows: Token ids of the labelled texts, then those of the pool.
        targets: (labelled, labels) float32, 1 where a text carries a label; the pool has none.
        seed: The same seed and data give the same student.
        settings: How long and how hard; None takes ``default_settings``.
        progress: Called with a stage and the share of it that is done.

    Returns:
        The student's weights.

    Raises:
        CompressionError: A training process died.
    """
    settings = settings or default_settings(teacher_config, student)
    report = progress or (lambda stage, share: None)
    layers = chosen_layers(teacher_config, student)
    known = np.full((len(rows), targets.shape[1]), np.nan, np.float32)
    known[: len(targets)] = targets
    with tempfile.TemporaryDirectory(prefix="edgekit-distil-") as scratch:
        answers = _teacher_answers(
            build_model(teacher_config, teacher), layers, rows, Path(scratch), lambda share: report("teacher", share)
        )
        job = _Job(
            student,
            closest_start(teacher, teacher_config, student, rows, seed=seed),
            teacher_config.hidden_size,
            [list(row) for row in rows],
            known,
            answers,
            settings,
            seed,
        )
        floats = sum(array.size for array in job.start.values()) + 4 * student.hidden_size * teacher_config.hidden_size
        floats += 2 * teacher_config.hidden_size
        weights: Weights = run_parallel(
            _train, job, shared_floats=floats, progress=lambda share: report("student", share)
        )
    return weights


@dataclass(frozen=True)
class _Job:
    student: ErnieConfig
    start: Weights
    teacher_hidden: int
    rows: list[list[int]]
    targets: NDArray[np.float32]  # (N, labels), NaN where nobody labelled
    answers: Path
    settings: DistillSettings
    seed: int


class _Tapped(paddle.nn.Layer):
    """A classifier whose inner view and logits pass through two layers that PaddleSlim can find by name."""

    def __init__(self, model: ErnieClassifier, layers: Iterable[int]) -> None:
        super().__init__()
        self.model = model
        self._chosen = tuple(layers)
        self.sentences = paddle.nn.Identity()
        self.logits = paddle.nn.Identity()

    def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
        """Ids (B, T) to logits (B, labels) and, for each chosen layer, first vector and mean (B, layers, 2H)."""
        ernie = self.model.ernie
        states = ernie.states(input_ids, token_type_ids)
        real = (1.0 - ernie.is_padding(input_ids)).unsqueeze(-1)  # (B, T, 1)
        count = real.sum(axis=1)
        views = [
            paddle.concat([states[layer][:, 0], (states[layer] * real).sum(axis=1) / count], axis=-1)
            for layer in self._chosen
        ]
        sentences = self.sentences(paddle.stack(views, axis=1))
        pooled = self.model.dropout(ernie.pooler(states[-1]))
        return self.logits(self.model.classifier(pooled)), sentences


class _Replay(paddle.nn.Layer):
    """A teacher that only repeats what it said before."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences = paddle.nn.Identity()
        self.logits = paddle.nn.Identity()
        self.now: tuple[Any, Any] = (None, None)

    def forward(self, input_ids: Any, token_type_ids: Any) -> Any:
        """What ``now`` holds, whatever the ids."""
        logits, sentences = self.now
        return self.logits(logits), self.sentences(sentences)


def _teacher_answers(
    model: ErnieClassifier,
    layers: Sequence[int],
    rows: Sequence[Sequence[int]],
    scratch: Path,
    progress: Callable[[float], None],
) -> Path:
    """The teacher's logits and inner view of every text, in a file that all processes map into memory.

    OpenVINO answers several times faster than Paddle outside of training.
    """
    export_paddle(_Tapped(model, layers), scratch / "teacher", (LOGITS, SENTENCES))
    predictor = load_predictor(model_files(scratch / "teacher", "teacher"), "openvino", RunOptions())
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    logits = np.zeros((len(rows), len(model.config.id2label)), np.float32)
    sentences = np.zeros((len(rows), len(layers), 2 * model.config.hidden_size), np.float16)
    for start in range(0, len(order), _TEACHER_BATCH):
        part = order[start : start + _TEACHER_BATCH]
        ids = pad([rows[index] for index in part], model.config.pad_token_id)
        outputs = predictor.run({"input_ids": ids, "token_type_ids": np.zeros_like(ids)})
        logits[part], sentences[part] = (outputs[spec.name] for spec in predictor.outputs)
        progress(min(1.0, (start + _TEACHER_BATCH) / len(order)))
    np.save(scratch / "logits.npy", logits)
    np.save(scratch / "sentences.npy", sentences)
    return scratch


def distiller(student: paddle.nn.Layer, teacher: paddle.nn.Layer, *, hidden_weight: float, align: Any = None) -> Any:
    """PaddleSlim's ``Distill`` on the layers ``sentences`` and ``logits`` of both.

    Args:
        student: In training mode.
        teacher: In evaluation mode.
        hidden_weight: Of the loss on ``sentences``; the one on ``logits`` weighs 1.
        align: PaddleSlim's ``align_params`` where the two are not equally wide.

    Raises:
        ValueError: A layer is missing; PaddleSlim itself would end in ``UnboundLocalError``.
    """
    from paddleslim.dygraph.dist import Distill

    for model in (student, teacher):
        names = [name for name, _ in model.named_sublayers()]
        for wanted in (SENTENCES, LOGITS):
            if wanted not in names:
                near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.3) or names[:3]
                raise ValueError(f"{type(model).__name__} has no layer {wanted!r}; near it are {near}")
    inner = {"layers_name": [SENTENCES, SENTENCES], "loss_function": "MSELoss", "weight": hidden_weight}
    if align is not None:
        inner["align_params"] = align
    outer = {"layers_name": [LOGITS, LOGITS], "loss_function": "MSELoss", "weight": 1.0}
    # convert_fn would replace functions of Paddle for the whole process
    return Distill([{"layers": [inner, outer]}], [student], [teacher], convert_fn=False)


def _train(worker: Worker, job: _Job) -> Weights:
    """One process's part of the training."""
    settings = job.settings
    student = _Tapped(build_model(job.student, job.start), range(job.student.num_hidden_layers))
    student.train()
    replay = _Replay()
    replay.eval()
    align = None
    if job.student.hidden_size != job.teacher_hidden:
        paddle.seed(job.seed)
        align = {"align_type": "linear", "in_channel": 2 * job.student.hidden_size}
        align["out_channel"] = 2 * job.teacher_hidden
    distill = distiller(student, replay, hidden_weight=settings.hidden_weight, align=align)
    parameters = distill.parameters()
    optimizer = paddle.optimizer.AdamW(
        settings.peak, parameters=parameters, weight_decay=0.01, grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0)
    )
    paddle.seed(job.seed + 1 + worker.rank)  # each its own dropout
    random = np.random.default_rng(job.seed)  # but the same batches, of which each takes its share
    logits = np.load(job.answers / "logits.npy", mmap_mode="r")
    sentences = np.load(job.answers / "sentences.npy", mmap_mode="r")
    lengths = [len(row) for row in job.rows]
    steps = settings.epochs * -(-len(lengths) // settings.batch)
    for step, batch in enumerate(
        batch for _ in range(settings.epochs) for batch in length_batches(lengths, settings.batch, random)
    ):
        mine = batch[worker.rank :: PROCESSES] if len(batch) >= PROCESSES else batch
        ids = paddle.to_tensor(pad([job.rows[index] for index in mine], job.student.pad_token_id))
        replay.now = paddle.to_tensor(logits[mine]), paddle.to_tensor(sentences[mine].astype(np.float32))
        loss, (answer, _), _ = distill(ids, paddle.zeros_like(ids))
        loss = loss + settings.label_weight * _label_loss(answer, job.targets[mine], job.student.multi_label)
        loss.backward()
        optimizer.set_lr(learning_rate(step, steps, settings.peak))
        apply_averaged_gradients(worker, optimizer, parameters)
        worker.report((step + 1) / steps)
    return model_weights(student.model)


def _label_loss(logits: Any, targets: NDArray[np.float32], multi_label: bool) -> Any:
    """Cross entropy on the rows that somebody labelled; 0 without any."""
    labelled = np.flatnonzero(~np.isnan(targets[:, 0]))
    if not labelled.size:
        return paddle.zeros([])
    chosen = paddle.gather(logits, paddle.to_tensor(labelled))
    truth = paddle.to_tensor(targets[labelled])
    functional = paddle.nn.functional
    if multi_label:
        return functional.binary_cross_entropy_with_logits(chosen, truth)
    return functional.cross_entropy(chosen, truth, soft_label=True)
