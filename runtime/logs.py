"""Logs of the server: one JSON object a line on stderr, and one such line a request.

A line says what the server did, never what a caller sent: no body, text, name, file name, path or query. A request is
named by its route's rule and its request id. An exception is logged as its class and where it was raised; its message
may quote what it choked on. What a library says beside an exception of its own is left out for the same reason.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the supervisor logs too, and starts without Flask
    from flask import Flask, Response

REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID_PATTERN = "[A-Za-z0-9._-]{1,64}"
_REQUEST_ID = re.compile(REQUEST_ID_PATTERN)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})
_OWN = frozenset({"devices", "edge", "runtime", "compress"})

log = logging.getLogger(__name__)
_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def log_as_json(level: int = logging.INFO) -> None:
    """From now on every log record of ``level`` and above is one JSON line on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLine())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # waitress tells of clients that left and of every request that waits: the request lines and metrics do so already
    logging.getLogger("waitress").setLevel(logging.WARNING)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def request_id() -> str | None:
    """The id of the request that this thread works on; None outside of requests."""
    return _current.get()


def register_request_log(app: Flask, measure: Callable[[str, int, float], None] = lambda *_: None) -> None:
    """Give every request of ``app`` an id, say it in the response, and write one line when it is answered.

    The id is the caller's ``X-Request-Id`` where that is up to 64 letters, digits, dots, hyphens and underscores.
    ``measure`` is told the route, the status and the seconds of every request.
    """
    from flask import g, request

    @app.before_request
    def receive() -> None:
        g.received = time.perf_counter()
        given = request.headers.get(REQUEST_ID_HEADER, "")
        _current.set(given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)

    @app.after_request
    def answer(response: Response) -> Response:
        response.headers[REQUEST_ID_HEADER] = request_id() or ""
        # the rule, not the path: a path may hold anything, personal data too, and would make a metric of its own
        route = request.url_rule.rule if request.url_rule else "unmatched"
        seconds = time.perf_counter() - g.received
        measure(route, response.status_code, seconds)
        line = {
            "method": request.method if request.method in _METHODS else "OTHER",
            "route": route,
            "status": response.status_code,
            "code": g.get("problem_code"),
            "duration_ms": round(seconds * 1000, 2),
            "bytes_in": request.content_length or 0,
            "bytes_out": response.calculate_content_length(),
        }
        log.info("request", extra={"fields": line})
        return response

    @app.teardown_request
    def forget(_error: BaseException | None) -> None:
        _current.set(None)


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        own = record.name.partition(".")[0] in _OWN
        error = record.exc_info[1] if record.exc_info else None
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if own or error is None else "an exception",
        }
        if (current := request_id()) is not None:
            line["request_id"] = current
        line |= getattr(record, "fields", {})
        if error is not None:
            line["exception"] = _without_messages(error)
        return json.dumps(line, ensure_ascii=False)


def _without_messages(error: BaseException) -> list[str]:
    """Classes and places of ``error`` and of what led to it, the last cause first."""
    said: list[str] = []
    link: BaseException | None = error
    while link is not None:
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(link.__traceback__)]
        said = [*places, type(link).__name__, *said]
        link = link.__cause__ or link.__context__
    return said
