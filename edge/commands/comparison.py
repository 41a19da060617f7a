"""Tables about compression: what was measured, FP32 against compressed, and what a run would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def comparison(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A table of ``report.json`` rows that fits 80 columns, and below it the gate's sentences."""
    table = Table(box=None, pad_edge=False)
    for column in ("Model", "Variant", "Metric"):
        table.add_column(column, no_wrap=True)
    for column in ("Value", "ms", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("In use", no_wrap=True)
    sentences = Text()
    for row in rows:
        table.add_row(
            row["model"],
            row["variant"],
            row["metric"],
            f"{row['value']:.4f}",
            f"{row['latency_ms']:.1f}",
            f"{row['size_bytes'] / 1e6:.2f}",
            "yes" if row["chosen"] else "",
        )
        if any(character.isdigit() for character in row["verdict"]):  # "The reference." says nothing to a reader
            sentences.append(f"{row['model']} {row['variant']} {row['metric']}: {row['verdict']}\n", style="dim")
    return Group(table, sentences)


def plan_table(plan: Mapping[str, Any]) -> RenderableType:
    """What ``plan_ernie`` found, a line a stage."""
    table = Table(box=None, pad_edge=False)
    for column in ("Recipe", "Stage"):
        table.add_column(column, no_wrap=True)
    table.add_column("About", justify="right", no_wrap=True)
    for each in plan["plan"]:
        table.add_row(each["recipe"], each["stage"], "kept" if each["kept"] else _duration(each["seconds"]))
    total = _duration(sum(each["seconds"] for each in plan["plan"]))
    last = Text(f"About {total} if every recipe is needed. Nothing was written.")
    return Group(table, last)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
