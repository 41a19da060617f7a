"""Which backend serves a model on this device: the first of the profile's order that proves itself here.

A backend proves itself by the golden inputs that came with the model: its outputs must stay within the model's
tolerance and keep what is decided by them (``runtime.parity``). One that is missing, does not
get its device, refuses the model or drifts is passed over, and every pass-over is kept as a sentence for status and
log. A backend that first builds an engine does so behind one that serves already, and proves itself before it takes
over.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from devices.errors import BackendError, ModelError, ParityError
from devices.profile import library_of, on_cpu
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Decides, ModelEntry
from runtime.backends.kept import forget
from runtime.parity import decided_otherwise
from runtime.predictor import Backend, ModelFiles, Predictor, RunOptions, ShapeRange, backend_reads, load_predictor
from runtime.switching import SwitchingPredictor

log = logging.getLogger(__name__)

# these build an engine when they load, for minutes the first time
_ENGINES: tuple[Backend, ...] = ("onnxruntime:tensorrt", "onnxruntime:tensorrt-rtx", "paddle:tensorrt")
# these can be told to compute in FP16; to the others the profile's fp16 means nothing
_HALVES: tuple[Backend, ...] = ("onnxruntime:tensorrt", "paddle:gpu", "paddle:tensorrt", "openvino:gpu")


@dataclass(frozen=True)
class Choice:
    """A predictor that serves, and why backends before it in the order do not.

    Attributes:
        predictor: It may be a ``SwitchingPredictor``.
        passed_over: Sentences. While an engine is being built one says so; when it is done, that one goes.
    """

    predictor: Predictor
    passed_over: list[str]


@dataclass(frozen=True)
class _Attempt:
    files: ModelFiles
    backend: Backend
    options: RunOptions

    def proven(self, golden: Golden | None, entry: ModelEntry) -> Predictor:
        predictor = load_predictor(self.files, self.backend, self.options)
        if golden is not None:
            check_parity(predictor, golden, tolerance=entry.tolerance, decides=entry.decides, flips=entry.flips)
        return predictor


def choose_backend(
    files: ModelFiles,
    entry: ModelEntry,
    golden: Golden | None,
    order: Sequence[Backend],
    options: RunOptions,
    *,
    full_int8: bool,
) -> Choice:
    """Load ``files`` on the first backend of ``order`` that passes the golden inputs.

    Args:
        files: The model.
        entry: Its entry in the artifact: precision and tolerance.
        golden: Its golden inputs and outputs; None skips the check, since there is nothing to check with.
        order: Backends, the preferred one first.
        options: Threads, cache, limits, and the shapes for engines.
        full_int8: Whether this CPU computes INT8 of full range exactly (``devices.probe.full_int8``).

    Raises:
        BackendError: None serves; the message says what each one lacked.
    """
    if golden is not None and not options.shapes:
        options = replace(options, shapes={key: _exactly(feed.shape) for key, feed in golden.inputs.items()})
    passed_over: list[str] = []
    engines: list[_Attempt] = []
    for attempt in _attempts(replace(files, precision=entry.precision), order, options):
        if reason := _unfit(attempt, entry, full_int8=full_int8):
            passed_over.append(reason)
        elif attempt.backend in _ENGINES:
            engines.append(attempt)
        elif (predictor := _tried(attempt, golden, entry, passed_over)) is not None:
            if engines:
                return Choice(_switching(predictor, engines, golden, entry, passed_over), passed_over)
            return Choice(predictor, passed_over)
    for attempt in engines:  # nothing else serves, so there is nothing to serve with until the engine is there
        if (predictor := _tried(attempt, golden, entry, passed_over)) is not None:
            return Choice(predictor, passed_over)
    raise BackendError(
        f"No backend of the profile can serve {files.name}: {'; '.join(each.rstrip('.') for each in passed_over)}.",
        remedy="Install one of these backends, or build the bundle for this device's profile.",
    )


def _attempts(files: ModelFiles, order: Sequence[Backend], options: RunOptions) -> Iterator[_Attempt]:
    """Every backend of the order; one that may use FP16 first with it and then without."""
    for backend in order:
        if options.fp16 and backend in _HALVES and not files.precision.startswith("int8"):
            yield _Attempt(replace(files, precision="fp16"), backend, options)
        yield _Attempt(files, backend, replace(options, fp16=False))


def _exactly(shape: tuple[int, ...]) -> ShapeRange:
    return ShapeRange(shape, shape, shape)


def _unfit(attempt: _Attempt, entry: ModelEntry, *, full_int8: bool) -> str | None:
    files, backend = attempt.files, attempt.backend
    if not backend_reads(backend, files):
        return f"{backend} does not read the format of {files.name} ({files.format})"
    if on_cpu(backend) and entry.int8 and not (full_int8 or entry.reduce_range):
        return (
            f"{backend} would compute the INT8 weights of {files.name} wrong: they use all 8 bits, and this processor "
            "has no VNNI"
        )
    return None


def _tried(attempt: _Attempt, golden: Golden | None, entry: ModelEntry, passed_over: list[str]) -> Predictor | None:
    try:
        return attempt.proven(golden, entry)
    except BackendError as error:
        predictor = _without_what_was_kept(attempt, golden, entry, error)
        if predictor is None:
            passed_over.append(error.problem)
        return predictor


def _without_what_was_kept(
    attempt: _Attempt, golden: Golden | None, entry: ModelEntry, error: BackendError
) -> Predictor | None:
    """A second try without the compiled model of an earlier start: a power cut or a bad disk may have damaged it."""
    cache = attempt.options.cache_dir
    if cache is None or library_of(attempt.backend) != "openvino":
        return None
    try:
        predictor = replace(attempt, options=replace(attempt.options, cache_dir=None)).proven(golden, entry)
    except BackendError:
        return None
    forget(cache, attempt.backend, attempt.files)
    log.warning("What was kept of %s is damaged and was removed; it was compiled anew. %s", entry.name, error.problem)
    return predictor


def _switching(
    stand_in: Predictor, engines: Sequence[_Attempt], golden: Golden | None, entry: ModelEntry, passed_over: list[str]
) -> SwitchingPredictor:
    building = (
        f"An engine for {stand_in.name} is being prepared with "
        f"{' or '.join(dict.fromkeys(attempt.backend for attempt in engines))}; until then {stand_in.backend} serves."
    )
    passed_over.append(building)

    def make() -> Predictor | None:
        found: list[str] = []
        predictor = None
        try:
            for attempt in engines:
                if (predictor := _tried(attempt, golden, entry, found)) is not None:
                    log.info("%s: %s serves from now on", predictor.name, predictor.backend)
                    break
        finally:
            for reason in found:
                log.warning("%s: %s", stand_in.name, reason)
            passed_over[passed_over.index(building) :] = found
        return predictor

    shapes = engines[0].options.shapes
    return SwitchingPredictor(stand_in, make, shapes)


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


def check_parity(
    predictor: Predictor, golden: Golden, *, tolerance: float, decides: Decides = "rows", flips: float = 0.0
) -> None:
    """Run the golden inputs and compare.

    Args:
        predictor: What is to prove itself.
        golden: Inputs, and the outputs that they should have.
        tolerance: Largest absolute difference of a value.
        decides: What is decided by the outputs, as in the model's entry.
        flips: Largest share of it that may be decided otherwise.

    Raises:
        ParityError: An output is missing, has another shape, drifts beyond ``tolerance``, or decides otherwise.
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
        if decides == "rows" and (not got.ndim or got.shape[-1] < 2):
            continue  # a single value decides nothing
        share = decided_otherwise(got, want, decides, tolerance=tolerance)
        if share > flips:
            raise ParityError(f"{who} decides {share:.2%} of the golden {decides} differently; {flips:.2%} may be.")
