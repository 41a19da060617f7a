"""Errors over HTTP: one handler, ``application/problem+json`` (RFC 9457) with the kit's four fields."""

from __future__ import annotations

import json
import logging

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from devices.errors import (
    DecisionNotFoundError,
    EdgeKitError,
    HostError,
    InputError,
    JournalError,
    OriginError,
    RecordErasedError,
    RequestError,
    ReviewError,
    RoleError,
    ServeError,
    TokenError,
)
from runtime.logs import request_id

log = logging.getLogger(__name__)

# the first class that fits; any other error is a fault of this device: 500
_STATUS: tuple[tuple[type[EdgeKitError], int], ...] = (
    (InputError, 400),
    (TokenError, 401),
    (OriginError, 403),
    (RoleError, 403),
    (DecisionNotFoundError, 404),
    (ReviewError, 409),
    (RecordErasedError, 410),
    (HostError, 421),
    (ServeError, 503),
    (JournalError, 503),
)


def register_problem_handlers(app: Flask) -> None:
    """Make every error of ``app`` a problem document."""
    app.register_error_handler(EdgeKitError, _kit_error)
    app.register_error_handler(HTTPException, _http_error)


def problem_response(error: EdgeKitError, status: int) -> Response:
    """The response for ``error``. Needs no request: the server answers with it what never reaches the app."""
    document = {**error.as_problem(status), "request_id": request_id()}
    # ASCII: a problem may quote what no encoding can carry, such as half of a surrogate pair
    response = Response(json.dumps(document), status=status, content_type="application/problem+json")
    if isinstance(error, TokenError):
        response.headers["WWW-Authenticate"] = 'Bearer realm="edgekit"'
    return response


def _kit_error(error: EdgeKitError) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        # of the device itself, so it quotes nothing that a caller sent
        log.error("%s", error)
    return _answer(error, status)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= 500:
        # Flask has logged the traceback; the caller learns that the fault is here, not what it was
        fault = EdgeKitError(
            "The server met an error of its own while answering.",
            state="This request was not answered; the server goes on serving others.",
            remedy="Send it again; if it fails again, report the request id and the code to support.",
        )
        return _answer(fault, status)
    sentences = {
        404: f"There is nothing at {request.path}.",
        405: f"{request.path} does not take {request.method}.",
        413: "The request, or a part of it, is larger than this server accepts.",
    }
    # one that was given with the error says more than the status alone
    given = vars(error).get("description")
    sentence = given or sentences.get(status, f"The request was refused: {error.name}.")
    response = _answer(RequestError(sentence), status)
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


def _answer(error: EdgeKitError, status: int) -> Response:
    g.problem_code = error.code  # for the log's line of this request
    return problem_response(error, status)
