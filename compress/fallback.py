"""Operators that cost accuracy stay FP32: which they are is found by measurement.

Each operator is made INT8 alone, and what that does to the model's outputs ranks it: sensitivity one layer at a time,
as in HAWQ (Dong et al., arXiv:1905.03696), but measured instead of estimated from the Hessian. Errors of single layers
add up closely enough for a ranking; that the model is good enough is for ``accept`` to say, which sees the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.calibration import Feeds, cpu_session
from compress.qdq import Plan
from compress.quantize import Measured, QuantReport, measure, quantize, write
from compress.slim import Thresholds
from runtime.predictor import Backend

Progress = Callable[[str, float], None]
_FEEDS = 4  # that operators are ranked on: the outputs of few batches tell a bad layer from a good one


@dataclass(frozen=True)
class Fallback:
    """What ``quantize_with_fallback`` wrote.

    Attributes:
        report: Of the model in ``out``.
        kept_fp32: First outputs of the operators that stayed FP32, the most sensitive first.
        accepted: Whether ``accept`` said yes to it; if not, ``out`` holds the model with all operators in INT8.
    """

    report: QuantReport
    kept_fp32: tuple[str, ...]
    accepted: bool


def sensitivity(
    measured: Measured, feeds: Sequence[Feeds], *, progress: Progress | None = None
) -> list[tuple[str, float]]:
    """How much each operator alone in INT8 changes the model's outputs, the most sensitive first.

    Args:
        measured: From ``compress.quantize.measure``.
        feeds: Inputs like those in service; a few are taken, evenly spread.
        progress: Called with a stage and the share of it that is done, 0 to 1.

    Returns:
        The operator's first output, and the relative error of all outputs: ||int8 - fp32|| / ||fp32||.
    """
    report = progress or (lambda stage, share: None)
    some = [feeds[i * len(feeds) // _FEEDS] for i in range(_FEEDS)] if len(feeds) > _FEEDS else list(feeds)
    operators = measured.plan.readers

    def outputs(plan: Plan) -> NDArray[np.float32]:
        session = cpu_session(replace(measured, plan=plan).int8(), fuse=False)
        return np.concatenate([np.ravel(value) for feed in some for value in session.run(None, dict(feed))])

    expected = outputs(Plan({}, frozenset()))
    size = max(float(np.linalg.norm(expected)), float(np.finfo(np.float32).tiny))
    found = []
    for i, (name, reader) in enumerate(operators.items()):
        report("rank operators", i / len(operators))
        error = float(np.linalg.norm(outputs(Plan({name: reader}, frozenset())) - expected)) / size
        found.append((name, error))
    report("rank operators", 1.0)
    return sorted(found, key=lambda each: each[1], reverse=True)


def quantize_with_fallback(
    model_dir: Path,
    feeds: Sequence[Feeds],
    out: Path,
    *,
    backend: Backend,
    accept: Callable[[Path], bool],
    reduce_range: bool = False,
    thresholds: Thresholds | None = None,
    progress: Progress | None = None,
) -> Fallback:
    """``quantize``, with as few operators left in FP32 as ``accept`` asks for.

    All operators are tried in INT8; then the most sensitive 1, 2, 4, ... are left in FP32 until ``accept`` says yes,
    and between the last two counts the smallest that it accepts is sought. Past half of the operators it is not
    tried: what is left would not be faster.

    Args:
        model_dir: As for ``quantize``.
        feeds: As for ``quantize``.
        out: As for ``quantize``.
        backend: As for ``quantize``.
        accept: Called with ``out`` after each try; measures the model there on the backend that will serve.
        reduce_range: As for ``quantize``.
        thresholds: As for ``quantize``.
        progress: Called with a stage and the share of it that is done, 0 to 1.

    Raises:
        CalibrationError: As ``quantize`` does.
        CompressionError: As ``quantize`` does.
        ModelError: As ``quantize`` does.
    """

    def calibrated() -> Measured:
        return measure(model_dir, feeds, reduce_range=reduce_range, thresholds=thresholds)

    measured = None if backend == "paddle" else calibrated()

    def written(keep_fp32: Collection[str]) -> QuantReport:
        if measured is not None:
            return write(measured, out, keep_fp32=keep_fp32)
        return quantize(
            model_dir,
            feeds,
            out,
            backend=backend,
            reduce_range=reduce_range,
            keep_fp32=keep_fp32,
            thresholds=thresholds,
        )

    report = written(())
    if accept(out):
        return Fallback(report, (), accepted=True)
    # Paddle's own graph is ranked by its twin: the same operators, scales and names
    twin = measured or calibrated()
    ranked = [name for name, _ in sensitivity(twin, feeds, progress=progress)]
    refused, count, limit = 0, 1, len(ranked) // 2
    while count <= limit:
        report = written(ranked[:count])
        if accept(out):
            break
        refused, count = count, count * 2 if count == limit else min(count * 2, limit)
    else:
        return Fallback(written(()), (), accepted=False)
    tried = count  # what lies in ``out``
    while count - refused > 1:
        tried = (refused + count) // 2
        report = written(ranked[:tried])
        refused, count = (refused, tried) if accept(out) else (tried, count)
    if tried != count:
        report = written(ranked[:count])
    return Fallback(report, tuple(ranked[:count]), accepted=True)
