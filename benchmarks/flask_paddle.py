"""Paddle Inference behind Flask, as one writes it in an afternoon; runs in an environment of its own.

    python flask_paddle.py MODEL ARTIFACT PORT THREADS

MODEL is ERNIE as ``.pdmodel`` and ``.pdiparams``; ARTIFACT is the kit's, for its vocabulary and labels. oneDNN is on,
requests take turns at the one predictor, and waitress serves, which keeps connections open as Flask's own server
does not. The kit's tokenizer makes the ids, so that both sides answer the same.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import waitress
from flask import Flask, request
from paddle import inference

from runtime.artifact import read_artifact
from runtime.tokenizer import ErnieTokenizer

CLIENTS = 8


def create_app(model: Path, artifact: Path, threads: int) -> Flask:
    """``POST /predict`` with ``{"texts": [...]}``, answered as the kit's ``/v1/text-risk``."""
    config = inference.Config(str(model / "inference.pdmodel"), str(model / "inference.pdiparams"))
    config.disable_gpu()
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(threads)
    config.enable_memory_optim()
    config.disable_glog_info()
    predictor, turn = inference.create_predictor(config), threading.Lock()
    settings = read_artifact(artifact).text
    assert settings is not None
    tokenizer = ErnieTokenizer((artifact / "vocab.txt").read_bytes())
    app = Flask(__name__)

    @app.get("/health")
    def health() -> str:
        return "ready"

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        texts = request.get_json()["texts"]
        encoded = tokenizer.encode(texts, settings.max_length)
        with turn:
            for name, ids in (("input_ids", encoded.input_ids), ("token_type_ids", encoded.token_type_ids)):
                predictor.get_input_handle(name).copy_from_cpu(ids)
            predictor.run()
            (output,) = predictor.get_output_names()
            logits = predictor.get_output_handle(output).copy_to_cpu()
        found = 1 / (1 + np.exp(-logits.astype(np.float64)))
        answers = [dict(zip(settings.labels, map(float, row), strict=True)) for row in found]
        return {"results": [{"text": text, "labels": each} for text, each in zip(texts, answers, strict=True)]}

    return app


if __name__ == "__main__":
    served = create_app(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[4]))
    waitress.serve(served, host="127.0.0.1", port=int(sys.argv[3]), threads=CLIENTS)
