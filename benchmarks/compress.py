"""``./build.sh bench compress``: is what compression promises true on this machine?

    speed    ERNIE in INT8 against FP32 and against other quantizers
    whole    the recipe on a 12-layer ERNIE: memory, and the student's size and time
    ocr      PP-OCR in INT8 against FP32, det against other quantizers
    text     what students lose on two public tasks; trains teachers and students the first time

Rows appear as they are finished. A goal that is not met is said and is no error.
"""

from __future__ import annotations

from benchmarks.compress_ocr import measure_ocr
from benchmarks.compress_plot import draw as draw  # looked for by name
from benchmarks.compress_speed import measure_speed
from benchmarks.compress_text import measure_text
from benchmarks.compress_whole import measure_whole
from benchmarks.harness import Measure

MEASURES: dict[str, Measure] = {
    "speed": measure_speed,
    "whole": measure_whole,
    "ocr": measure_ocr,
    "text": measure_text,
}
