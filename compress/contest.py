"""FP32, BF16 and INT8 of one model on the backend that will serve it: the fastest that passes the gate is taken.

BF16 is FP32's file, computed with 8 bits of mantissa. It is tried where the profile allows it and this processor
computes in it, which only OpenVINO is told to. There what of an INT8 model is not INT8 is computed in BF16 as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compress.calibration import Feeds
from compress.evaluate import interleaved_medians_ms
from compress.fallback import quantize_with_fallback
from compress.gate import FASTER, Verdict, and_faster
from compress.report import Limits, Row
from devices.errors import ArtifactError, BackendError, CalibrationError, CompressionError
from devices.profile import Profile
from runtime.artifact import Precision
from runtime.predictor import ModelFiles, Predictor, RunOptions, load_predictor, model_files

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        directory: Of the model that was chosen.
        precision: Of the same.
        rows: FP32, and BF16 and INT8 where they could be made.
        limits: What these had to keep to.
    """

    directory: Path
    precision: Precision
    rows: tuple[Row, ...]
    limits: Limits


@dataclass(frozen=True)
class Contest:
    """One model, and how it is measured.

    Attributes:
        name: The model's.
        metric: What ``judge`` measures, as in the report.
        higher_is_better: Its direction.
        reference: What FP32 has of it.
        judge: Measures a loaded model: its value, and the gate's verdict on its accuracy.
        fp32: The uncompressed model, loaded.
        plain: Its directory.
        timed: Inputs that all forms are timed on.
        profile: Whose backend and gate apply.
    """

    name: str
    metric: str
    higher_is_better: bool
    reference: float
    judge: Callable[[Predictor], tuple[float, Verdict]]
    fp32: Predictor
    plain: Path
    timed: Sequence[Feeds]
    profile: Profile

    def run(self, source: Path, feeds: Sequence[Feeds], small: Path, progress: Progress | None = None) -> Outcome:
        """Make the other forms, measure them and let the gate choose.

        Where INT8 costs too much accuracy, the operators that cost most are left in FP32. Where it is only too slow,
        nothing is left in FP32, which would make it slower still.

        Args:
            source: The model to quantize, as ``compress.quantize`` reads it.
            feeds: Calibration data.
            small: Directory for the INT8 form; it is made.
            progress: Called with a stage and the share of it that is done, 0 to 1.

        Raises:
            CalibrationError: The model gives values that are not numbers on the calibration data.
        """
        limit = self.profile.compress.max_drop
        limits = Limits(self.reference - limit if self.higher_is_better else self.reference + limit)
        found = [self._bf16(), why_not(self.profile, self.plain) or self._int8(source, feeds, small, progress)]
        forms: dict[str, _Form] = {each.precision: each for each in found if isinstance(each, _Form)}
        times = interleaved_medians_ms(
            {"fp32": self.fp32} | {name: each.predictor for name, each in forms.items()}, self.timed
        )
        for name, each in forms.items():
            verdict = and_faster(each.verdict, reference_ms=times["fp32"], candidate_ms=times[name])
            forms[name] = replace(each, verdict=verdict)
        said = _of_fp32(forms, [each for each in found if isinstance(each, str)])
        forms = {"fp32": _Form("fp32", self.plain, self.fp32, self.reference, Verdict(True, 0.0, said))} | forms
        winner = _winner(forms, times)
        rows = tuple(self._row(each, times, winner) for each in forms.values())
        return Outcome(winner.directory, winner.precision, rows, limits)

    def _bf16(self) -> _Form | str:
        """FP32's file in BF16 and how it did, or why there is none; "" where nobody asked for it."""
        if not self._allows_bf16:
            return ""
        try:
            _, predictor = self._loaded(self.plain, "bf16")
            if predictor.precision != "bf16":
                return "BF16 was not tried: this processor does not compute in it."
            value, verdict = self.judge(predictor)
        except BackendError as error:
            return f"BF16 could not be tried: {error.problem}"
        if not math.isfinite(value):
            return "BF16 was refused: it answers with values that are not numbers."
        return _Form("bf16", self.plain, predictor, value, verdict)

    def _int8(self, source: Path, feeds: Sequence[Feeds], small: Path, progress: Progress | None) -> _Form | str:
        """The INT8 form and how it did, or why there is none."""
        serve = self.profile.serve
        precision: Precision = "int8+bf16" if self._allows_bf16 else "int8"
        judged: dict[str, tuple[float, Verdict]] = {}  # by SHA-256: the last one tried need not be the one written last

        def accept(directory: Path) -> bool:
            files, predictor = self._loaded(directory, precision)
            value, verdict = judged[files.sha256] = self.judge(predictor)
            return verdict.passed and math.isfinite(value)

        try:
            found = quantize_with_fallback(
                source,
                feeds,
                small,
                backend=serve.measured_on,
                accept=accept,
                reduce_range=serve.reduce_range,
                progress=progress,
            )
            files, predictor = self._loaded(small, precision)
            value, verdict = judged.get(files.sha256) or self.judge(predictor)
        except (CalibrationError, ArtifactError):
            raise
        except (CompressionError, BackendError) as error:
            return f"INT8 could not be made: {error.problem}"
        if not math.isfinite(value):
            return "INT8 was refused: it answers with values that are not numbers."
        computed: Precision = "int8+bf16" if predictor.precision == "int8+bf16" else "int8"
        return _Form(computed, small, predictor, value, verdict, found.kept_fp32)

    @property
    def _allows_bf16(self) -> bool:
        return self.profile.serve.bf16 and self.profile.serve.measured_on == "openvino"

    def _loaded(self, directory: Path, precision: Precision) -> tuple[ModelFiles, Predictor]:
        files = model_files(directory, self.name, precision=precision)
        return files, load_predictor(files, self.profile.serve.measured_on, measuring_options(self.profile))

    def _row(self, form: _Form, times: Mapping[str, float], winner: _Form) -> Row:
        interval, sentence, latency_ms = form.verdict.interval, form.verdict.sentence, times[form.precision]
        if form.verdict.passed and form.precision != "fp32" and form is not winner:
            better = "faster still" if times[winner.precision] < latency_ms else "as fast, but for noise, and smaller"
            sentence += f" {winner.precision.upper()} is {better}."
        return Row(
            self.name,
            form.precision,
            self.metric,
            form.value,
            self.higher_is_better,
            latency_ms,
            form.size_bytes,
            self.profile.serve.measured_on,
            sentence,
            chosen=form is winner,
            interval=interval.of_metric(self.reference, higher_is_better=self.higher_is_better) if interval else None,
            fp32_layers=form.kept_fp32,
        )


