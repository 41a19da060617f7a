"""The picture of ``bench runtime``: requests a second and p99 of each server, and memory over requests."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.harness import RESULTS, Report

_RATES, _MEMORY = " rates and p99 ms", "RSS MB after requests"
_COLOURS = "#4c78a8", "#e45756"


def draw(report: Report, path: Path = RESULTS / "runtime.png") -> None:
    """A column of two panels for each path, and one for memory; nothing if nothing was measured."""
    served = {name.removesuffix(_RATES): each for name, each in report.details.items() if name.endswith(_RATES)}
    memory = report.details.get(_MEMORY, {})
    columns = len(served) + bool(memory)
    if not columns:
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, columns, figsize=(5 * columns, 6), layout="constrained", squeeze=False)
    for column, (name, servers) in enumerate(served.items()):
        rates = {server: float(np.median(each["rate"])) for server, each in servers.items()}
        slowest = {server: each["p99"] for server, each in servers.items()}
        panels = zip(axes[:, column], (rates, slowest), ("requests a second, median", "p99, ms"), _COLOURS, strict=True)
        for axis, values, shown, colour in panels:
            axis.bar_label(axis.barh(list(values), list(values.values()), color=colour), fmt="%.1f", padding=3)
            axis.invert_yaxis()
            axis.set_xlabel(shown)
            axis.margins(x=0.2)
        axes[0, column].set_title(f"{name}: server, clients", fontsize=10)
    if memory:
        axis = axes[0, -1]
        axis.plot([int(count) for count in memory], list(memory.values()), color=_COLOURS[0])
        axis.set_ylim(0, 1.1 * max(memory.values()))
        axis.set_title("Memory of all processes", fontsize=10)
        axis.set_xlabel("requests of random sizes")
        axis.set_ylabel("RSS, MB")
        axes[1, -1].set_axis_off()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
