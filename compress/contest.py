"""FP32 against INT8, for one model on the backend that will serve it: the gate says which goes into the artifact."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compress.calibration import Feeds
from compress.evaluate import interleaved_medians_ms
from compress.fallback import quantize_with_fallback
from compress.gate import Verdict, and_faster
from compress.report import Limits, Row
from devices.errors import ArtifactError, BackendError, CalibrationError, CompressionError
from devices.profile import Profile
from runtime.predictor import ModelFiles, Predictor, RunOptions, load_predictor, model_files

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        directory: Of the model that was chosen.
        precision: Of the same.
        rows: FP32, and INT8 where it could be made.
        limits: What INT8 had to keep to.
    """

    directory: Path
    precision: Literal["fp32", "int8"]
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
        timed: Inputs that both are timed on.
        profile: Whose backend, threads and gate apply.
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
        """Make the INT8 form, measure it and let the gate choose.

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
        tried = why_not(self.profile, self.plain) or self._tried(source, feeds, small, progress)
        if isinstance(tried, str):
            times = interleaved_medians_ms({"fp32": self.fp32}, self.timed)
            row = self._row("fp32", self.plain, self.reference, times["fp32"], tried, kept=True)
            return Outcome(self.plain, "fp32", (row,), limits)
        times = interleaved_medians_ms({"fp32": self.fp32, "int8": tried.predictor}, self.timed)
        verdict = and_faster(tried.verdict, reference_ms=times["fp32"], candidate_ms=times["int8"])
        said = "The reference." if verdict.passed else "Kept, because INT8 did not pass."
        rows = (
            self._row("fp32", self.plain, self.reference, times["fp32"], said, kept=not verdict.passed),
            self._row("int8", small, tried.value, times["int8"], verdict.sentence, kept=verdict.passed, tried=tried),
        )
        chosen = small if verdict.passed else self.plain
        return Outcome(chosen, "int8" if verdict.passed else "fp32", rows, limits)

    def _tried(self, source: Path, feeds: Sequence[Feeds], small: Path, progress: Progress | None) -> _Tried | str:
        """The INT8 form and how it did, or why there is none."""
        serve = self.profile.serve
        judged: dict[str, tuple[float, Verdict]] = {}  # by SHA-256: the last one tried need not be the one written last

        def accept(directory: Path) -> bool:
            files, predictor = self._loaded(directory)
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
            files, predictor = self._loaded(small)
            value, verdict = judged.get(files.sha256) or self.judge(predictor)
        except (CalibrationError, ArtifactError):
            raise
        except (CompressionError, BackendError) as error:
            return f"INT8 could not be made: {error.problem}"
        if not math.isfinite(value):
            return "INT8 was refused: it answers with values that are not numbers."
        return _Tried(predictor, value, verdict, found.kept_fp32)

    def _loaded(self, directory: Path) -> tuple[ModelFiles, Predictor]:
        files = model_files(directory, self.name, precision="int8")
        serve = self.profile.serve
        return files, load_predictor(files, serve.measured_on, RunOptions(threads=serve.threads))

    def _row(
        self,
        variant: str,
        directory: Path,
        value: float,
        latency_ms: float,
        sentence: str,
        *,
        kept: bool,
        tried: _Tried | None = None,
    ) -> Row:
        interval = tried.verdict.interval if tried else None
        return Row(
            self.name,
            variant,
            self.metric,
            value,
            self.higher_is_better,
            latency_ms,
            sum(each.stat().st_size for each in directory.iterdir()),
            self.profile.serve.measured_on,
            sentence,
            chosen=kept,
            interval=interval.of_metric(self.reference, higher_is_better=self.higher_is_better) if interval else None,
            fp32_layers=tried.kept_fp32 if tried else (),
        )


@dataclass(frozen=True)
class _Tried:
    predictor: Predictor
    value: float
    verdict: Verdict
    kept_fp32: tuple[str, ...]


def why_not(profile: Profile, plain: Path) -> str:
    """Why INT8 is not tried at all; "" where it is."""
    if not profile.serve.int8:
        return f"Profile {profile.name} does not use INT8."
    if model_files(plain, plain.name).is_pir:
        return "Served as it is, in FP32: PaddleSlim cannot read inference.json, so INT8 was not tried."
    return ""
