"""``edgekit compress``: what the command line adds to the functions behind it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.cli import main
from edge.commands.comparison import plan_table
from edge.commands.progress import progress_bar

EXAMPLES = Path(__file__).parents[2] / "examples"
TEACHER, TEXTS = EXAMPLES / "teacher" / "model", EXAMPLES / "statements"


def arguments(out: Path, *more: str) -> list[str]:
    files = ("--teacher", TEACHER, "--train", TEXTS / "written_train.tsv", "--dev", TEXTS / "written_dev.tsv")
    return ["compress", "ernie", *map(str, files), "--profile", "cpu-avx2", "--out", str(out), *more]


def test_a_dry_run_names_every_stage_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path / "out", "--dry-run", "--json")) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    found = [(each["recipe"], each["stage"]) for each in plan]
    assert found == [
        ("quantize", "vocabulary"),
        ("quantize", "quantize and measure"),
        ("distil", "distil"),
        ("distil", "quantize and measure"),
        ("narrow", "narrow"),
        ("narrow", "quantize and measure"),
    ]  # the demo's teacher is so small that there is no larger student than its own
    assert not any(each["kept"] for each in plan)
    assert not list(tmp_path.iterdir())


def test_a_longer_pool_takes_longer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = tmp_path / "pool.txt"
    pool.write_text("".join(f"invented text number {number} to make the pool long\n" for number in range(20_000)))
    seconds = []
    for more in ((), ("--pool", str(pool))):
        assert main(arguments(tmp_path / "out", "--dry-run", "--json", "--recipe", "distil", *more)) == 0
        plan = json.loads(capsys.readouterr().out)["plan"]
        seconds.append(next(each["seconds"] for each in plan if each["stage"] == "distil"))
    assert seconds[1] > 5 * seconds[0]


def test_a_recipe_that_does_not_exist_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path / "out", "--recipe", "shrink", "--json")) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "USAGE-001"
    assert "quantize, distil, narrow, larger" in error["remedy"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0 s"), (89.0, "89 s"), (600.0, "10 min"), (5_401.0, "1.5 h"), (40_000.0, "11.1 h")]
)
def test_durations_are_told_as_a_person_would(seconds: float, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    plan = {"plan": [{"recipe": "distil", "stage": "distil", "kept": False, "seconds": seconds}]}
    Console(width=80).print(plan_table(plan))
    assert f"About {shown} if every recipe is needed." in capsys.readouterr().out


def test_without_a_terminal_each_stage_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("compress ernie") as report:
        for stage, share in (("read", 0.0), ("student", 0.1), ("student", 0.6), ("measure", 0.0)):
            report(stage, share)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["compress ernie: read", "compress ernie: student", "compress ernie: measure"]
