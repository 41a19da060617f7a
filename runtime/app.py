"""The HTTP application: the kit's own API under ``/v1``, KServe's protocol under ``/v2``, status and metrics.

``create_app`` builds everything from the services that it is given, so a test gets an app of its own and this
package needs to know nothing of bundles or scoring.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, g, jsonify, request

from devices.errors import InputError, RequestError
from runtime.access import Access
from runtime.images import load_pages
from runtime.logs import register_request_log
from runtime.metrics import Metrics
from runtime.ocr.line import Line
from runtime.ocr.pipeline import OcrPipeline
from runtime.openapi import openapi_document
from runtime.openinference import create_blueprint
from runtime.predictor import Predictor
from runtime.problems import register_problem_handlers
from runtime.text import TextClassifier

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 48 * 1024 * 1024
_MAX_FORM_BYTES = 8 * 1024 * 1024  # application.json with thousands of transactions
_MAX_TEXTS = 256
_OPEN_TO_ALL = frozenset({"openinference.live", "openinference.ready"})  # a monitor holds no token


@dataclass(frozen=True)
class UploadedFile:
    """One file part of a multipart request."""

    field: str
    filename: str
    data: bytes


@dataclass(frozen=True)
class Services:
    """What the app serves.

    Attributes:
        version: Of the kit.
        predictors: Every model by its name, for ``/v2``.
        ocr: Reads pictures.
        text: Labels texts.
        score: Takes the bytes of application.json and the uploaded files; returns the receipt.
        status: What ``/v1/status`` answers.
    """

    version: str
    predictors: Mapping[str, Predictor]
    ocr: OcrPipeline
    text: TextClassifier
    score: Callable[[bytes, Sequence[UploadedFile]], dict[str, Any]]
    status: Callable[[], dict[str, Any]]


def create_app(services: Services, access: Access = Access()) -> Flask:  # noqa: B008  # it is frozen
    """Build the application.

    Args:
        services: Their models are already loaded and warm.
        access: What is asked of every request; as it stands, that it is meant for this machine.
    """
    app = Flask("edgekit", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = _MAX_FORM_BYTES
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # receipts are read by people
    app.json.sort_keys = False  # type: ignore[attr-defined]
    register_request_log(app)
    register_problem_handlers(app)
    _register_metrics(app, Metrics({name: model.backend for name, model in services.predictors.items()}))
    _register_access(app, access)
    app.register_blueprint(create_blueprint(services.predictors, services.version))

    @app.post("/v1/score")
    def score() -> Response:
        if request.mimetype != "multipart/form-data":
            raise RequestError(
                f"POST /v1/score takes multipart/form-data; this request is {request.mimetype or 'of no type'}.",
                remedy="Send a part 'application' with application.json, and each named file as a part.",
            )
        uploads = [
            UploadedFile(field, part.filename or "", part.read()) for field, part in request.files.items(multi=True)
        ]
        documents = [upload.data for upload in uploads if upload.field == "application"]
        documents += [value.encode() for value in request.form.getlist("application")]
        if len(documents) != 1:
            raise RequestError(f"The request has {len(documents)} parts named 'application'; it needs one.")
        return jsonify(services.score(documents[0], [upload for upload in uploads if upload.field != "application"]))

    @app.post("/v1/ocr")
    def ocr() -> Response:
        pages = []
        for page in load_pages(_body_file()):
            lines = services.ocr.read(page.image) if page.lines is None else page.lines
            pages.append({"width": page.width, "height": page.height, "lines": [_line(line) for line in lines]})
        return jsonify(pages=pages)

    @app.post("/v1/text-risk")
    def text_risk() -> Response:
        texts = _texts()
        return jsonify(results=[{"text": each.text, "labels": each.labels} for each in services.text.classify(texts)])

    @app.get("/v1/status")
    def status() -> Response:
        return jsonify(services.status())

    @app.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(openapi_document(services.version))

    return app


def _register_access(app: Flask, access: Access) -> None:
    @app.before_request
    def admit() -> None:
        access.check(
            request.method,
            host=request.headers.get("Host"),
            origin=request.headers.get("Origin"),
            authorization=request.headers.get("Authorization"),
            open_to_all=request.endpoint in _OPEN_TO_ALL,
        )


def _body_file() -> bytes:
    """The picture or PDF of a request: multipart part ``file``, else the body whatever its content type says."""
    if request.mimetype == "multipart/form-data":
        if "file" not in request.files:
            raise RequestError("The multipart request has no part 'file'.")
        data: bytes = request.files["file"].read()
    else:
        data = bytes(request.get_data(cache=False))
    if not data:
        raise InputError("The request has no body: a picture or a PDF is expected.")
    return data


def _texts() -> list[str]:
    document = request.get_json(force=True, silent=True)
    texts = document.get("texts") if isinstance(document, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RequestError('The body must be JSON of the form {"texts": ["...", ...]}.')
    if not 1 <= len(texts) <= _MAX_TEXTS:
        raise RequestError(f"'texts' holds {len(texts)} texts; between 1 and {_MAX_TEXTS} are accepted.")
    if blank := [index for index, text in enumerate(texts) if not text.strip()]:
        raise RequestError(f"texts[{blank[0]}] is empty.")
    return texts


def _line(line: Line) -> dict[str, Any]:
    box = [[round(x, 1), round(y, 1)] for x, y in line.box]
    return {"text": line.text, "confidence": round(line.confidence, 4), "box": box}


def _register_metrics(app: Flask, metrics: Metrics) -> None:
    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def finish(response: Response) -> Response:
        # the rule, not the path: a path may hold anything and would make a metric per request
        route = request.url_rule.rule if request.url_rule else "unmatched"
        metrics.requests.labels(route, response.status_code).inc()
        metrics.latency.labels(route).observe(time.perf_counter() - g.started)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.get("/metrics")
    def exposition() -> Response:
        return Response(metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")
