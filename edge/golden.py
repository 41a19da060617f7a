"""A bundle's golden set on every backend that its profile allows: how fast, how far off, what it decides otherwise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from devices.errors import BackendError
from devices.profile import Backend, Serve, on_cpu
from edge.bundle.parts import Part
from runtime.artifact import ModelEntry
from runtime.choice import Golden, check_parity
from runtime.parity import decided_otherwise
from runtime.predictor import ModelFiles, Predictor, RunOptions, backend_reads, load_predictor

_RUNS = 5


@dataclass(frozen=True)
class GoldenRun:
    """One model on one backend.

    Attributes:
        model: Its name in the bundle.
        backend: What ran it, or was to.
        passed: Whether it may serve: within the model's tolerance, and deciding the same.
        ms: Median time of a run of the golden inputs; None if it did not run.
        drift: Largest difference of a value from the golden outputs; None if it did not run.
        tolerance: What it may be.
        flips: Share of decisions that came out otherwise; None if it did not run.
        flips_allowed: What it may be.
        problem: Why it did not pass, in a sentence; empty if it did.
    """

    model: str
    backend: Backend
    passed: bool
    ms: float | None
    drift: float | None
    tolerance: float
    flips: float | None
    flips_allowed: float
    problem: str = ""

    @property
    def sentence(self) -> str:
        """For a person."""
        if self.problem or self.ms is None or self.drift is None or self.flips is None:
            return f"{self.model} on {self.backend}: {self.problem}"
        return (
            f"{self.model} on {self.backend}: {self.ms:.1f} ms, drift {self.drift:.2g} of {self.tolerance:.2g}, "
            f"{self.flips:.2%} decided otherwise of {self.flips_allowed:.2%}."
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_golden_set(parts: Sequence[Part], serve: Serve, *, full_int8: bool) -> Iterator[GoldenRun]:
    """Run every model that has golden outputs on every backend of the profile, one after another.

    Nothing is kept for the next start: what an earlier start kept is not what is asked about.

    Args:
        parts: Of a verified bundle.
        serve: Backends in order of preference, and threads.
        full_int8: Whether this CPU computes INT8 of full range exactly (``devices.probe.full_int8``).

    Raises:
        BundleError: A golden file is missing.
        ModelError: One is malformed.
    """
    for part in parts:
        for entry in part.artifact.models:
            golden = part.golden(entry)
            if golden is None:
                continue
            files = part.model(entry)
            for backend in serve.backends:
                yield _run(files, entry, golden, backend, serve, full_int8=full_int8)


def _run(
    files: ModelFiles, entry: ModelEntry, golden: Golden, backend: Backend, serve: Serve, *, full_int8: bool
) -> GoldenRun:
    failed = GoldenRun(entry.name, backend, False, None, None, entry.tolerance, None, entry.flips)
    if not backend_reads(backend, files):
        return replace(failed, problem=f"{backend} does not read {files.format} files.")
    if on_cpu(backend) and entry.int8 and not (full_int8 or entry.reduce_range):
        return replace(failed, problem="its INT8 weights use all 8 bits, and this processor has no VNNI.")
    options = RunOptions(
        threads=serve.threads,
        parallel=serve.parallel,
        fp16=False,
        gpu_memory_limit_mb=serve.gpu_memory_limit_mb,
    )
    try:
        predictor = load_predictor(files, backend, options)
        outputs = predictor.run(golden.inputs)
        ms = _median_ms(predictor, golden)
    except BackendError as error:
        return replace(failed, problem=error.problem)
    drift, flips = 0.0, 0.0
    for name, want in golden.outputs.items():
        got = outputs.get(name)
        if got is None or got.shape != want.shape:
            return replace(failed, problem=f"The golden output {name!r} is missing or has another shape.")
        difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
        drift = max(drift, float(difference.max(initial=0.0)))
        if entry.decides != "rows" or (want.ndim and want.shape[-1] > 1):
            flips = max(flips, decided_otherwise(got, want, entry.decides, tolerance=entry.tolerance))
    problem = _refusal(predictor, golden, entry)
    return GoldenRun(entry.name, backend, not problem, ms, drift, entry.tolerance, flips, entry.flips, problem)


def _median_ms(predictor: Predictor, golden: Golden) -> float:
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        predictor.run(golden.inputs)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def _refusal(predictor: Predictor, golden: Golden, entry: ModelEntry) -> str:
    """What serving would say against it: the same rule decides here and there."""
    try:
        check_parity(predictor, golden, tolerance=entry.tolerance, decides=entry.decides, flips=entry.flips)
    except BackendError as error:
        return error.problem
    return ""
