"""What a search has tried so far: every variant with its verdict, all timed together, and which of them wins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compress.ernie.export import MODEL_NAME
from compress.ernie.measure import Bench, Candidate
from compress.ernie.search import Measured, best, lacks, nearest
from compress.gate import Verdict, judge_tallies
from compress.report import Limits, Row
from devices.errors import AccuracyDropError
from devices.profile import Profile


class Results:
    """Variants in the order in which they were tried, measured against the first, the reference.

    Args:
        profile: Whose limits apply.
        metric: The task's.
    """

    def __init__(self, profile: Profile, metric: str) -> None:
        self._profile, self._metric = profile, metric
        self._candidates: list[Candidate] = []
        self._verdicts: dict[str, Verdict] = {}
        self._times: dict[str, tuple[float, ...]] = {}

    def add(self, candidate: Candidate, bench: Bench) -> Measured:
        """Take in a variant, and time all of them again in turns: only ratios of one run mean something."""
        self._candidates.append(candidate)
        self._verdicts[candidate.variant] = self.judge(candidate)
        self._times = bench.latencies(self._candidates)
        return self._measured(candidate)

    def judge(self, candidate: Candidate) -> Verdict:
        """The gate's verdict on accuracy, against the reference."""
        limit = self._profile.compress.max_drop
        return judge_tallies(self._candidates[0].tally, candidate.tally, max_drop=limit, higher_is_better=True)

    def measured(self) -> list[Measured]:
        """All but the reference."""
        return [self._measured(each) for each in self._candidates[1:]]

    def winner(self) -> Candidate | None:
        """The variant that goes into the artifact; None where nothing passes."""
        chosen = best(self.measured(), self._profile.compress)
        return next((each for each in self._candidates if chosen and each.variant == chosen.variant), None)

    def so_far(self) -> str:
        """The best until now, as a line below the progress bar's stage."""
        found = self.winner()
        return f"\nbest so far: {found.variant} {found.value:.4f}" if found else ""

    def refusal(self, report: Path) -> AccuracyDropError:
        """What nothing passed, and by how much the nearest failed."""
        near = nearest(self.measured(), self._profile.compress)
        value = next(each.value for each in self._candidates if each.variant == near.variant)
        return AccuracyDropError(
            f"No variant meets the limits of profile {self._profile.name}. Nearest is {near.variant}, with "
            f"{value:.4f} after {self._candidates[0].value:.4f}: {'; '.join(lacks(near, self._profile.compress))}.",
            state=f"No artifact was written. What was tried is in {report}; finished stages are kept beside it.",
            remedy="Give more texts with --pool, allow more loss (max_drop) or more time (text_latency_ms) in the "
            "profile, or name a larger student there.",
        )

    def rows(self) -> list[Row]:
        """For the report."""
        winner = self.winner()
        return [self._row(each, chosen=each is winner) for each in self._candidates]

    def limits(self) -> dict[str, Limits]:
        """For the report's picture."""
        limits = self._profile.compress
        return {MODEL_NAME: Limits(self._candidates[0].value - limits.max_drop, limits.text_latency_ms)}

    def _row(self, candidate: Candidate, *, chosen: bool) -> Row:
        short_ms, long_ms = self._times[candidate.variant]
        row = Row(
            model=MODEL_NAME,
            variant=candidate.variant,
            metric=self._metric,
            value=candidate.value,
            higher_is_better=True,
            latency_ms=long_ms,
            size_bytes=candidate.size_bytes,
            backend=candidate.backend,
            verdict=f"The reference. 64 tokens {short_ms:.1f} ms.",
            chosen=chosen,
            fp32_layers=candidate.fp32_layers,
            by_label=candidate.by_label,
        )
        if candidate is self._candidates[0]:
            return row
        verdict = self._verdicts[candidate.variant]
        missing = [each for each in lacks(self._measured(candidate), self._profile.compress) if verdict.passed]
        said = [verdict.sentence, *(f"Not used: {each}." for each in missing), f"64 tokens {short_ms:.1f} ms."]
        interval = verdict.interval
        return replace(
            row,
            verdict=" ".join(said),
            interval=None if interval is None else interval.of_metric(self._candidates[0].value, higher_is_better=True),
        )

    def _measured(self, candidate: Candidate) -> Measured:
        return Measured(
            candidate.variant,
            self._verdicts[candidate.variant],
            self._times[candidate.variant][-1],
            candidate.size_bytes,
            self._times[f"{candidate.network} fp32"][-1] if candidate.precision == "int8" else None,
        )
