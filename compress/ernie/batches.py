"""Token rows to batches of similar length, and the steps that every training here takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.paddle_env import paddle
from compress.parallel import Worker

_SORTED_TOGETHER = 16  # batches; sorting all texts at once would make every epoch's batches the same


def length_batches(lengths: Sequence[int], size: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Each index once, in batches of ``size`` whose texts are about equally long, in random order."""
    order = random.permutation(len(lengths))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), size * _SORTED_TOGETHER):
        block = order[start : start + size * _SORTED_TOGETHER]
        block = block[np.argsort([lengths[index] for index in block], kind="stable")]
        batches += [block[at : at + size] for at in range(0, len(block), size)]
    for index in random.permutation(len(batches)):
        yield batches[index]


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> NDArray[np.int64]:
    """(N, longest) int64, padded behind."""
    padded = np.full((len(rows), max(map(len, rows))), pad_id, np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded


def learning_rate(step: int, steps: int, peak: float, *, warm_up: float = 0.1) -> float:
    """Linear up to ``peak`` over the first part of all steps, then linear down to zero."""
    rising = max(1.0, steps * warm_up)
    return peak * min((step + 1) / rising, max(0.0, (steps - step) / max(1.0, steps - rising)))


def apply_averaged_gradients(
    worker: Worker,
    optimizer: Any,
    parameters: Sequence[Any],
    *,
    table: Any = None,
    touched: NDArray[np.int64] | None = None,
) -> None:
    """One step of ``optimizer`` with the gradients' mean over all processes.

    Args:
        worker: This process.
        optimizer: Over ``parameters``.
        parameters: The same in every process.
        table: An embedding's weight among them, of which few rows have a gradient; None to exchange all of it.
        touched: Those rows, for the batches of all processes together.
    """
    own = [parameter.grad for parameter in parameters]
    rows = None if touched is None else paddle.to_tensor(touched)
    arrays = []
    for parameter, gradient in zip(parameters, own, strict=True):
        if parameter is table and rows is not None:
            gradient = paddle.gather(gradient, rows)
        arrays.append(np.zeros(parameter.shape, np.float32) if gradient is None else gradient.numpy())
    for parameter, gradient, mean in zip(parameters, own, worker.average(arrays), strict=True):
        if parameter is table and rows is not None:
            with paddle.no_grad():
                paddle.scatter_(gradient, rows, paddle.to_tensor(mean))
        elif gradient is not None:
            gradient.set_value(paddle.to_tensor(mean))
    optimizer.step()
    optimizer.clear_grad()


def label_loss(logits: Any, truth: NDArray[np.float32], *, multi_label: bool) -> Any:
    """Cross entropy on the rows that somebody labelled; 0 without any.

    Args:
        logits: (..., labels).
        truth: In the same shape, NaN where nobody labelled.
        multi_label: Each label by its own sigmoid; otherwise one softmax over all.
    """
    labels = truth.shape[-1]
    flat = truth.reshape(-1, labels)
    labelled = np.flatnonzero(~np.isnan(flat[:, 0]))
    if not labelled.size:
        return paddle.zeros([])
    chosen = paddle.gather(logits.reshape([-1, labels]), paddle.to_tensor(labelled))
    wanted = paddle.to_tensor(flat[labelled])
    functional = paddle.nn.functional
    if multi_label:
        return functional.binary_cross_entropy_with_logits(chosen, wanted)
    return functional.cross_entropy(chosen, wanted, soft_label=True)
