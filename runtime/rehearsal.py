"""The first requests of a worker are its own: one of each kind, before it says that it is ready.

Warming up the models leaves the way to them cold: modules that are imported on first use, the interpreter's
specialised bytecode, memory that was handed back after loading. Whoever came first would pay for it.
"""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace

import cv2
import numpy as np
from flask import Flask

from runtime.app import Services, create_app
from runtime.metrics import Metrics

_TIMES = 3  # Python 3.11 specialises a function's bytecode from its second call on
_PAGE = 640, 480  # pixels, a card held to the camera; det's activations for it are a third of a scan's
_APPLICATION = {
    "application_id": "rehearsal",
    "applicant": {"name": "rehearsal", "id_number": "", "declared_monthly_income": 1},
    "loan": {"amount": 1, "term_months": 1, "purpose": "rehearsal"},
    "documents": [],
    "transactions": [],
}


def rehearse(services: Services) -> None:
    """Send a text, a page and an application through an app of ``services`` that counts and logs nothing.

    What they are answered does not matter: a model that cannot serve was found out before, by its golden outputs.
    """
    app = create_app(replace(services, metrics=Metrics()))
    log = logging.getLogger("runtime.logs")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        for _ in range(_TIMES):
            _send_all(app)
    finally:
        log.setLevel(level)


def _send_all(app: Flask) -> None:
    client = app.test_client()
    client.post("/v1/text-risk", json={"texts": ["rehearsal"]})
    client.post("/v1/ocr", data=_page(), content_type="image/png")
    application = io.BytesIO(json.dumps(_APPLICATION).encode())
    client.post("/v1/score", data={"application": (application, "application.json")})


def _page() -> bytes:
    """A PNG of two printed lines."""
    page = np.full((_PAGE[1], _PAGE[0], 3), 255, np.uint8)
    for row, text in enumerate(("ABCDEFG 0123456789", "2026-01-01")):
        cv2.putText(page, text, (40, 120 + 80 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (0, 0, 0), 3)
    return cv2.imencode(".png", page)[1].tobytes()
