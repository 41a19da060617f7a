"""What earlier runs found: ``benchmarks/history/NAME/DATE.json``, a few kilobytes a run, committed with the figures.

Runs differ by their code, their peers and their machine. A figure is held against earlier ones of the same class of
machine only: same processor, cores and instructions. What differs by more than 10 % from their median, and by more
than this run's own spread, is said; whether that is code or noise is for a person to find out.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

FOLDER = Path(__file__).parent / "history"
CHANGE = 0.1  # of the median
_SHOWN = 8  # runs in a line
_BARS = "▁▂▃▄▅▆▇█"


def keep(
    name: str,
    date: datetime,
    machine: str,
    versions: Mapping[str, str],
    rows: Mapping[str, Sequence[float]],
    folder: Path = FOLDER,
) -> Path:
    """Write down a run: value, low and high end of what was found, by question."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    while (path := folder / name / f"{date:%Y-%m-%dT%H%M%SZ}.json").exists():
        date += timedelta(seconds=1)
    document = {
        "benchmark": name,
        "date": date.isoformat(timespec="seconds"),
        "machine": machine,
        "versions": dict(versions),
        "rows": {what: [float(f"{each:.5g}") for each in found] for what, found in rows.items()},
    }
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def earlier(name: str, machine: str, folder: Path = FOLDER) -> dict[str, list[float]]:
    """What was found before on such a machine, oldest first, by question."""
    found: dict[str, list[float]] = defaultdict(list)
    for path in sorted((folder / name).glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["machine"] == machine:
            for what, (value, *_) in document["rows"].items():
                found[what].append(value)
    return dict(found)


@dataclass(frozen=True)
class Line:
    """A figure after those of earlier runs.

    Attributes:
        before: Theirs, oldest first.
        value: This run's.
        low: Of its spread.
        high: Of its spread.
        more_is_better: None where nobody set a goal.
    """

    before: Sequence[float]
    value: float
    low: float
    high: float
    more_is_better: bool | None = None

    @property
    def change(self) -> str:
        """``+14 %, better``; nothing where it is as before."""
        if not self.before:
            return ""
        usual, now = statistics.median(self.before), self.value
        if abs(now - usual) <= CHANGE * abs(usual) or self.low <= usual <= self.high:
            return ""
        much = f"{100 * (now - usual) / abs(usual):+.0f} %" if usual else "was 0"
        if self.more_is_better is None:
            return much
        return f"{much}, {'better' if (now > usual) == self.more_is_better else 'worse'}"

    def __str__(self) -> str:
        """The runs as bars, this one last, and the change."""
        if not self.before:
            return ""
        return f"{bars([*self.before, self.value][-_SHOWN:])} {self.change}".strip()


def bars(values: Iterable[float]) -> str:
    """Values as blocks of text. The scale holds at least 10 % around the median, so that noise looks flat."""
    values = list(values)
    middle = statistics.median(values)
    low = min([*values, middle - CHANGE * abs(middle)])
    high = max([*values, middle + CHANGE * abs(middle)])
    if low == high:
        return _BARS[0] * len(values)
    return "".join(_BARS[round((each - low) / (high - low) * (len(_BARS) - 1))] for each in values)
