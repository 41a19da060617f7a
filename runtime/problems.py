"""Errors over HTTP: one handler, ``application/problem+json`` (RFC 9457) with the kit's four fields."""

from __future__ import annotations

import json
import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from devices.errors import EdgeKitError, InputError, RequestError, ServeError

log = logging.getLogger(__name__)

_STATUS: tuple[tuple[type[EdgeKitError], int], ...] = ((InputError, 400), (ServeError, 503))


def register_problem_handlers(app: Flask) -> None:
    """Make every error of ``app`` a problem document."""
    app.register_error_handler(EdgeKitError, _kit_error)
    app.register_error_handler(HTTPException, _http_error)


def problem_response(error: EdgeKitError, status: int) -> Response:
    """The response for ``error``; ``error`` as a member too, where KServe's clients look for the text."""
    document = {
        "type": f"urn:edgekit:error:{error.code}",
        "title": (error.__doc__ or error.code).splitlines()[0],
        "status": status,
        "detail": error.problem,
        **error.as_dict(),
        "error": error.problem,
    }
    body = json.dumps(document, ensure_ascii=False)
    return Response(body, status=status, content_type="application/problem+json")


def _kit_error(error: EdgeKitError) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status >= 500:
        log.error("%s %s: %s", request.method, request.path, error)
    return problem_response(error, status)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= 500:
        # Flask has logged the traceback; the caller learns that the fault is here, not what it was
        fault = EdgeKitError(
            "The server met an error of its own while answering.",
            state="This request was not answered; the server goes on serving others.",
            remedy="Send it again; if it fails again, report the time and the code to support.",
        )
        return problem_response(fault, status)
    sentences = {
        404: f"There is nothing at {request.path}.",
        405: f"{request.path} does not take {request.method}.",
        413: "The request is larger than this server accepts.",
    }
    response = problem_response(RequestError(sentences.get(status, f"The request was refused: {error.name}.")), status)
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response
