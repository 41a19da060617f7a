"""``./build.sh bench runtime``: is this the fastest and steadiest way to serve these models on a small box?

    ocr      the whole pipeline against RapidOCR with the same models: speed, text, memory
    serving  HTTP against calls in process, LitServe and rapidocr_api
    box      a whole application, start, memory at rest and over 10,000 requests

Rows appear as they are finished. A goal that is not met is said and is no error.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Report
from benchmarks.runtime_box import measure_box
from benchmarks.runtime_ocr import measure_ocr
from benchmarks.runtime_plot import draw
from benchmarks.runtime_serving import measure_serving

PARTS: dict[str, Callable[[Report, Path, Callable[[str, float], None]], None]] = {
    "ocr": measure_ocr,
    "serving": measure_serving,
    "box": measure_box,
}


def measure(report: Report, progress: Callable[[str, float], None]) -> None:
    """All parts, one after the other."""
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as scratch:
        for part in PARTS.values():
            part(report, Path(scratch), progress)
    draw(report)
