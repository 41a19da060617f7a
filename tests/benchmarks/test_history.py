"""What earlier runs found, and what is said of a change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.harness import machine_class
from benchmarks.history import FOLDER, Line, bars, earlier, keep

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_runs_are_found_again_in_order_and_by_the_class_of_machine(tmp_path: Path) -> None:
    for day, value in ((2, 3.0), (0, 1.0), (1, 2.0)):
        keep("try", NOON + timedelta(days=day), "a box", {"numpy": "1"}, {"how fast": (value, value, value)}, tmp_path)
    keep("try", NOON, "another box", {}, {"how fast": (9.0, 9.0, 9.0)}, tmp_path / "x")
    keep("try", NOON + timedelta(days=3), "another box", {}, {"how fast": (9.0, 9.0, 9.0)}, tmp_path)
    assert earlier("try", "a box", tmp_path) == {"how fast": [1.0, 2.0, 3.0]}
    assert earlier("other", "a box", tmp_path) == {}


def test_two_runs_of_one_second_are_two(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        keep("try", NOON, "a box", {}, {"how fast": (value, value, value)}, tmp_path)
    assert earlier("try", "a box", tmp_path) == {"how fast": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("before", "figure", "more_is_better", "said"),
    [
        ([], (9.0, 9.0, 9.0), True, ""),
        ([10.0, 10.0], (10.9, 10.8, 11.0), True, ""),  # within 10 %
        ([10.0, 90.0, 10.0], (11.5, 11.2, 11.8), True, "+15 %, better"),
        ([10.0], (11.5, 11.2, 11.8), False, "+15 %, worse"),
        ([10.0], (8.5, 8.4, 8.6), True, "-15 %, worse"),
        ([10.0], (8.5, 8.4, 8.6), None, "-15 %"),
        ([10.0], (11.5, 9.9, 12.0), True, ""),  # its own spread reaches what was usual
        ([-1.3], (-2.6, -2.9, -2.3), False, "-100 %, better"),
        ([0.0], (2.0, 2.0, 2.0), False, "was 0, worse"),
        ([0.0], (0.0, 0.0, 0.0), False, ""),
    ],
)
def test_a_change_counts_above_a_tenth_and_beyond_the_spread(
    before: list[float], figure: tuple[float, float, float], more_is_better: bool | None, said: str
) -> None:
    assert Line(before, *figure, more_is_better).change == said


def test_noise_looks_flat_and_a_jump_does_not() -> None:
    assert set(bars([100.0, 101.0, 99.5, 100.5])) <= {"▄", "▅"}
    assert bars([100.0, 100.0, 200.0]) == "▂▂█"
    assert bars([0.0, 0.0]) == "▁▁"


def test_a_line_shows_the_last_runs_with_this_one_at_the_end() -> None:
    assert str(Line([], 1.0, 1.0, 1.0)) == ""
    shown = str(Line([1.0] * 20, 2.0, 2.0, 2.0, True))
    assert shown == "▂▂▂▂▂▂▂█ +100 %, better"


def test_the_history_of_every_benchmark_can_be_read() -> None:
    from benchmarks.__main__ import PARTS

    assert {path.name for path in FOLDER.iterdir()} <= set(PARTS)
    for name in PARTS:
        assert all(values for values in earlier(name, machine_class()).values())
