"""Without the line: the journal under kills, power cuts and tampering, its cost, and its way to headquarters.

The goals are issue 7's table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Report
from benchmarks.offline_journal import append_rows, kill_row, power_row, tamper_rows, verify_row
from benchmarks.offline_replay import replay_rows
from benchmarks.offline_sync import branches_row, week_rows

Progress = Callable[[str, float], None]


def measure(report: Report, progress: Progress) -> None:
    """All rows."""
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        scratch = Path(folder)
        append_rows(report, progress, scratch)
        verify_row(report, progress, scratch)
        tamper_rows(report, progress, scratch)
        kill_row(report, progress, scratch)
        power_row(report, progress, scratch)
        replay_rows(report, progress, scratch)
        week_rows(report, progress, scratch)
        branches_row(report, progress, scratch)
