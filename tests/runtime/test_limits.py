"""Requests that are too large, of too many parts, or never end: refused as problems, and never read to their end."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from runtime.app import SentApplication, Services, create_app
from runtime.budget import Budget

# werkzeug forgets the files of a form that it refuses half-way; they go with the last reference to them
pytestmark = pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")

LIMIT = 100_000  # bytes of a body in these tests


def score(sent: SentApplication, _budget: Budget) -> dict[str, Any]:
    return {"application": len(sent.application), "files": len(sent.files)}


@pytest.fixture
def client() -> FlaskClient:
    nothing: Any = None
    app = create_app(Services("1", {}, nothing, nothing, score, dict))
    app.config["MAX_CONTENT_LENGTH"] = LIMIT
    return app.test_client()


class Endless(io.RawIOBase):
    """A body that does not end; it counts what is taken of it."""

    def __init__(self, beginning: bytes = b"") -> None:
        self.beginning, self.taken = beginning, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.beginning[self.taken : self.taken + len(buffer)].ljust(len(buffer), b"x")
        buffer[:] = piece
        self.taken += len(buffer)
        return len(buffer)


def problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    return str(json.loads(answer.data)["problem"])


def chunked(client: FlaskClient, path: str, body: Endless, content_type: str) -> Any:
    """As the server hands over a body without a length."""
    environ = {"wsgi.input": body, "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    return client.post(path, content_type=content_type, environ_overrides=environ)


@pytest.mark.parametrize(
    ("path", "content_type", "beginning"),
    [
        ("/v1/ocr", "image/png", b""),
        ("/v1/text-risk", "application/json", b'{"texts": ["'),
        ("/v1/ocr", "multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n'),
        ("/v1/score", "multipart/form-data; boundary=b", b""),
        (
            "/v1/score",
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n',
        ),
        ("/v1/score", "multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name="),
    ],
)
def test_a_body_that_never_ends_is_read_up_to_the_limit_and_refused(
    client: FlaskClient, path: str, content_type: str, beginning: bytes
) -> None:
    body = Endless(beginning)
    answer = chunked(client, path, body, content_type)
    # waitress gives every body its length; without one werkzeug may hand over a part, which is then no picture
    assert answer.status_code in (400, 413)
    assert problem(answer, answer.status_code)
    assert body.taken <= 2 * LIMIT
    assert client.get("/v2/health/ready").status_code == 200


def parts(count: int, size: int = 1, *, as_files: bool) -> bytes:
    filename = '; filename="f"' if as_files else ""
    part = f'--b\r\nContent-Disposition: form-data; name="f"{filename}\r\n\r\n{"x" * size}\r\n'
    application = '--b\r\nContent-Disposition: form-data; name="application"\r\n\r\n{}\r\n'
    return (application + count * part + "--b--\r\n").encode()


@pytest.mark.parametrize("as_files", [True, False])
def test_parts_are_counted(client: FlaskClient, *, as_files: bool) -> None:
    def send(count: int) -> Any:
        body = parts(count, as_files=as_files)
        return client.post("/v1/score", data=body, content_type="multipart/form-data; boundary=b")

    assert send(63).status_code == 200
    assert "larger than this server accepts" in problem(send(64), 413)


def test_a_field_that_is_no_file_is_kept_in_memory_and_so_is_shorter(client: FlaskClient) -> None:
    client.application.config["MAX_CONTENT_LENGTH"] = 20 * 1024 * 1024

    def send(size: int, *, as_files: bool) -> Any:
        body = parts(1, size, as_files=as_files)
        return client.post("/v1/score", data=body, content_type="multipart/form-data; boundary=b")

    assert send(9 * 1024 * 1024, as_files=True).json["files"] == 1
    assert "larger than this server accepts" in problem(send(9 * 1024 * 1024, as_files=False), 413)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b--",
        b"no boundary at all",
        b"--b\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name="application"\r\n\r\n{}',
        b'--b\r\nContent-Disposition: form-data; name="\xff\xfe\x00"; filename="\xff"\r\n\r\n\xff\r\n--b--\r\n',
        b"--b\r\nContent-Type: " + b"x" * 10_000 + b"\r\n\r\nx\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: attachment; name="application"\r\n\r\n{}\r\n--b--\r\n',
    ],
)
@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "multipart/form-data", "multipart/mixed"])
@pytest.mark.parametrize("path", ["/v1/score", "/v1/ocr"])
def test_malformed_multipart_is_refused_or_read_but_never_a_fault(
    client: FlaskClient, path: str, content_type: str, body: bytes
) -> None:
    answer = client.post(path, data=body, content_type=content_type)
    if answer.status_code != 200:
        assert problem(answer, answer.status_code)
        assert answer.status_code in (400, 413)
