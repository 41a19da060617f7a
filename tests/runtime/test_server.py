"""The server with real sockets and a small app: slow, endless and too many clients; leaving; the date set back."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from runtime.server import Server, ServerLimits, _Channel


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/wait":
        time.sleep(0.6)
    if environ["PATH_INFO"] == "/gone":
        for _ in range(100):
            if environ["waitress.client_disconnected"]():
                seen.append("gone")
                break
            time.sleep(0.02)
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/large":
        body = bytes(8_000_000)
    if environ["PATH_INFO"] == "/raise":
        raise RuntimeError("on purpose")
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


seen: list[str] = []


@contextlib.contextmanager
def serving(**limits: Any) -> Iterator[tuple[Server, tuple[str, int]]]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = Server(app, [listener], threads=4, limits=ServerLimits(**limits))
    thread = threading.Thread(target=server.run, args=(lambda: None,))
    thread.start()
    try:
        yield server, listener.getsockname()
    finally:
        server.stop()
        thread.join()
        listener.close()


def said(connection: socket.socket) -> bytes:
    """All until the server closes the connection."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/problem+json" in head
    assert b"Connection: close" in head
    assert b"Server:" not in head
    document: dict[str, Any] = json.loads(body)
    assert document["status"] == status(answer)
    assert all(document[key] for key in ("code", "problem", "state", "remedy"))
    return document


def dial(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=10)


@pytest.mark.parametrize("half", [b"POST / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_request_that_comes_too_slowly_is_answered_408_though_it_never_pauses(half: bytes) -> None:
    with serving(receive_s=1.0) as (_, address), dial(address) as slow, dial(address) as quick:
        slow.sendall(half)
        slow.setblocking(False)
        answer = b""
        end = time.monotonic() + 8
        while not answer and time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                answer = slow.recv(65536)
            if not answer:
                slow.send(b"x" if half.endswith(b"T") else b"")
            time.sleep(0.05)
        assert problem(answer)["code"] == "REQ-001"
        assert status(answer) == 408
        quick.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert status(quick.recv(65536)) == 200


def test_a_chunked_body_that_never_ends_is_answered_413() -> None:
    with serving(body_bytes=300_000) as (_, address), dial(address) as endless:
        endless.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):  # it stops listening some time after the answer
            for _ in range(200):
                endless.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
        answer = said(endless)
        assert status(answer) == 413
        assert problem(answer)["code"] == "REQ-001"


def test_a_body_far_too_large_is_answered_and_the_client_gets_to_read_it() -> None:
    with serving(body_bytes=1_000_000) as (_, address), dial(address) as large:
        large.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\n")
        for _ in range(200):  # as requests and most clients do: all of it before they read
            large.sendall(bytes(1_000_000))
        assert status(said(large)) == 413


def test_malformed_requests_and_faults_of_the_app_are_problem_documents() -> None:
    with serving(header_bytes=2000) as (_, address):
        for sent, wanted in (
            (b"nonsense\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 3000 + b"\r\n\r\n", 431),
            (b"GET /raise HTTP/1.1\r\nHost: a\r\n\r\n", 500),
        ):
            with dial(address) as client:
                client.sendall(sent)
                answer = said(client)
                assert status(answer) == wanted, answer
                assert "on purpose" not in problem(answer)["problem"]


def test_idle_connections_and_clients_that_take_nothing_are_closed() -> None:
    with serving(idle_s=1.0, send_s=1.0) as (_, address), dial(address) as idle, dial(address) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle.recv(1) == b""
        time.sleep(2.5)
        with pytest.raises(ConnectionResetError):
            said(deaf)


def test_the_app_learns_that_its_client_has_gone() -> None:
    seen.clear()
    with serving() as (_, address):
        with dial(address) as client:
            client.sendall(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.1)
        time.sleep(0.3)
        assert seen == ["gone"]


def test_an_answer_leaves_as_one_packet_from_the_thread_that_wrote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    senders: list[str] = []
    send = _Channel.send

    def noted(self: _Channel, data: bytes, **options: bool) -> int:
        senders.append(threading.current_thread().name)
        return int(send(self, data, **options))

    monkeypatch.setattr(_Channel, "send", noted)
    with serving() as (_, address), dial(address) as client:
        for number in range(1, 4):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            assert client.recv(65536).endswith(b"\r\n\r\nabc")
            assert len(senders) == number
    assert all(name.startswith("waitress") for name in senders)  # not the poll loop's


def test_five_hundred_connections_at_once_are_all_answered() -> None:
    with serving() as (_, address):
        clients = [dial(address) for _ in range(500)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answers = [client.recv(65536) for client in clients]
        for client in clients:
            client.close()
    assert {status(answer) for answer in answers} == {200}


def test_one_that_leaves_answers_on_open_connections_and_ends_them() -> None:
    with serving(leave_idle_s=1.0) as (server, address), dial(address) as kept, dial(address) as idle:
        kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"Connection: close" not in kept.recv(65536)
        idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        idle.recv(65536)
        server.leave()
        time.sleep(0.2)
        kept.sendall(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = said(kept)
        assert status(answer) == 200
        assert b"Connection: close" in answer
        assert idle.recv(1) == b""


def test_the_date_set_back_a_day_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(idle_s=1.0, receive_s=1.0) as (_, address), dial(address) as idle, dial(address) as half:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        idle.recv(65536)
        half.sendall(b"GET / HT")
        yesterday = time.time() - 86_400
        monkeypatch.setattr(time, "time", lambda: yesterday)
        with dial(address) as new:
            new.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert status(new.recv(65536)) == 200
        assert idle.recv(1) == b""
        assert status(said(half)) == 408
