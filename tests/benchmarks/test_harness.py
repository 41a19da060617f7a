"""Rows, goals, turns, and what a benchmark leaves behind."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.harness import Figure, Goal, Report, Row, ratio, take_turns, update_document


@pytest.mark.parametrize(
    ("goal", "figure", "met"),
    [
        (Goal(3.5), Figure(3.5, 3.0, 4.0), True),
        (Goal(3.5), Figure(3.4, 3.0, 4.0), False),  # the spread reaches it, but that is not enough here
        (Goal(1.0, within_noise=True), Figure(0.98, 0.95, 1.01), True),
        (Goal(1.0, within_noise=True), Figure(0.97, 0.95, 0.99), False),
        (Goal(6.7, at_least=False), Figure.exact(6.7), True),
        (Goal(6.7, at_least=False), Figure(6.8, 6.0, 7.0), False),
        (Goal(6.7, at_least=False, within_noise=True), Figure(6.8, 6.6, 7.0), True),
    ],
)
def test_a_goal_is_met_in_its_own_direction(goal: Goal, figure: Figure, met: bool) -> None:
    assert goal.met_by(figure) is met
    assert Row("x", figure, goal=goal).verdict == ("met" if met else "not met")


def test_a_figure_is_the_median_and_the_quartiles() -> None:
    assert Figure.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Figure(3.0, 2.0, 4.0)


def test_a_ratio_is_taken_round_by_round_so_that_a_slow_round_counts_for_both() -> None:
    slow = np.array([30.0, 300.0, 60.0])
    assert ratio(slow, slow / 3) == Figure(3.0, 3.0, 3.0)


def test_all_take_turns_and_the_order_is_reversed_every_second_round() -> None:
    called: list[str] = []
    runs = {name: lambda name=name: called.append(name) for name in ("a", "b")}
    shares: list[float] = []
    times = take_turns(runs, rounds=2, each=2, pause_s=0, progress=lambda stage, share: shares.append(share))
    assert called == ["a"] * 3 + ["b"] * 3 + ["b"] * 3 + ["a"] * 3
    assert {name: len(each) for name, each in times.items()} == {"a": 2, "b": 2}
    assert shares == [0.5, 1.0]


def test_the_run_before_the_clock_starts_is_not_timed() -> None:
    calls: list[int] = []

    def slow_at_first() -> None:
        calls.append(1)
        if len(calls) % 4 == 1:
            time.sleep(0.05)

    assert take_turns({"a": slow_at_first}, rounds=2, each=3, pause_s=0)["a"].max() < 25


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report("try", Console(width=200, file=io.StringIO()), tmp_path / "results")


ROWS = (
    Row("How fast", Figure(3.62, 3.4, 3.81), "times faster", Goal(3.5), "Both agree."),
    Row("How small", Figure.exact(7.0), "MB", Goal(6.7, at_least=False)),
    Row("How far", Figure.exact(12.5), "km"),
    Row("How good", None, note="The data is not here."),
)


def test_rows_are_written_as_they_come(report: Report, tmp_path: Path) -> None:
    report.add(ROWS[0])
    first = json.loads((tmp_path / "results" / "try.json").read_text(encoding="utf-8"))
    for row in ROWS[1:]:
        report.add(row)
    document = json.loads(report.write().read_text(encoding="utf-8"))
    assert len(first["rows"]) == 1
    assert [row["verdict"] for row in document["rows"]] == ["met", "not met", "", "skipped"]
    assert document["rows"][0]["figure"] == {"value": 3.62, "low": 3.4, "high": 3.81}
    assert document["rows"][3]["figure"] is None
    assert "cores" in document["machine"]
    assert {row["date"] for row in document["rows"]} == {document["date"]}
    assert document["versions"]["openvino"]


def test_a_row_shows_answer_spread_goal_and_verdict() -> None:
    assert ROWS[0].cells() == ("How fast", "3.62 (3.40 to 3.81) times faster", "at least 3.50 times faster", "met")
    assert ROWS[1].cells() == ("How small", "7 MB", "at most 6.70 MB", "not met")
    assert ROWS[3].cells() == ("How good", "-", "", "skipped")


def test_table_and_markdown_hold_every_row(report: Report) -> None:
    for row in ROWS:
        report.add(row)
    console = Console(width=200, file=io.StringIO())
    console.print(report.table())
    shown, markdown = console.file.getvalue(), report.markdown()
    for row in ROWS:
        assert row.what in shown
        assert f"| {row.what} |" in markdown
    assert "- How fast: Both agree." in markdown
    assert "- How good: The data is not here." in markdown


def test_the_document_changes_between_its_markers_only(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    path.write_text("before\n<!-- try -->\nold\n<!-- /try -->\nafter\n<!-- other -->\nkept\n<!-- /other -->\n")
    update_document("try", "new", path)
    update_document("try", "newer", path)
    expected = "before\n<!-- try -->\nnewer\n<!-- /try -->\nafter\n<!-- other -->\nkept\n<!-- /other -->\n"
    assert path.read_text() == expected
    with pytest.raises(ValueError, match="no section between <!-- third -->"):
        update_document("third", "new", path)
    assert path.read_text() == expected
