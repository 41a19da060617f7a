"""The teachers of the accuracy rows: ERNIE 3.0 mini (6 layers of 384) trained here, from nothing.

    python -m benchmarks.teacher finnsp finese

No pretrained ERNIE is to be had without a model hub, so each grows as the demonstration's teacher does: one layer
learns first, then more, each start keeping what was learned before, with heads on every layer that are thrown away
afterwards. Only the rows of tokens that occur in the training texts are trained; in the finished table every other
token looks like ``[UNK]``, which is trained by hiding characters behind it.

A teacher is kept in the state directory under the hash of its settings and its data, not of any source code: changing
the compression does not train it again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.textsplit import SHARED, Task, write_task
from compress.ernie.batches import apply_averaged_gradients, learning_rate, length_batches, pad
from compress.ernie.checkpoint import Checkpoint, ErnieConfig, Weights, write_checkpoint
from compress.ernie.model import build_model
from compress.evaluate import macro_f1
from compress.paddle_env import paddle
from compress.parallel import PROCESSES, Worker, run_parallel
from compress.textdata import TextData, read_texts
from devices.state import ensure_state_dir
from examples.teacher.train import INITIAL_RANGE, Learner, grow
from runtime.tokenizer import SPECIAL_TOKENS, UNK, ErnieTokenizer

# as published (PaddleNLP, ernie/configuration.py), but for the initial weights' range
MINI: Mapping[str, object] = {
    "vocab_size": 40000,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "type_vocab_size": 4,
    "use_task_id": True,
    "task_type_vocab_size": 16,
    "initializer_range": INITIAL_RANGE,
}
WORDS = "ernie.embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class Settings:
    """What a teacher depends on beside its texts.

    Attributes:
        stages: Layers, passes over the training texts, highest learning rate.
        longest: Tokens; what is behind is cut.
        batch: Texts a step, over all processes.
        hidden_share: Of the tokens, hidden behind ``[UNK]``.
        smoothing: Of the labels.
        averaging: How much of the averaged weights stays, every ``average_every`` steps.
        weight_decay: AdamW's.
        seed: Of everything random.
    """

    stages: tuple[tuple[int, float, float], ...]
    longest: int = 128
    batch: int = 32
    hidden_share: float = 0.08
    smoothing: float = 0.05
    averaging: float = 0.9
    average_every: int = 5
    weight_decay: float = 0.02
    seed: int = 0


SETTINGS = {
    "finnsp": Settings(stages=((1, 10, 1e-3), (3, 4, 5e-4), (6, 3, 3e-4))),
    "finese": Settings(stages=((1, 6, 1e-3), (3, 2, 5e-4), (6, 1.5, 3e-4))),
}


@dataclass(frozen=True)
class Job:
    """What each training process needs; ids are those of the small table."""

    config: ErnieConfig
    settings: Settings
    unknown: int
    train: tuple[list[list[int]], NDArray[np.int64]]
    dev: tuple[list[list[int]], NDArray[np.int64]]


def network(labels: Sequence[str], longest: int) -> ErnieConfig:
    """ERNIE 3.0 mini with a head for ``labels``.

    It has no positions beyond those that it is trained on: whoever fed more would get nonsense.
    """
    changes = {"max_position_embeddings": longest, "id2label": dict(enumerate(labels))}
    return ErnieConfig.model_validate({**MINI, **changes})


def teacher(name: str, *, shared: Path = SHARED, progress: Callable[[str], None] = lambda line: None) -> Path:
    """The checkpoint directory of ``name``'s teacher: from the cache, or trained now (about 20 minutes)."""
    cache = ensure_state_dir("cache", "bench")
    task = write_task(name, cache / "data", shared)
    settings = SETTINGS[name]
    digest = hashlib.sha256(json.dumps([asdict(settings), dict(MINI), task.labels]).encode())
    for file in (task.train, task.dev):
        digest.update(file.read_bytes())
    found = cache / f"teacher-{name}-{digest.hexdigest()[:12]}"
    if not (found / "trained.json").is_file():
        vocab = (shared / "ernie_vocab_config" / "ernie-3.0-base-zh" / "vocab.txt").read_bytes()
        _train_and_keep(task, settings, vocab, found, progress)
    return found


