"""The collector over HTTP: one path that takes a device's message and gives headquarters' signed answer.

A refusal is a signed answer too, which the device believes; its status is for proxies, logs and people.
"""

from __future__ import annotations

import logging

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask, Response, request

from devices.errors import (
    CollectorError,
    CollectorFullError,
    MessageError,
    QuotaError,
    RegisterError,
    RequestError,
)
from edge.collector.store import Store
from edge.offline.sync_https import CONTENT_TYPE, PATH
from edge.offline.sync_message import MESSAGE_MAX_BYTES, unpack_message
from runtime.problems import problem_response, register_problem_handlers

log = logging.getLogger(__name__)

_RETRY_AFTER_S = 30
_STATUS: dict[type[CollectorError], int] = {RegisterError: 403, QuotaError: 413, CollectorFullError: 507}


def create_collector(store: Store, key: Ed25519PrivateKey) -> Flask:
    """The WSGI application.

    Args:
        store: What devices sent is kept here.
        key: Signs answers.
    """
    app = Flask("edgekit-collector", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MESSAGE_MAX_BYTES
    said = ""
    register_problem_handlers(app)

    @app.errorhandler(MessageError)
    def malformed(error: MessageError) -> Response:
        return problem_response(error, 400)

    @app.errorhandler(CollectorError)
    def unusable(error: CollectorError) -> Response:
        nonlocal said
        if said != error.problem:  # once, not for every branch every half minute
            log.error("%s", error)
        said = error.problem
        response = problem_response(error, 503)
        response.headers["Retry-After"] = str(_RETRY_AFTER_S)
        return response

    @app.post(PATH)
    def journal() -> Response:
        nonlocal said
        message = unpack_message(request.get_data(cache=False))
        reply = store.receive([message], key)[0]
        said = ""
        if reply is None:
            raise RequestError("The message asks for no answer; over HTTPS every one does.")
        status = _STATUS[type(reply.refusal)] if reply.refusal else 200
        return Response(reply.data, status, content_type=CONTENT_TYPE)

    @app.get("/healthz")
    def health() -> Response:
        store.rows("SELECT count(*) FROM devices")
        return Response("ok\n", content_type="text/plain; charset=utf-8")

    return app
