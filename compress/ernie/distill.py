"""Distillation: a small ERNIE learns to answer as a big one does, with PaddleSlim's ``Distill``.

The student starts from chosen layers of the teacher where shapes allow (DistilBERT, arXiv:1910.01108), and is pulled
towards what ``views`` compares. The teacher answers once (``teacher``); training can be interrupted at any moment
(``training``) and spread over machines (``compress.launched``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.ernie.batches import label_loss, pad
from compress.ernie.checkpoint import Checkpoint, ErnieConfig, Weights
from compress.ernie.model import build_model, model_weights
from compress.ernie.teacher import Answers, answer
from compress.ernie.training import Schedule, train
from compress.ernie.views import (
    LOGITS,
    RELATIONS,
    SENTENCES,
    Said,
    ViewedErnie,
    as_choices,
    compared_logits,
    compared_relations,
    distiller,
)
from compress.paddle_env import paddle
from compress.parallel import Worker, run_parallel
from devices.errors import CompressionError

# layers, hidden, heads: the published sizes of ERNIE 3.0 (PaddleNLP, ernie/configuration.py)
SIZES = {"nano": (4, 312, 12), "micro": (4, 384, 12), "mini": (6, 384, 12)}
_TRIAL_TEXTS, _TRIAL_TOKENS = 64, 64  # what two possible starts are compared on


@dataclass(frozen=True)
class DistillSettings:
    """How long and how hard the student learns.

    Attributes:
        epochs: Passes over the labelled texts and the pool.
        batch: Texts a step, over all processes.
        peak: The highest learning rate.
        temperature: What logits are divided by before they are compared.
        hidden_weight: Of the distance to the teacher's view of the whole text, layer by layer.
        relation_weight: Of the distance to its last layer's attention and value relations.
        label_weight: Of the true labels, beside the teacher's opinion.
    """

    epochs: int = 3
    batch: int = 32
    peak: float = 4e-4
    temperature: float = 2.0
    hidden_weight: float = 0.5
    relation_weight: float = 0.0
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
            # a narrowed teacher's heads are the student's only where everything else about them is the same
            "attention_head_size": teacher.attention_head_size
            if same and heads == teacher.num_attention_heads
            else None,
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
    teacher: Checkpoint,
    student: ErnieConfig,
    rows: Sequence[Sequence[int]],
    targets: Sequence[NDArray[np.float32]] | NDArray[np.float32],
    *,
    seed: int,
    scratch: Path,
    answers: Path | None = None,
    settings: DistillSettings | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Checkpoint:
    """Train a student.

    Args:
        teacher: The teacher.
        student: The student's network, as ``student_config`` gives it.
        rows: Token ids of the labelled texts, then those of the pool.
        targets: For the labelled texts (labelled, labels) float32, 1 where a text carries a label; for a network
            that labels tokens, (tokens, labels) each, NaN where a token has none. The pool has none.
        seed: The same seed and data give the same student, also after an interruption.
        scratch: A directory of this very training, kept when it is interrupted; made if missing.
        answers: A directory of this teacher's answers to these texts, which other students may share; None for one
            in ``scratch``.
        settings: How long and how hard; None takes ``default_settings``.
        progress: Called with a stage and the share of it that is done.

    Returns:
        The student, with the teacher's vocabulary.

    Raises:
        CompressionError: A training process died, the disk is full, or the training broke down.
    """
    settings = settings or default_settings(teacher.config, student)
    report = progress or (lambda stage, share: None)
    said = answer(
        teacher,
        rows,
        chosen_layers(teacher.config, student) if settings.hidden_weight else [],
        answers or scratch / "teacher",
        relations=settings.relation_weight > 0,
        progress=lambda share: report("teacher", share),
    )
    job = Job(
        student=student,
        start=closest_start(teacher.weights, teacher.config, student, rows, seed=seed),
        teacher=teacher.config,
        rows=tuple(map(list, rows)),
        targets=tuple(targets),
        answers=said.directory,
        settings=settings,
        seed=seed,
        state=scratch / "student.npz",
    )
    weights: Weights = run_parallel(
        _train, job, shared_floats=job.floats, progress=lambda share: report("student", share)
    )
    return Checkpoint(student, weights, teacher.vocab, teacher.lowercase)


@dataclass(frozen=True)
class Job:
    """What each training process gets; ``targets`` are of the first texts of ``rows``."""

    student: ErnieConfig
    start: Weights
    teacher: ErnieConfig
    rows: tuple[list[int], ...]
    targets: tuple[NDArray[np.float32], ...]
    answers: Path
    settings: DistillSettings
    seed: int
    state: Path

    @property
    def floats(self) -> int:
        """The most numbers that the processes exchange in a step: all gradients."""
        align = (2 * self.student.hidden_size + 1) * 2 * self.teacher.hidden_size
        return sum(array.size for array in self.start.values()) + align


class Pupil:
    """A student in training: its loss on some of a job's texts.

    Args:
        job: What it learns from.
        model: The student's network.
    """

    def __init__(self, job: Job, model: paddle.nn.Layer) -> None:
        settings, own, other = job.settings, job.student, job.teacher
        self._job = job
        self._layers = chosen_layers(other, own) if settings.hidden_weight else []
        count = own.num_hidden_layers if self._layers else 0
        self.network = ViewedErnie(model, range(count), relations=settings.relation_weight > 0)
        self.network.train()
        self.answers = Answers(job.answers, other, [len(row) for row in job.rows])
        weights = {LOGITS: 1.0, SENTENCES: settings.hidden_weight, RELATIONS: settings.relation_weight}
        weights = {view: weight for view, weight in weights.items() if weight}
        self._student, self._teacher = Said(list(weights)), Said(list(weights))
        align = None
        if own.hidden_size != other.hidden_size:
            paddle.seed(job.seed)
            align = {"align_type": "linear", "in_channel": 2 * own.hidden_size, "out_channel": 2 * other.hidden_size}
        self._distill = distiller(self._student, self._teacher, weights, temperature=settings.temperature, align=align)
        trained = [each for each in model.parameters() if not each.stop_gradient]
        self.parameters = [*trained, *self._distill.parameters()]

    @property
    def views(self) -> list[str]:
        """Which of the teacher's answers it reads."""
        inner = [f"layer{layer}" for layer in self._layers]
        return [LOGITS, *inner, *([RELATIONS] if self._job.settings.relation_weight else [])]

    def loss(self, texts: NDArray[np.int64]) -> Any:
        """Of texts, by their indices: a scalar."""
        job = self._job
        rows = [job.rows[text] for text in texts]
        lengths = [len(row) for row in rows]
        ids = paddle.to_tensor(pad(rows, job.student.pad_token_id))
        logits, *inner = self.network(ids, paddle.zeros_like(ids))
        logits = compared_logits(logits, lengths)
        self._student.now = {LOGITS: as_choices(logits, multi_label=job.student.independent_labels)}
        self._teacher.now = self._wanted(texts, lengths)
        if self._layers:
            self._student.now[SENTENCES] = paddle.stack(inner[: len(self._layers)], axis=1)
        if job.settings.relation_weight:
            self._student.now[RELATIONS] = compared_relations(inner[-1], lengths)
        loss, _, _ = self._distill()
        truth = self._truth(texts, lengths)
        labelled = label_loss(logits, truth, multi_label=job.student.independent_labels)
        return loss + job.settings.label_weight * labelled

    def _wanted(self, texts: NDArray[np.int64], lengths: Sequence[int]) -> dict[str, Any]:
        job = self._job
        logits = [each.reshape(-1, len(job.teacher.id2label)) for each in self.answers.read(LOGITS, texts)]
        wanted = as_choices(paddle.to_tensor(np.concatenate(logits)), multi_label=job.student.independent_labels)
        found = {LOGITS: wanted}
        if self._layers:
            views = [np.stack(self.answers.read(f"layer{layer}", texts)) for layer in self._layers]
            found[SENTENCES] = paddle.to_tensor(np.stack(views, axis=1))
        if job.settings.relation_weight:
            longest = max(lengths)
            maps = [
                np.pad(each, ((0, 0), (0, 0), (0, longest - each.shape[2])))
                for each in self.answers.read(RELATIONS, texts)
            ]
            found[RELATIONS] = paddle.to_tensor(np.concatenate([each.reshape(-1, longest) for each in maps]))
        return found

    def _truth(self, texts: NDArray[np.int64], lengths: Sequence[int]) -> NDArray[np.float32]:
        """(R, labels), beside the rows of the logits; NaN where nobody labelled."""
        job = self._job
        counts = [1] * len(texts) if job.student.head == "sequence" else lengths
        found = [np.full((count, len(job.student.id2label)), np.nan, np.float32) for count in counts]
        for row, text in zip(found, texts, strict=True):
            if text < len(job.targets):
                row[:] = job.targets[text]
        return np.concatenate(found)


def _train(worker: Worker, job: Job) -> Weights:
    """One process's part of the training."""
    model = build_model(job.student, job.start)
    learn(worker, Pupil(job, model), job)
    return model_weights(model)


def learn(worker: Worker, pupil: Pupil, job: Job, *, observed: Sequence[Any] = ()) -> None:
    """Train a pupil as ``job`` says; ``observed`` as in ``compress.ernie.training.train``."""
    for view in pupil.views:
        worker.bring(pupil.answers.path(view))
    settings, table = job.settings, pupil.network.model.ernie.embeddings.word_embeddings.weight

    def used(batch: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.unique([job.student.pad_token_id, *(token for text in batch for token in job.rows[text])])

    train(
        worker,
        pupil.parameters,
        pupil.loss,
        [len(row) for row in job.rows],
        Schedule(settings.epochs, settings.batch, settings.peak),
        seed=job.seed,
        state=job.state,
        table=table,
        rows=used,
        observed=observed,
    )
