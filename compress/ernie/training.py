"""Training that can be killed at any moment and goes on, to the same weights bit for bit.

What a step does depends on nothing but the weights, the optimizer's state, and numbers worked out from seed, process
and step: the order of the texts is drawn from the seed anew, and dropout is seeded before every step. So a state is
weights, moments and the count of steps. The first process writes one every now and then, under a temporary name and
through to the disk before it takes the old one's place.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.ernie.batches import apply_averaged_gradients, learning_rate, length_batches
from compress.paddle_env import paddle
from compress.parallel import Worker
from devices.errors import CompressionError

_SAVE_EVERY_S = 40.0
_SAVING_SHARE = 0.03  # of the time, at most
_STEP = "step"


@dataclass(frozen=True)
class Schedule:
    """How long and how hard.

    Attributes:
        epochs: Passes over all texts.
        batch: Texts a step, over all processes.
        peak: The highest learning rate.
        weight_decay: AdamW's (arXiv:1711.05101).
        gradient_norm: The gradients' common norm is cut to this.
    """

    epochs: int
    batch: int
    peak: float
    weight_decay: float = 0.01
    gradient_norm: float = 1.0

    def steps(self, texts: int) -> int:
        """How many steps that makes."""
        return self.epochs * -(-texts // self.batch)


def train(
    worker: Worker,
    parameters: Sequence[Any],
    loss: Callable[[NDArray[np.int64]], Any],
    lengths: Sequence[int],
    schedule: Schedule,
    *,
    seed: int,
    state: Path,
    table: Any = None,
    rows: Callable[[NDArray[np.int64]], NDArray[np.int64]] | None = None,
    observed: Sequence[Any] = (),
    save_every_s: float = _SAVE_EVERY_S,
) -> None:
    """Train ``parameters`` in place; all processes call this alike, and end with the same weights.

    Build the network in the same way each time: parameters are known by their place in the list.

    Args:
        worker: This process.
        parameters: What is trained.
        loss: From the indices of this process's texts of a step, a scalar tensor with gradients.
        lengths: Tokens of each text; a step's texts are about equally long.
        schedule: How long and how hard.
        seed: The same seed, data and number of processes give the same weights.
        state: A file to go on from, if it is there, and to save to.
        table: An embedding's weight among ``parameters``; only the rows that ``rows`` names are exchanged.
        rows: From the indices of a step's texts, over all processes, the unique rows of ``table`` they use.
        observed: Tensors that ``loss`` itself changes, such as moving averages; kept equal in all processes.
        save_every_s: Seconds between savings, at least.

    Raises:
        CompressionError: The loss is not finite, or the state cannot be saved.
    """
    optimizer = paddle.optimizer.AdamW(
        schedule.peak,
        parameters=list(parameters),
        weight_decay=schedule.weight_decay,
        grad_clip=paddle.nn.ClipGradByGlobalNorm(schedule.gradient_norm),
    )
    kept = [*parameters, *observed]
    steps, done = schedule.steps(len(lengths)), _restore(worker.read(state), kept, optimizer)
    wait_s, saved = save_every_s, time.monotonic()
    for step, batch in enumerate(_batches(lengths, schedule, seed)):
        if step < done:
            continue
        mine = batch[worker.rank :: worker.size] if len(batch) >= worker.size else batch
        paddle.seed(int(np.random.SeedSequence((seed, worker.rank, step)).generate_state(1)[0]))
        value = loss(mine)
        if not np.isfinite(float(value)):
            raise CompressionError(
                f"Training broke down at step {step + 1} of {steps}: the loss is {float(value)}.",
                state="No model was written.",
                remedy="Check the teacher's weights and the texts, or lower the learning rate.",
            )
        value.backward()
        optimizer.set_lr(learning_rate(step, steps, schedule.peak))
        touched = None if rows is None else rows(batch)
        apply_averaged_gradients(worker, optimizer, parameters, table=table, touched=touched)
        if observed:
            for tensor, mean in zip(observed, worker.average([each.numpy() for each in observed]), strict=True):
                tensor.set_value(paddle.to_tensor(mean))
        if worker.rank == 0 and time.monotonic() - saved >= wait_s:
            started = time.monotonic()
            _save(state, step + 1, kept, optimizer)
            saved = time.monotonic()
            wait_s = max(save_every_s, (saved - started) / _SAVING_SHARE) if save_every_s else 0.0
        worker.report((step + 1) / steps)


def _batches(lengths: Sequence[int], schedule: Schedule, seed: int) -> Iterator[NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    for _ in range(schedule.epochs):
        yield from length_batches(lengths, schedule.batch, random)


def _save(path: Path, step: int, kept: Sequence[Any], optimizer: Any) -> None:
    arrays = {f"kept.{index}": tensor.numpy() for index, tensor in enumerate(kept)}
    moments = {name: value for name, value in optimizer.state_dict().items() if isinstance(value, paddle.Tensor)}
    for index, tensor in enumerate(kept):  # Paddle's names count all that a process ever built: ours are places
        own = [name for name in moments if name.startswith(f"{tensor.name}_")]
        arrays |= {f"moment.{index}.{name.removeprefix(tensor.name)}": moments[name].numpy() for name in own}
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, **arrays, **{_STEP: np.array(step)})
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CompressionError(
            f"The state of the training cannot be saved to {path}: {error.strerror}.",
            state="What was saved before is kept.",
            remedy="Make room on that disk and run the same command again; it goes on from there.",
        ) from error


def _restore(content: bytes | None, kept: Sequence[Any], optimizer: Any) -> int:
    """Load a saved state; returns the steps it had done."""
    if content is None:
        return 0
    with np.load(io.BytesIO(content)) as arrays:
        moments = {}
        for name in arrays.files:
            if name == _STEP:
                continue
            kind, index, *rest = name.split(".", 2)
            tensor = paddle.to_tensor(arrays[name])
            if kind == "kept":
                kept[int(index)].set_value(tensor)
            else:
                moments[kept[int(index)].name + rest[0]] = tensor
        optimizer.set_state_dict(moments)
        return int(arrays[_STEP])
