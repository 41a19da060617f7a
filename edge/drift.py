"""Whether a new release scores as the one before did: the mean of its first applications against the mean of the last.

Kept are numbers only, in ``scores.json`` of the device's state: ``{"releases": {RELEASE: [SCORE, ...]}}``, the latest
of the release that serves and of the one before. A power cut leaves the old file or the new one.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from devices.durable import write_durably
from edge.policy import UpdatePolicy

SCORES_NAME = "scores.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What the comparison says, and whether the release before has to serve again."""

    drifted: bool
    why: str


def compare(before: Sequence[float], now: Sequence[float], policy: UpdatePolicy) -> Verdict | None:
    """The verdict on a new release; None while it has not scored enough applications.

    Args:
        before: The last scores of the release before, oldest first.
        now: All scores of the new one.
        policy: How many are compared, and how far apart their means may be.
    """
    count = policy.drift_applications
    if len(now) < count:
        return None
    if len(before) < count:
        return Verdict(
            False, f"{count} applications were scored; the release before had {len(before)}, too few to compare."
        )
    old, new = fmean(before[-count:]), fmean(now[:count])
    means = f"the mean of its first {count} scores is {new:.1f}, of the last {count} before {old:.1f}"
    if abs(new - old) > policy.drift_points:
        return Verdict(True, f"Scores drifted: {means}, more than {policy.drift_points:g} points apart.")
    return Verdict(False, f"{means[:1].upper()}{means[1:]}: within {policy.drift_points:g} points.")


class DriftWatch:
    """Takes the scores of the release that serves. Threads may share it."""

    def __init__(
        self,
        path: Path,
        release: str,
        policy: UpdatePolicy,
        *,
        against: str | None,
        fresh: bool,
        on_verdict: Callable[[Verdict], None],
    ) -> None:
        """Read what is kept.

        Args:
            path: Of ``scores.json``.
            release: That serves.
            policy: Of that release.
            against: The release before while the new one is watched; None when it no longer is.
            fresh: Its trial begins: what it scored in an earlier life does not count.
            on_verdict: Called once, in the thread that brought the last score that was needed.
        """
        self._path, self._release, self._policy, self._against = path, release, policy, against
        self._on_verdict = on_verdict
        self._lock = threading.Lock()
        kept = _read(path)
        self._before = kept.get(against, []) if against else []
        self._scores = [] if fresh else kept.get(release, [])
        self._open = against is not None

    def add(self, score: float) -> None:
        """One more application was scored."""
        with self._lock:
            self._scores = [*self._scores, score][-self._policy.drift_applications :]
            self._keep()
            verdict = compare(self._before, self._scores, self._policy) if self._open else None
            self._open = self._open and verdict is None
        if verdict is not None:
            log.warning("%s", verdict.why)
            self._on_verdict(verdict)

    def _keep(self) -> None:
        kept = {self._release: self._scores}
        if self._against:
            kept[self._against] = self._before
        try:
            write_durably(self._path, json.dumps({"releases": kept}).encode() + b"\n")
        except OSError as error:
            log.warning("The scores of the last applications cannot be kept: %s.", error.strerror)


def _read(path: Path) -> dict[str, list[float]]:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        return {str(name): [float(score) for score in scores] for name, scores in document["releases"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s is not used: %s. The next release cannot be compared with this one at once.", path, error)
        return {}
