"""Which backend serves a model on this device: the first of the profile's order that proves itself here.

A backend proves itself by the golden inputs that came with the model: its outputs must stay within the model's
tolerance and keep every decision (the largest value of each row stays the largest). One that is missing, refuses
the model or drifts is passed over, and every pass-over is kept as a sentence for status and log.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from devices.errors import BackendError, ModelError, ParityError
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, ModelEntry
from runtime.predictor import Backend, ModelFiles, Predictor, RunOptions, backend_reads, load_predictor


@dataclass(frozen=True)
class Choice:
    """A predictor that serves, and why backends before it in the order do not."""

    predictor: Predictor
    passed_over: tuple[str, ...]


def choose_backend(
    files: ModelFiles,
    entry: ModelEntry,
    golden: bytes | None,
    order: Sequence[Backend],
    options: RunOptions,
) -> Choice:
    """Load ``files`` on the first backend of ``order`` that passes the golden inputs.

    Args:
        files: The model.
        entry: Its entry in the artifact: precision and tolerance.
        golden: Contents of its golden ``.npz``; None skips the check, since there is nothing to check with.
        order: Backends, the preferred one first.
        options: Threads and cache.

    Raises:
        BackendError: None serves; the message says what each one lacked.
    """
    cases = read_golden(golden) if golden is not None else None
    passed_over: list[str] = []
    for backend in order:
        if not backend_reads(backend, files):
            passed_over.append(f"{backend} does not read the format of {files.name} ({files.format})")
            continue
        try:
            predictor = load_predictor(replace(files, precision=entry.precision), backend, options)
            if cases is not None:
                check_parity(predictor, cases, tolerance=entry.tolerance)
        except BackendError as error:
            passed_over.append(error.problem)
            continue
        return Choice(predictor, tuple(passed_over))
    raise BackendError(
        f"No backend of the profile can serve {files.name}: {'; '.join(passed_over)}.",
        remedy="Install one of these backends, or build the bundle for this device's profile.",
    )


@dataclass(frozen=True)
class Golden:
    """Inputs by name and the outputs expected for them."""

    inputs: dict[str, NDArray[np.generic]]
    outputs: dict[str, NDArray[np.generic]]


def read_golden(data: bytes) -> Golden:
    """Parse a golden ``.npz``; no pickles inside are read.

    Raises:
        ModelError: It is not one, or holds no input or no output.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            named = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError) as error:
        raise ModelError(f"A golden file cannot be read: {error}.") from error
    golden = Golden(
        {name.removeprefix(GOLDEN_INPUT): array for name, array in named.items() if name.startswith(GOLDEN_INPUT)},
        {name.removeprefix(GOLDEN_OUTPUT): array for name, array in named.items() if name.startswith(GOLDEN_OUTPUT)},
    )
    if not golden.inputs or not golden.outputs:
        raise ModelError("A golden file holds no inputs or no outputs.")
    return golden


def check_parity(predictor: Predictor, golden: Golden, *, tolerance: float) -> None:
    """Run the golden inputs and compare.

    Raises:
        ParityError: An output is missing, has another shape, drifts beyond ``tolerance``, or flips a decision.
    """
    produced = predictor.run(golden.inputs)
    who = f"{predictor.backend} on {predictor.name}"
    for name, expected in golden.outputs.items():
        if name not in produced or produced[name].shape != expected.shape:
            raise ParityError(f"The golden output {name!r} is missing or has another shape with {who}.")
        got, want = produced[name].astype(np.float64), expected.astype(np.float64)
        drift = float(np.abs(got - want).max(initial=0.0))
        if not drift <= tolerance:  # written so that NaN fails
            raise ParityError(
                f"The outputs of {who} differ from the golden ones by {drift:.2g}; {tolerance:.2g} is allowed."
            )
        if got.ndim and got.shape[-1] > 1 and (flips := _flips(got, want, tolerance)):
            raise ParityError(f"{who} decides {flips} of the golden rows differently.")


def _flips(got: NDArray[np.float64], want: NDArray[np.float64], tolerance: float) -> int:
    """Rows whose winner changes although it led by more than the tolerance."""
    first = want.argmax(-1)
    ordered = np.sort(want, axis=-1)
    clear = ordered[..., -1] - ordered[..., -2] > tolerance
    return int(((got.argmax(-1) != first) & clear).sum())
