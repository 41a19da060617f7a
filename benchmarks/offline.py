"""Without the line: the journal under kills, power cuts and tampering, its cost, and its way to headquarters.

The goals are issue 7's table.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import Measure, Progress, Report
from benchmarks.offline_journal import append_rows, kill_row, power_row, tamper_rows, verify_row
from benchmarks.offline_nats import nats_rows
from benchmarks.offline_replay import replay_rows
from benchmarks.offline_sync import week_rows


def _part(*rows: Measure) -> Measure:
    def measure(report: Report, scratch: Path, progress: Progress) -> None:
        for each in rows:
            each(report, scratch, progress)

    return measure


MEASURES: dict[str, Measure] = {
    "journal": _part(append_rows, verify_row, tamper_rows, power_row),
    "kills": kill_row,
    "replay": replay_rows,
    "line": _part(week_rows, nats_rows),
}
