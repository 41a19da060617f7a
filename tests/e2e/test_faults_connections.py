"""Bodies and connections that are too large, too many, endless, slow or given up: the server goes on for the others."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.e2e.hostile import MEGABYTE, TEXT, Watched, drawn, encoded, refused, said

TEXTS = json.dumps({"texts": [TEXT]}).encode()
PROMPTLY = 5.0  # seconds; an ordinary request takes 0.05 here, and two cores may be busy


@pytest.fixture(autouse=True)
def goes_on(steady: Watched) -> Iterator[None]:
    """After every fault the same worker answers the next ordinary requests as before."""
    yield
    steady.unharmed()


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


def poured(connection: socket.socket, piece: bytes, total: int) -> int:
    """Send ``piece`` again and again until ``total`` bytes are on their way or the server has had enough."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < total:
            connection.sendall(piece)
            sent += len(piece)
    return sent


@pytest.mark.parametrize("path", ["/v1/ocr", "/v1/score", "/v1/text-risk", "/v2/models/ocr-det/infer"])
def test_200_megabytes_are_refused_by_their_length(steady: Watched, path: str) -> None:
    with steady.growing_at_most(50), steady.dial() as client:
        client.sendall(head(path, f"Content-Length: {200 * MEGABYTE}"))
        poured(client, bytes(MEGABYTE), 200 * MEGABYTE)
        status, body = said(client)
    assert status == 413
    assert json.loads(body)["code"] == "REQ-001"


def test_a_body_a_little_too_large_is_refused_by_the_application(steady: Watched) -> None:
    with steady.growing_at_most(50):
        refused(requests.post(f"{steady.url}/v1/ocr", data=bytes(50 * MEGABYTE), timeout=30), 413)


@pytest.mark.parametrize("path", ["/v1/ocr", "/v2/models/text-risk/infer"])
def test_a_chunked_body_that_never_ends_is_refused(steady: Watched, path: str) -> None:
    with steady.growing_at_most(50), steady.dial() as client:
        client.sendall(head(path, "Transfer-Encoding: chunked"))
        poured(client, b"100000\r\n" + bytes(MEGABYTE) + b"\r\n", 200 * MEGABYTE)
        assert said(client)[0] == 413


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
        b"GET /none HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        head("/v1/ocr", "Content-Length: 3", "Transfer-Encoding: chunked", "Connection: close") + b"0\r\n\r\n",
        head("/v1/ocr", "Content-Length: -1"),
        head("/v1/ocr", "Content-Length: 1, 2"),
        head("/v1/ocr", "Transfer-Encoding: gzip"),
        head("/v1/ocr", "Transfer-Encoding: chunked") + b"zz\r\n",
        head("/v1/ocr", "X: " + "y" * 100_000),
        head("/v1/ocr", *[f"X{number}: y" for number in range(20_000)]),
    ],
    ids=["tls", "version", "two lengths", "negative", "list", "coding", "chunk", "long header", "many headers"],
)
def test_requests_that_are_no_http_are_refused(steady: Watched, sent: bytes) -> None:
    with steady.dial() as client:
        client.sendall(sent)
        status, _ = said(client)
    assert 400 <= status < 500 or status == 501


def test_slow_clients_do_not_slow_the_others(steady: Watched) -> None:
    slow = [steady.dial() for _ in range(60)]
    for number, client in enumerate(slow):
        client.sendall(head("/v1/ocr", "Content-Length: 1000")[: None if number % 2 else -9])
    for _ in range(5):
        for client in slow:
            client.sendall(b"x")
        began = time.monotonic()
        assert requests.post(f"{steady.url}/v1/text-risk", data=TEXTS, timeout=PROMPTLY).status_code == 200
        assert time.monotonic() - began < PROMPTLY
    for client in slow:
        client.close()


def test_clients_that_give_up_leave_their_places(steady: Watched) -> None:
    picture = encoded(drawn("4711").resize((3200, 800)))
    for _ in range(40):
        with steady.dial() as client:
            client.sendall(head("/v1/ocr", f"Content-Length: {len(picture)}") + picture)
            time.sleep(0.01)
    for _ in range(20):
        with steady.dial() as client:
            client.sendall(head("/v1/ocr", f"Content-Length: {len(picture)}") + picture[:1000])
    end = time.monotonic() + 20
    while requests.post(f"{steady.url}/v1/ocr", data=picture, timeout=30).status_code == 503:
        assert time.monotonic() < end
        time.sleep(0.2)


def test_500_connections_at_once_are_answered_or_told_to_come_back(steady: Watched) -> None:
    clients = [steady.dial() for _ in range(500)]
    request = head("/v1/text-risk", f"Content-Length: {len(TEXTS)}", "Connection: close") + TEXTS
    for client in clients:
        client.sendall(request)
    answered: Counter[int] = Counter()
    with steady.growing_at_most(150):
        for client in clients:
            data = b""
            while chunk := client.recv(65536):
                data += chunk
            client.close()
            status = int(data.split(b" ", 2)[1])
            answered[status] += 1
            if status == 503:
                assert b"application/problem+json" in data
                assert b"\r\nRetry-After: " in data
            else:
                assert b"debt_rollover" in data
    assert set(answered) <= {200, 503}
    assert answered[200] >= 16
    assert answered.total() == 500


def test_more_pictures_than_may_wait_are_told_to_come_back_and_status_still_answers(steady: Watched) -> None:
    picture = encoded(drawn("4711").resize((1600, 400)))
    done = threading.Event()
    waited: list[float] = []

    def ask_status() -> None:
        while not done.is_set():
            began = time.monotonic()
            assert requests.get(f"{steady.url}/v2/health/ready", timeout=30).status_code == 200
            waited.append(time.monotonic() - began)
            time.sleep(0.05)

    def ask(_: int) -> requests.Response:
        return requests.post(f"{steady.url}/v1/ocr", data=picture, timeout=60)

    with ThreadPoolExecutor(41) as pool, steady.growing_at_most(250):
        asking = pool.submit(ask_status)
        answers = list(pool.map(ask, range(40)))
        done.set()
        asking.result()
    full = [answer for answer in answers if answer.status_code != 200]
    assert full
    for answer in full:
        assert refused(answer, 503)["code"].startswith("SERVE")
        assert int(answer.headers["Retry-After"]) >= 1
    assert len(answers) - len(full) >= 16
    assert sorted(waited)[len(waited) // 2] < 0.5
