"""The picture of ``bench compress``: how long each way to serve takes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.harness import RESULTS, Report

_SUFFIX = " ms"


def draw(report: Report, path: Path = RESULTS / "compress.png") -> None:
    """One bar a variant, the networks beside each other; nothing if no time was taken."""
    taken = {name.removesuffix(_SUFFIX): times for name, times in report.details.items() if name.endswith(_SUFFIX)}
    if not taken:
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(taken), figsize=(4 * len(taken), 3), layout="constrained", squeeze=False)
    for axis, (name, times) in zip(axes[0], taken.items(), strict=True):
        middle = [float(np.median(each)) for each in times.values()]
        spread = [np.abs(np.quantile(each, [0.25, 0.75]) - np.median(each)) for each in times.values()]
        bars = axis.barh(list(times), middle, xerr=np.array(spread).T, color="#4c78a8")
        axis.bar_label(bars, fmt="%.1f", padding=3)
        axis.invert_yaxis()
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("ms, median and quartiles")
        axis.margins(x=0.2)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
