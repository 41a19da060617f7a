"""What all benchmarks share: timing in turns, rows with a goal, and what becomes of them.

Times of one machine differ by half between two runs, so whatever is compared takes turns within one, and a ratio is
the median of the rounds' own ratios, with its quartiles as spread. What earlier runs found stands beside each row
(``history.py``), to be looked at and not to be judged by.
"""

from __future__ import annotations

import json
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import history
from devices.probe import probe

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
_PACKAGES = ("paddlepaddle", "paddleslim", "paddle2onnx", "openvino", "onnxruntime", "onnx", "numpy")
Times = NDArray[np.float64]  # milliseconds, one a round
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Figure:
    """A measured value and how far it spreads: the quartiles of rounds, or a 95 % interval where the row says so."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | Times) -> Figure:
        """Median and quartiles."""
        low, middle, high = np.quantile(np.asarray(values, np.float64), [0.25, 0.5, 0.75])
        return cls(float(middle), float(low), float(high))

    @classmethod
    def exact(cls, value: float) -> Figure:
        """A value that was counted, not timed."""
        return cls(value, value, value)


@dataclass(frozen=True)
class Goal:
    """What a figure must reach.

    Attributes:
        limit: In the row's unit.
        at_least: Whether more is better; else the figure must stay at or below the limit.
        within_noise: Whether it is enough that the spread reaches the limit.
    """

    limit: float
    at_least: bool = True
    within_noise: bool = False

    def met_by(self, figure: Figure) -> bool:
        """Whether ``figure`` reaches it."""
        if self.at_least:
            return (figure.high if self.within_noise else figure.value) >= self.limit
        return (figure.low if self.within_noise else figure.value) <= self.limit


@dataclass(frozen=True)
class Row:
    """One question and its measured answer.

    Attributes:
        what: The question.
        figure: The answer; None where it could not be measured here, which ``note`` explains.
        unit: ``times``, ``ms``, ``MB``, ``points``, ...
        goal: None where the figure is only reported.
        note: What a reader needs to judge it.
    """

    what: str
    figure: Figure | None
    unit: str = ""
    goal: Goal | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """``met``, ``not met``, ``skipped``, or nothing where there is no goal."""
        if self.figure is None:
            return "skipped"
        if self.goal is None:
            return ""
        return "met" if self.goal.met_by(self.figure) else "not met"

    def cells(self) -> tuple[str, str, str, str]:
        """Question, answer with its spread, goal, verdict, for a table."""
        goal = ""
        if self.goal is not None:
            goal = f"{'at least' if self.goal.at_least else 'at most'} {_number(self.goal.limit)} {self.unit}".strip()
        return self.what, _shown(self.figure, self.unit), goal, self.verdict


class Report:
    """The rows of one benchmark: shown as they come, and at the end as a table and as JSON.

    Args:
        name: Of the benchmark.
        console: Where rows are shown.
        results: The directory for ``NAME.json``.
        again: The parts that are measured now; None for all. Rows of other parts stay in the JSON as they were.
        before: What earlier runs found, by question.
    """

    def __init__(
        self,
        name: str,
        console: Console,
        results: Path = RESULTS,
        *,
        again: Sequence[str] | None = None,
        before: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.name, self.path = name, results / f"{name}.json"
        self.details: dict[str, Any] = {}
        self._parts: dict[str, list[Row]] = {}
        self._part = ""
        self._kept: list[dict[str, Any]] = []
        self._before = before or {}
        self._console, self._started, self._date = console, time.monotonic(), datetime.now(UTC)
        if again is not None and self.path.is_file():
            earlier = json.loads(self.path.read_text(encoding="utf-8"))
            self._kept = [row for row in earlier["rows"] if row.get("part", "") not in again]
            self.details = earlier["details"]

    @property
    def rows(self) -> list[Row]:
        """Those that were measured now."""
        return [row for rows in self._parts.values() for row in rows]

    def begin(self, part: str) -> None:
        """The rows that follow belong to ``part``."""
        self._part = part

    def part(self, part: str) -> list[Row]:
        """The rows of one part that were measured now."""
        return self._parts.get(part, [])

    def add(self, row: Row) -> None:
        """Show and keep a row."""
        self._parts.setdefault(self._part, []).append(row)
        what, answer, goal, verdict, line = (*row.cells(), str(self.line(row)))
        said = ", ".join(filter(None, (answer, goal and f"goal {goal}", verdict, line)))
        self._console.print(f"[bold]{what}[/]: {said}", soft_wrap=True)
        if row.note:
            self._console.print(f"  [dim]{row.note}[/]", soft_wrap=True)
        self.write()

    def line(self, row: Row) -> history.Line:
        """The row's figure after those of earlier runs; an empty line where it has none."""
        if row.figure is None:
            return history.Line((), 0, 0, 0)
        more_is_better = row.goal.at_least if row.goal else None
        value, low, high = astuple(row.figure)
        return history.Line(self._before.get(row.what, ()), value, low, high, more_is_better)

    def write(self) -> Path:
        """Write what there is so far as JSON."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        date = self._date.isoformat(timespec="seconds")
        rows = [
            asdict(row) | {"verdict": row.verdict, "change": self.line(row).change, "part": part}
            for part, rows in self._parts.items()
            for row in rows
        ]
        document = {
            "benchmark": self.name,
            "date": date,
            "seconds": round(time.monotonic() - self._started),
            "machine": machine(),
            "versions": versions(),
            "rows": [*self._kept, *(row | {"date": date} for row in rows)],
            "details": self.details,
        }
        self.path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        return self.path

    def keep(self) -> Path:
        """Add this run's figures to the history."""
        found = {row.what: astuple(row.figure) for row in self.rows if row.figure is not None}
        return history.keep(self.name, self._date, machine_class(), versions(), found)

    def table(self) -> Table:
        """All rows for a terminal."""
        table = Table(title=f"{self.name}: {machine()}", title_justify="left")
        for column in ("What", "Measured", "Goal", "", "Runs so far"):
            table.add_column(column)
        for row in self.rows:
            table.add_row(*row.cells(), str(self.line(row)))
        return table

    def markdown(self, part: str = "") -> str:
        """The rows of ``part`` with their notes, machine and versions, for the document."""
        rows = self.part(part)
        lines = ["| what | measured | goal | | runs so far |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join((*row.cells(), str(self.line(row))))} |" for row in rows]
        lines += ["", *(f"- {row.what}: {row.note}" for row in rows if row.note)]
        used = ", ".join(f"{name} {version}" for name, version in versions().items())
        lines += ["", f"Measured {self._date.date()} on {machine()}; {used}."]
        return "\n".join(lines)


