"""``./build.sh bench compress``: is what compression promises true on this machine?

    speed    what the processor can do at most; ERNIE in INT8 against FP32 and against NNCF
    whole    the recipe on a 12-layer ERNIE: memory, and the student's size and time
    ocr      PP-OCR in INT8 against FP32, det against NNCF
    text     what students lose on two public tasks; trains teachers and students the first time

Rows appear as they are finished. A goal that is not met is said and is no error.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.compress_ocr import measure_ocr
from benchmarks.compress_plot import draw
from benchmarks.compress_speed import measure_speed
from benchmarks.compress_text import measure_text
from benchmarks.compress_whole import measure_whole
from benchmarks.harness import Report

PARTS: dict[str, Callable[[Report, Path, Callable[[str, float], None]], None]] = {
    "speed": measure_speed,
    "whole": measure_whole,
    "ocr": measure_ocr,
    "text": measure_text,
}


def measure(report: Report, progress: Callable[[str, float], None]) -> None:
    """All parts, one after the other."""
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as scratch:
        for part in PARTS.values():
            part(report, Path(scratch), progress)
    draw(report)