def _train_and_keep(task: Task, settings: Settings, vocab: bytes, out: Path, progress: Callable[[str], None]) -> None:
    started = time.monotonic()
    full = network(task.labels, settings.longest)
    tokenizer = ErnieTokenizer(vocab)
    train, dev = (_rows(read_texts(path), tokenizer, task.labels, settings) for path in (task.train, task.dev))
    specials = [tokenizer.ids(token, 3)[1] for token in SPECIAL_TOKENS]
    kept = np.unique([*specials, *(token for row in train[0] for token in row)])
    unknown = int(np.searchsorted(kept, tokenizer.ids(UNK, 3)[1]))
    small = full.model_copy(update={"vocab_size": len(kept)})
    job = Job(small, settings, unknown, *((_renumber(rows, kept, unknown), truth) for rows, truth in (train, dev)))
    floats = sum(parameter.size for parameter in Learner(small).parameters())
    progress(f"{task.name}: {len(train[0])} texts, {len(kept)} tokens, {floats:,} weights")
    weights: Weights = run_parallel(_train, job, shared_floats=floats, progress=progress)
    f1 = macro_f1(_answers(small, weights, job.dev[0]), job.dev[1])
    table = np.tile(weights[WORDS][unknown], (full.vocab_size, 1))
    table[kept] = weights[WORDS]
    draft = out.with_name(out.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    write_checkpoint(draft, Checkpoint(full, weights | {WORDS: table}, vocab, lowercase=True))
    note = {"dev_macro_f1": f1, "seconds": round(time.monotonic() - started), "settings": asdict(settings)}
    (draft / "trained.json").write_text(json.dumps(note, indent=2) + "\n")
    draft.rename(out)
    progress(f"{task.name}: dev macro-F1 {f1:.4f}, {note['seconds']} s, {out}")


def _rows(
    data: TextData, tokenizer: ErnieTokenizer, labels: Sequence[str], settings: Settings
) -> tuple[list[list[int]], NDArray[np.int64]]:
    truth = data.targets(labels).argmax(axis=1)
    return [tokenizer.ids(text, settings.longest) for text in data.texts], truth


def _renumber(rows: Sequence[Sequence[int]], kept: NDArray[np.int64], unknown: int) -> list[list[int]]:
    found = []
    for row in rows:
        places = np.minimum(np.searchsorted(kept, row), len(kept) - 1)
        found.append(np.where(kept[places] == row, places, unknown).tolist())
    return found


def _train(worker: Worker, job: Job) -> Weights:
    settings, started = job.settings, time.monotonic()
    rows, truth = job.train
    random = np.random.default_rng(settings.seed)  # the same batches in both processes, of which each takes its share
    own = np.random.default_rng((settings.seed, worker.rank))
    weights: Weights = {}
    for layers, epochs, peak in settings.stages:
        config = job.config.model_copy(update={"num_hidden_layers": layers})
        learner = Learner(config)
        learner.set_state_dict(grow(weights, config, settings.seed))
        learner.train()
        paddle.seed(settings.seed + 1 + worker.rank)
        parameters = learner.parameters()
        optimizer = paddle.optimizer.AdamW(
            peak,
            parameters=parameters,
            weight_decay=settings.weight_decay,
            grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
        )
        averaged = {name: tensor.numpy() for name, tensor in learner.state_dict().items()}
        steps = int(epochs * -(-len(rows) // settings.batch))
        lengths = list(map(len, rows))
        batches = (each for _ in range(steps) for each in length_batches(lengths, settings.batch, random))
        loss_now = 0.0
        for step, batch in zip(range(steps), batches, strict=False):
            mine = batch[worker.rank :: PROCESSES]
            ids = pad([rows[index] for index in mine], job.config.pad_token_id)
            hidden = (own.random(ids.shape) < settings.hidden_share) & (ids >= len(SPECIAL_TOKENS))
            labels = paddle.to_tensor(truth[mine])
            each = [
                paddle.nn.functional.cross_entropy(logits, labels, label_smoothing=settings.smoothing)
                for logits in learner(paddle.to_tensor(np.where(hidden, job.unknown, ids)))
            ]
            (each[0] + sum(each[1:]) / layers).backward()
            optimizer.set_lr(learning_rate(step, steps, peak))
            apply_averaged_gradients(worker, optimizer, parameters)
            loss_now += 0.05 * (float(each[0]) - loss_now)
            if (step + 1) % settings.average_every == 0:
                for name, tensor in learner.state_dict().items():
                    averaged[name] = settings.averaging * averaged[name] + (1 - settings.averaging) * tensor.numpy()
            if worker.rank == 0 and (step + 1) % 20 == 0:
                seconds = time.monotonic() - started
                worker.report(f"{layers} layers, step {step + 1} of {steps}, loss {loss_now:.3f}, {seconds:.0f} s")
        weights = averaged
        if worker.rank == 0:
            some = slice(0, 500)
            f1 = macro_f1(_answers(config, _classifier(weights), job.dev[0][some]), job.dev[1][some])
            worker.report(f"{layers} layers: macro-F1 {f1:.4f} on 500 texts of dev, {time.monotonic() - started:.0f} s")
    return _classifier(weights)


def _classifier(weights: Weights) -> Weights:
    return {name.removeprefix("model."): array for name, array in weights.items() if name.startswith("model.")}


def _answers(config: ErnieConfig, weights: Weights, rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    model = build_model(config, weights)
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    answers = np.zeros(len(rows), np.int64)
    with paddle.no_grad():
        for start in range(0, len(order), 32):
            part = order[start : start + 32]
            ids = paddle.to_tensor(pad([rows[index] for index in part], config.pad_token_id))
            answers[part] = model(ids, paddle.zeros_like(ids)).numpy().argmax(axis=1)
    return answers


if __name__ == "__main__":
    console = Console(highlight=False)
    for each in sys.argv[1:]:
        console.print(teacher(each, progress=console.print))