Measure = Callable[[Report, Path, Progress], None]  # adds the rows of a part; may write below the path


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 15,
    each: int = 3,
    pause_s: float = 0.25,
    progress: Progress = lambda stage, share: None,
) -> dict[str, Times]:
    """Milliseconds of every run, one figure a round.

    A turn is a pause, one untimed run and ``each`` timed ones, of which the median counts: OpenMP's threads go on
    spinning for 0.2 s after a run, and would take a core away from whoever comes next.

    Args:
        runs: By a name of the caller's choice.
        rounds: How often all have their turn; every second round goes backwards.
        each: Timed runs a turn.
        pause_s: Before each turn.
        progress: Gets ``"time"`` and the share that is done.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            time.sleep(pause_s)
            runs[name]()
            turn = []
            for _ in range(each):
                start = time.perf_counter()
                runs[name]()
                turn.append((time.perf_counter() - start) * 1000)
            times[name].append(statistics.median(turn))
        progress("time", (number + 1) / rounds)
    return {name: np.array(values) for name, values in times.items()}


def ratio(above: Times, below: Times) -> Figure:
    """How many times longer ``above`` took than ``below``, round by round."""
    return Figure.of(above / below)


def update_document(name: str, content: str, path: Path = DOCUMENT) -> None:
    """Put ``content`` between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Raises:
        ValueError: The markers are not there.
    """
    text = path.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no section between {start} and {end}")
    path.write_text(f"{before}{start}\n{content}\n{end}{after}", encoding="utf-8")


def machine() -> str:
    """This machine in one line."""
    return f"{machine_class()}, {probe().memory_mb:,} MB"


def machine_class() -> str:
    """What decides how fast a machine computes: processor, cores, instructions."""
    facts = probe()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8")
    return f"{facts.cpu_model}, {facts.cores} cores, {' '.join(name for name in wanted if name in facts.isa)}"


def versions() -> dict[str, str]:
    """What was measured with."""
    return {name: metadata.version(name) for name in _PACKAGES}


def free_port() -> int:
    """A port of this machine where nobody listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _shown(figure: Figure | None, unit: str) -> str:
    if figure is None:
        return "-"
    spread = "" if figure.low == figure.high else f" ({_number(figure.low)} to {_number(figure.high)})"
    return f"{_number(figure.value)}{spread} {unit}".strip()
