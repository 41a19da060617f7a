"""The HTTP application: the kit's own API under ``/v1``, KServe's protocol under ``/v2``, status and metrics.

``create_app`` builds everything from the services that it is given, so a test gets an app of its own and this
package needs to know nothing of bundles or scoring.

Whatever runs a model goes through one of two doors (``runtime.admission``): texts, which share their runs, through one,
everything else through the other, so that a short text does not queue behind long documents. Health, status, metrics
and the API's description wait for nobody, as long as the server has ``Limits.threads`` threads.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Flask, Response, g, jsonify, request

from devices.errors import InputError, RequestError, ServeError
from runtime.access import Access
from runtime.admission import Admission
from runtime.budget import Budget, each_within
from runtime.decisions import Decisions
from runtime.decisions import create_blueprint as decisions_blueprint
from runtime.images import load_pages
from runtime.logs import register_request_log
from runtime.metrics import Metrics
from runtime.ocr.line import Line
from runtime.ocr.pipeline import OcrPipeline
from runtime.openapi import KEY_HEADER, KEY_PATTERN, TIMEOUT_HEADER, openapi_document
from runtime.openinference import create_blueprint
from runtime.predictor import Predictor, ShapeRange
from runtime.problems import register_problem_handlers
from runtime.readable import Unreadable
from runtime.schemas import MAX_TEXTS
from runtime.text import TextClassifier, TextResult

MAX_BODY_BYTES = 48 * 1024 * 1024
_MAX_FORM_BYTES = 8 * 1024 * 1024  # application.json with thousands of transactions
_MAX_FORM_PARTS = 64  # application.json, and three times the files that it may name
_SPARE_THREADS = 4  # for what waits for nobody
_OPEN_TO_ALL = frozenset({"openinference.live", "openinference.ready"})  # a monitor holds no token


@dataclass(frozen=True)
class UploadedFile:
    """One file part of a multipart request."""

    field: str
    filename: str
    data: bytes


@dataclass(frozen=True)
class SentApplication:
    """What ``POST /v1/score`` was sent.

    Attributes:
        application: The bytes of application.json.
        files: Every other part.
        key: The caller's own name for this request, under which it may send it again without a second decision.
    """

    application: bytes
    files: Sequence[UploadedFile] = ()
    key: str | None = None


@dataclass(frozen=True)
class Limits:
    """How much is worked on at once, and for how long.

    Attributes:
        requests: Requests worked on at once, those for texts aside.
        texts: Requests for texts worked on at once; they share runs of the model.
        queue: Requests that may wait at either door; more are answered 503.
        timeout_ms: A request's deadline, unless it asks for a shorter one by ``X-Timeout-Ms``.
    """

    requests: int = 2
    texts: int = 16
    queue: int = 16
    timeout_ms: int = 30_000

    @property
    def threads(self) -> int:
        """Threads that the server needs so that health, status and metrics always have one."""
        return self.requests + self.texts + 2 * self.queue + _SPARE_THREADS


@dataclass(frozen=True)
class Services:
    """What the app serves.

    Attributes:
        version: Of the kit.
        predictors: Every model by its name, for ``/v2``.
        ocr: Reads pictures.
        text: Labels texts.
        score: Takes an application and the request's budget; returns the receipt.
        status: What ``/v1/status`` answers.
        limits: How much is worked on at once.
        metrics: What ``/metrics`` shows; those who build the services add to it.
        shapes: How large inputs of a model may be over ``/v2``, by model and input; what is not named may be anything.
        decisions: The review queue; None where nothing is journaled.
    """

    version: str
    predictors: Mapping[str, Predictor]
    ocr: OcrPipeline
    text: TextClassifier
    score: Callable[[SentApplication, Budget], dict[str, Any]]
    status: Callable[[], dict[str, Any]]
    limits: Limits = field(default_factory=Limits)
    metrics: Metrics = field(default_factory=Metrics)
    shapes: Mapping[str, Mapping[str, ShapeRange]] = field(default_factory=dict)
    decisions: Decisions | None = None


def create_app(
    services: Services,
    access: Access = Access(),  # noqa: B008  # it is frozen
    *,
    pages: Blueprint | None = None,
) -> Flask:
    """Build the application.

    Args:
        services: Their models are already loaded and warm.
        access: What is asked of every request; as it stands, that it is meant for this machine.
        pages: For browsers. They hold nothing of anybody, so a browser gets them without a token, which it cannot send.
    """
    app = Flask("edgekit", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = _MAX_FORM_BYTES
    app.config["MAX_FORM_PARTS"] = _MAX_FORM_PARTS
    app.json.ensure_ascii = False  # type: ignore[attr-defined]  # receipts are read by people
    app.json.sort_keys = False  # type: ignore[attr-defined]
    register_request_log(app, services.metrics.request)
    register_problem_handlers(app)
    _register_headers(app)
    _register_access(app, access, pages.name if pages else None)
    limits = services.limits
    door = _Door("main", Admission(limits.requests, limits.queue), limits, services.metrics)
    text_door = _Door("text", Admission(limits.texts, limits.queue), limits, services.metrics)
    services.metrics.models(services.predictors)
    app.register_blueprint(create_blueprint(services.predictors, services.version, services.shapes))
    app.register_blueprint(decisions_blueprint(services.decisions, access.reviewer))
    app.view_functions["openinference.infer"] = door(app.view_functions["openinference.infer"])
    if pages:
        app.register_blueprint(pages)

    @app.post("/v1/score")
    @door
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
        files = [upload for upload in uploads if upload.field != "application"]
        return jsonify(services.score(SentApplication(documents[0], files, _key()), g.budget))

    @app.post("/v1/ocr")
    @door
    def ocr() -> Response:
        pages = []
        for page in each_within(lambda: g.budget.stage("load"), load_pages(_body_file())):
            lines = services.ocr.read(page.image, g.budget) if page.lines is None else page.lines
            pages.append({"width": page.width, "height": page.height, "lines": [_line(line) for line in lines]})
        return jsonify(pages=pages)

    @app.post("/v1/text-risk")
    @text_door
    def text_risk() -> Response:
        texts = _texts()
        results = services.text.classify(texts, budget=g.budget)
        return jsonify(results=[_labelled(each, services.text.unreadable(each.text)) for each in results])

    @app.get("/v1/status")
    def status() -> Response:
        return jsonify(services.status())

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(services.metrics.exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/openapi.json")
    def openapi() -> Response:
        tokens = access.tokens is not None
        return jsonify(openapi_document(services.version, sorted(services.predictors), tokens=tokens))

    return app


class _Door:
    """What a view that runs a model goes through: a place, a budget in ``g.budget``, and counters."""

    def __init__(self, name: str, admission: Admission, limits: Limits, metrics: Metrics) -> None:
        self._admission, self._limits, self._metrics = admission, limits, metrics
        metrics.watch("requests_running", lambda: admission.running, door=name)
        metrics.watch("requests_waiting", lambda: admission.waiting, door=name)

    def __call__(self, view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def inside(**arguments: Any) -> Any:
            g.budget = budget = self._budget()
            arrival = time.perf_counter()
            try:
                with self._admission.place(budget):
                    self._metrics.stage("queue", time.perf_counter() - arrival)
                    return view(**arguments)
            except ServeError as error:
                self._metrics.rejected(error)
                g.retry_after_s = self._admission.retry_after_s
                raise

        return inside

    def _budget(self) -> Budget:
        asked = request.headers.get(TIMEOUT_HEADER)
        # nine digits are eleven days; more need not be looked at
        if asked is not None and not (asked.isascii() and asked.isdecimal() and 0 < len(asked) <= 9 and int(asked)):
            raise RequestError(f"Header {TIMEOUT_HEADER} must be a whole number of milliseconds from 1 on.")
        timeout_ms = self._limits.timeout_ms if asked is None else min(int(asked), self._limits.timeout_ms)
        gone = request.environ.get("waitress.client_disconnected", _nobody_leaves)
        return Budget.lasting(timeout_ms / 1000, gone, self._metrics.stage)


def _key() -> str | None:
    key = request.headers.get(KEY_HEADER)
    if key is not None and not re.fullmatch(KEY_PATTERN, key):
        raise RequestError(f"Header {KEY_HEADER} must be {KEY_PATTERN}.")
    return key


def _nobody_leaves() -> bool:
    return False


def _register_access(app: Flask, access: Access, pages: str | None) -> None:
    @app.before_request
    def admit() -> None:
        access.check(
            request.method,
            host=request.headers.get("Host"),
            origin=request.headers.get("Origin"),
            authorization=request.headers.get("Authorization"),
            open_to_all=request.endpoint in _OPEN_TO_ALL
            or (pages is not None and request.blueprint == pages and request.method in ("GET", "HEAD")),
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
    try:
        document = request.get_json(force=True, silent=True)
    except RecursionError as error:
        raise RequestError("The body is JSON of too many levels.") from error
    texts = document.get("texts") if isinstance(document, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RequestError('The body must be JSON of the form {"texts": ["...", ...]}.')
    if not 1 <= len(texts) <= MAX_TEXTS:
        raise RequestError(f"'texts' holds {len(texts)} texts; between 1 and {MAX_TEXTS} are accepted.")
    if blank := [index for index, text in enumerate(texts) if not text.strip()]:
        raise RequestError(f"texts[{blank[0]}] is empty.")
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise RequestError("A text holds half of a surrogate pair, which is no character.") from error
    return texts


def _labelled(result: TextResult, unreadable: Unreadable | None) -> dict[str, Any]:
    """What the model says, and where that is no judgement, why."""
    said: dict[str, Any] = {"text": result.text, "labels": result.labels}
    return said | {"unreadable": unreadable} if unreadable else said


def _line(line: Line) -> dict[str, Any]:
    box = [[round(x, 1), round(y, 1)] for x, y in line.box]
    return {"text": line.text, "confidence": round(line.confidence, 4), "box": box}


def _register_headers(app: Flask) -> None:
    @app.after_request
    def add(response: Response) -> Response:
        if "retry_after_s" in g:
            response.headers["Retry-After"] = str(g.retry_after_s)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        return response
