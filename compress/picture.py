"""The trade as one picture: the metric against latency, area for size, every variant that was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.report import Limits, Row

_REFERENCE, _CHOSEN, _OTHER = "#6b7280", "#15803d", "#2563eb"
_WIDE = 8.0  # times between the fastest and the slowest from which latency is drawn on a logarithmic axis


def draw(rows: Sequence[Row], limits: Mapping[str, Limits], path: Path) -> None:
    """One panel a model and metric; numbers in the points and their meaning below, so that close points stay readable.

    Args:
        rows: In the order of the report; the first of a model and metric is its reference.
        limits: By model: what a variant had to keep to, drawn as dashed lines.
        path: The PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.model, row.metric), []).append(row)
    most = max(map(len, groups.values()), default=0)
    figure = Figure(figsize=(max(5.2, 4.4 * len(groups)), 3.9 + 0.22 * most), layout="constrained")
    FigureCanvasAgg(figure)
    if groups:
        panels = figure.subplots(1, len(groups), squeeze=False)[0]
        for panel, ((model, _), mine) in zip(panels, groups.items(), strict=True):
            _panel(panel, mine, limits.get(model))
    figure.savefig(path, dpi=110)


def _panel(panel: Any, rows: Sequence[Row], limits: Limits | None) -> None:
    largest = max(row.size_bytes for row in rows) or 1
    for number, row in enumerate(rows, 1):
        color = _CHOSEN if row.chosen else _REFERENCE if number == 1 else _OTHER
        panel.scatter(
            *(row.latency_ms, row.value),
            s=130 + 900 * row.size_bytes / largest,  # points squared; the smallest still holds its number
            color=color,
            alpha=0.75 if row.chosen else 0.5,
            edgecolors="black" if row.chosen else color,
            linewidths=2 if row.chosen else 0.5,
            label=f"{number}  {row.variant}: {row.value:.4f}, {row.latency_ms:.1f} ms, {row.size_bytes / 1e6:.1f} MB"
            + (" (chosen)" if row.chosen else ""),
            zorder=2,
        )
        if row.interval is not None:
            below, above = row.value - row.interval[0], row.interval[1] - row.value
            spread = [[max(0.0, below)], [max(0.0, above)]]
            panel.errorbar(row.latency_ms, row.value, yerr=spread, color=color, linewidth=1, capsize=3, zorder=1)
        panel.annotate(str(number), (row.latency_ms, row.value), ha="center", va="center", fontsize=9, zorder=3)
    times = [row.latency_ms for row in rows if row.latency_ms > 0]
    if times and max(times) > _WIDE * min(times):
        panel.set_xscale("log")
    # room for the circles: a margin in the axis' own scale
    panel.margins(0.18, 0.22)
    if limits is not None:
        if limits.value is not None:
            panel.axhline(limits.value, color="#b91c1c", linestyle="--", linewidth=1)
            panel.annotate(
                "gate",
                (1, limits.value),
                xycoords=("axes fraction", "data"),
                color="#b91c1c",
                fontsize=8,
                ha="right",
                va="bottom",
            )
        if limits.latency_ms is not None and times and limits.latency_ms < 3 * max(times):
            panel.axvline(limits.latency_ms, color="#b91c1c", linestyle="--", linewidth=1)
    panel.set_title(rows[0].model, fontsize=11)
    panel.set_xlabel("latency, ms")
    panel.set_ylabel(f"{rows[0].metric} ({'higher' if rows[0].higher_is_better else 'lower'} is better)")
    panel.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        frameon=False,
        fontsize=8,
        handlelength=0,
        handletextpad=0,
        markerscale=0,
    )
