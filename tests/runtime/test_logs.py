"""The log: one JSON line a request, an id that is everywhere, and nothing that a caller sent."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from devices.errors import ApplicationError, BackendError, DeadlineError
from runtime.app import SentApplication, Services, create_app
from runtime.budget import Budget
from runtime.logs import log_as_json, register_request_log, request_id

# invented, and unlike anything that the server itself would write
SECRETS = ("Zhao-Invented", "id-of-zhao.jpg", "借款用途甲", "no-such-path-of-zhao", "query-of-zhao", "id-in-query")


def score(sent: SentApplication, budget: Budget) -> dict[str, Any]:
    application = sent.application
    kind = json.loads(application)["kind"]
    if kind == "bad":
        raise ApplicationError(f"application.json: {application.decode()} is bad.")
    if kind == "bug":
        raise ValueError(f"could not read {application.decode()} and {sent.files[0].filename}")
    if kind == "broken":
        raise BackendError("The backend failed.")
    raise DeadlineError("Too late.")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What ``log_as_json`` writes; the test's own logging is put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers = []
    stream = io.StringIO()
    try:
        log_as_json()
        (handler,) = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(stream)
        yield stream
    finally:
        root.handlers, root.level = before


@pytest.fixture
def client(logged: io.StringIO) -> FlaskClient:
    nothing: Any = None
    app = create_app(Services("1", {}, nothing, nothing, score, lambda: {"device_id": "d"}))
    return app.test_client()


def lines(logged: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logged.getvalue().splitlines()]


def test_one_line_a_request_says_what_the_server_did(client: FlaskClient, logged: io.StringIO) -> None:
    client.post("/v2/models/x/infer", data=b"12345")
    (line,) = lines(logged)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert 0 < line.pop("duration_ms") < 10_000
    assert line.pop("bytes_out") > 100
    assert re.fullmatch("[0-9a-f]{32}", line.pop("request_id"))
    assert line == {
        "level": "info",
        "logger": "runtime.logs",
        "message": "request",
        "method": "POST",
        "route": "/v2/models/<name>/infer",
        "status": 404,
        "code": "REQ-001",
        "bytes_in": 5,
    }


def test_nothing_that_a_caller_sent_is_written_whatever_goes_wrong(client: FlaskClient, logged: io.StringIO) -> None:
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    for kind in ("bad", "bug", "broken", "late"):
        application = json.dumps({"name": SECRETS[0], "purpose": SECRETS[2], "kind": kind}).encode()
        parts = {"application": (io.BytesIO(application), "a.json"), "id": (io.BytesIO(b"1"), SECRETS[1])}
        client.post(f"/v1/score?{SECRETS[5]}=1", data=parts)
    client.get(f"/{SECRETS[3]}?{SECRETS[4]}")
    client.post("/v1/text-risk", json={"texts": [SECRETS[2], 1]})
    client.open("/v1/status", method="ZHAO-INVENTED")
    client.get("/v1/status", headers={"X-Request-Id": SECRETS[0] + " x", "Host": SECRETS[0] + ".example"})
    written = logged.getvalue()
    for secret in SECRETS:
        assert secret.lower() not in written.lower()
    requests = [line for line in lines(logged) if line["message"] == "request"]
    assert [line["status"] for line in requests] == [400, 500, 500, 503, 404, 400, 405, 421]
    assert requests[6]["method"] == "OTHER"


def test_a_fault_of_ours_is_logged_with_its_place_under_the_id_of_its_request(
    client: FlaskClient, logged: io.StringIO
) -> None:
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    parts = {"application": (io.BytesIO(b'{"kind": "bug"}'), "a.json"), "id": (io.BytesIO(b"1"), "x")}
    answer = client.post("/v1/score", data=parts)
    fault, line = lines(logged)
    assert fault["level"] == "error"
    assert fault["exception"][-1] == "ValueError"
    assert re.search(r"test_logs\.py:\d+ score$", fault["exception"][-2])
    assert fault["request_id"] == line["request_id"] == answer.headers["X-Request-Id"]


def test_a_chain_of_causes_is_told_from_the_first(logged: io.StringIO) -> None:
    try:
        try:
            raise KeyError(SECRETS[0])
        except KeyError as error:
            raise RuntimeError(SECRETS[0]) from error
    except RuntimeError:
        logging.getLogger("runtime.x").exception("It failed.")
    (line,) = lines(logged)
    assert line["message"] == "It failed."
    assert [each for each in line["exception"] if "/" not in each] == ["KeyError", "RuntimeError"]
    assert SECRETS[0] not in logged.getvalue()


def test_what_a_library_says_beside_an_exception_is_left_out(logged: io.StringIO) -> None:
    for name, own in (("waitress", False), ("runtime.x", True)):
        try:
            raise KeyError(SECRETS[0])
        except KeyError:
            logging.getLogger(name).exception("Exception while serving /%s", "path" if own else SECRETS[3])
    first, second = lines(logged)
    assert first["message"] == "an exception"
    assert second["message"] == "Exception while serving /path"
    assert not [secret for secret in SECRETS if secret in logged.getvalue()]


def test_the_callers_id_is_taken_if_it_is_one(client: FlaskClient, logged: io.StringIO) -> None:
    for given, taken in (("a-1.B_2", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("", False)):
        answer = client.get("/v1/nothing", headers={"X-Request-Id": given})
        id_ = answer.headers["X-Request-Id"]
        assert (id_ == given) is taken
        assert json.loads(answer.data)["request_id"] == id_ == lines(logged)[-1]["request_id"]
    assert request_id() is None


def test_every_request_has_an_id_of_its_own_and_a_line_outside_has_none(
    client: FlaskClient, logged: io.StringIO
) -> None:
    ids = {client.get("/v1/status").headers["X-Request-Id"] for _ in range(5)}
    assert len(ids) == 5
    logging.getLogger("runtime.x").warning("outside")
    assert "request_id" not in lines(logged)[-1]


def test_a_line_break_cannot_start_a_line_of_its_own(logged: io.StringIO) -> None:
    logging.getLogger("runtime.x").warning("one\ntwo %s", "\r\n{}")
    (line,) = lines(logged)
    assert line["message"] == "one\ntwo \r\n{}"


def test_work_in_a_request_knows_its_id(logged: io.StringIO) -> None:
    app = Flask("t")
    register_request_log(app)

    @app.get("/")
    def inside() -> str:
        return request_id() or "none"

    assert app.test_client().get("/", headers={"X-Request-Id": "abc"}).text == "abc"