@dataclass(frozen=True)
class _Form:
    precision: Precision
    directory: Path
    predictor: Predictor
    value: float
    verdict: Verdict
    kept_fp32: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(each.stat().st_size for each in self.directory.iterdir())


def _winner(forms: Mapping[str, _Form], times: Mapping[str, float]) -> _Form:
    """The fastest that passed; of two that noise cannot tell apart the smaller, as INT8 is fast on more processors."""
    passed = [form for form in forms.values() if form.verdict.passed and form.precision != "fp32"] or [forms["fp32"]]
    least = min(times[form.precision] for form in passed)
    return min((form for form in passed if FASTER * times[form.precision] <= least), key=lambda form: form.size_bytes)


def _of_fp32(others: Mapping[str, _Form], lacking: Sequence[str]) -> str:
    """What the report says of FP32: whether it had to be kept, and why other forms did not compete."""
    names = [name.upper() for name in others]
    if any(each.verdict.passed for each in others.values()):
        said = "The reference."
    elif len(names) == 2:
        said = f"Kept, because neither {names[0]} nor {names[1]} passed."
    else:
        said = f"Kept, because {names[0]} did not pass." if names else ""
    return " ".join(filter(None, (said, *lacking)))


def why_not(profile: Profile, plain: Path) -> str:
    """Why INT8 is not tried at all; "" where it is."""
    if not profile.serve.int8:
        return f"Profile {profile.name} does not use INT8."
    if model_files(plain, plain.name).is_pir:
        return "Served as it is, in FP32: PaddleSlim cannot read inference.json, so INT8 was not tried."
    return ""


def measuring_options(profile: Profile) -> RunOptions:
    """How models are loaded to be measured for ``profile``: with the threads that they will serve with."""
    return RunOptions(threads=profile.serve.threads)
