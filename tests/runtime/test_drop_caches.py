"""Near the memory limit caches are dropped while requests run: the watch that does it must not end by that."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from runtime.ocr.models import read_ocr_models
from runtime.predictor import RunOptions, load_predictor


def test_caches_are_dropped_while_a_request_runs_without_an_error(ppocr_v6: Path) -> None:
    det = load_predictor(read_ocr_models(ppocr_v6).det, "openvino", RunOptions(threads=1, parallel=2))
    page = {det.inputs[0].name: np.zeros((1, 3, 640, 640), np.float32)}
    running = threading.Thread(target=lambda: [det.run(page) for _ in range(3)])
    running.start()
    dropped = 0
    while running.is_alive():
        det.drop_caches()
        dropped += 1
        running.join(timeout=0.02)
    assert dropped
