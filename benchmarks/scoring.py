"""``./build.sh bench scoring``: can the score be believed?

    documents   fields, ID numbers and rows of papers in layouts that nobody tuned for; forged papers and honest ones
    behaviour   the behaviour model against gradient boosting on the same histories
    card        whether the score's probabilities are what they say

Rows appear as they are finished. A goal that is not met is said and is no error.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.harness import Report
from benchmarks.scoring_behaviour import measure_behaviour
from benchmarks.scoring_card import measure_card
from benchmarks.scoring_documents import measure_documents

PARTS: dict[str, Callable[[Report, Callable[[str, float], None]], None]] = {
    "documents": measure_documents,
    "behaviour": measure_behaviour,
    "card": measure_card,
}


def measure(report: Report, progress: Callable[[str, float], None]) -> None:
    """All parts, one after the other."""
    for part in PARTS.values():
        part(report, progress)
