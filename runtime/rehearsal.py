"""The first requests of a worker are its own: one of each kind, before it says that it is ready.

Warming up the models leaves the way to them cold: modules that are imported on first use, the interpreter's
specialised bytecode, sizes of pages, memory that was handed back after loading. Whoever came first would pay for it.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np

from runtime.app import Services, create_app
from runtime.metrics import Metrics

_TEXT = "rehearsal"
_PURPOSE = "装修自住房屋"  # what is no Chinese would not reach the model
_PAGE = 640, 480  # pixels, a card held to the camera; det's working memory for it is a third of a scan's
_APPLICATION = {
    "application_id": _TEXT,
    "applicant": {"name": _TEXT, "id_number": "0", "declared_monthly_income": 0},
    "loan": {"amount": 1, "term_months": 1, "purpose": _PURPOSE},
    "documents": [],
    "transactions": [],
}


def rehearse(services: Services, application: bytes | None = None, files: Mapping[str, bytes] | None = None) -> None:
    """Send a text, a page and an application through an app of ``services`` that counts and logs nothing.

    What they are answered does not matter: a model that cannot serve was found out before, by its golden outputs.

    Args:
        services: Of the worker.
        application: application.json; None takes one without papers.
        files: Those that it names; the first one is the page. Without any a page is drawn.
    """
    app = create_app(replace(services, metrics=Metrics()))
    log = logging.getLogger("runtime.logs")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        client = app.test_client()
        client.post("/v1/text-risk", json={"texts": [_PURPOSE]})
        client.post("/v1/ocr", data=next(iter((files or {}).values()), None) or _page())
        parts = {"application": application or json.dumps(_APPLICATION).encode(), **(files or {})}
        form = {name: (io.BytesIO(data), name) for name, data in parts.items()}
        client.post("/v1/score", data=form)
    finally:
        log.setLevel(level)


def _page() -> bytes:
    """A PNG of two printed lines."""
    page = np.full((_PAGE[1], _PAGE[0], 3), 255, np.uint8)
    for row, text in enumerate(("ABCDEFG 0123456789", "2026-01-01")):
        cv2.putText(page, text, (40, 120 + 80 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (0, 0, 0), 3)
    return cv2.imencode(".png", page)[1].tobytes()
