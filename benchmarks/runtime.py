"""``./build.sh bench runtime``: is this the fastest and steadiest way to serve these models on a small box?

    ocr           the whole pipeline against RapidOCR with the same models: speed, text, memory
    serving       HTTP against calls in process, LitServe and rapidocr_api
    paddle        the text model over HTTP against Paddle Inference behind Flask
    application   a whole application: three papers, the purpose, 200 transactions
    endurance     memory over 10,000 requests

Rows appear as they are finished. A goal that is not met is said and is no error.
"""

from __future__ import annotations

from benchmarks.harness import Measure
from benchmarks.runtime_box import measure_application, measure_endurance
from benchmarks.runtime_ocr import measure_ocr
from benchmarks.runtime_paddle import measure_paddle
from benchmarks.runtime_plot import draw as draw  # looked for by name
from benchmarks.runtime_serving import measure_serving

MEASURES: dict[str, Measure] = {
    "ocr": measure_ocr,
    "serving": measure_serving,
    "paddle": measure_paddle,
    "application": measure_application,
    "endurance": measure_endurance,
}
