"""The rows of a compression report as a table: FP32 against compressed, and what the gate said."""

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
