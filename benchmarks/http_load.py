"""The one client that loads every server: a process of its own, one thread, keep-alive connections.

    python http_load.py

A request is a JSON object on one line of stdin, an answer one on stdout:

    {"host", "port", "clients", "plan": [[PATH, CONTENT_TYPE, FILE], ...], "library": false}
    {"ms": [...] of answers with status 200, "seconds", "statuses": {STATUS: count}, "answer": the last one's body}

``plan`` is worked off in order; each of ``clients`` connections sends its next request when it has its answer. A
connection that the server closes is opened again; if it closes one without an answer, the status is 0. A server that
answers nobody for a minute is given up, with status 0 for everyone who waits and for nobody else. Raw sockets, so that
the client costs little on the cores that it shares with the server. With ``library`` one client works
through the plan with ``requests`` and its keep-alive session.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GIVE_UP_S = 60.0  # twice the kit's own deadline
_RIGHT = 200


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 is nothing."""

    status: int
    body: bytes
    closes: bool


LOST = Answer(0, b"", closes=True)


class Connection:
    """One client."""

    def __init__(self, address: tuple[str, int], selector: selectors.BaseSelector) -> None:
        self._address, self._selector = address, selector
        self._open()

    def _open(self) -> None:
        self._socket = socket.create_connection(self._address, timeout=_GIVE_UP_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(self._socket, selectors.EVENT_READ, self)
        self._received = bytearray()

    def ask(self, message: bytes) -> None:
        """Send a request."""
        self._received.clear()
        self._sent = time.perf_counter()
        try:
            self._socket.sendall(message)
        except ConnectionError:  # it was closed while nothing was asked: the same request goes through a new one
            self.close()
            self._open()
            self._socket.sendall(message)

    def receive(self) -> tuple[Answer, float] | None:
        """The answer and its milliseconds, once it is complete."""
        try:
            part = self._socket.recv(262_144)
        except ConnectionError:
            part = b""
        self._received += part
        answer = complete_answer(self._received) if part else LOST
        if answer is None:
            return None
        taken = (time.perf_counter() - self._sent) * 1000
        if answer.closes:
            self.close()
            self._open()
        return answer, taken

    def close(self) -> None:
        """For good, or to open it again."""
        self._selector.unregister(self._socket)
        self._socket.close()


def http_request(host: str, path: str, content_type: str, body: bytes) -> bytes:
    """The bytes of a POST."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def complete_answer(received: bytes | bytearray) -> Answer | None:
    """An answer, or None while a part of it is missing.

    Raises:
        ValueError: It has no length; no server here sends such.
    """
    head, ended, body = bytes(received).partition(b"\r\n\r\n")
    if not ended:
        return None
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if "content-length" not in headers:
        raise ValueError(f"an answer without a length: {lines[0]}")
    length = int(headers["content-length"])
    if len(body) < length:
        return None
    return Answer(int(lines[0].split()[1]), body[:length], headers.get("connection", "").lower() == "close")


def raw_load(order: dict[str, Any]) -> dict[str, Any]:
    """Work through the plan with ``clients`` connections."""
    address, files = (order["host"], order["port"]), dict[tuple[str, ...], bytes]()
    for step in map(tuple, order["plan"]):
        if step not in files:
            path, content_type, file = step
            files[step] = http_request(f"{address[0]}:{address[1]}", path, content_type, Path(file).read_bytes())
    plan: Iterator[bytes] = iter([files[tuple(step)] for step in order["plan"]])
    times: list[float] = []
    statuses: Counter[int] = Counter()
    last = b""
    selector = selectors.DefaultSelector()

    opened = [Connection(address, selector) for _ in range(order["clients"])]
    begin = time.perf_counter()
    waiting = 0
    for connection, message in zip(opened, plan, strict=False):
        connection.ask(message)
        waiting += 1
    while waiting:
        ready = selector.select(_GIVE_UP_S)
        if not ready:
            statuses[LOST.status] += waiting
            break
        for key, _ in ready:
            received = key.data.receive()
            if received is None:
                continue
            answer, taken = received
            statuses[answer.status] += 1
            if answer.status == _RIGHT:
                times.append(taken)
            last = answer.body
            message = next(plan, b"")
            if message:
                key.data.ask(message)
            waiting -= not message
    seconds = time.perf_counter() - begin
    for connection in opened:
        connection.close()
    return {"ms": times, "seconds": seconds, "statuses": statuses, "answer": last.decode(errors="replace")}


def library_load(order: dict[str, Any]) -> dict[str, Any]:
    """Work through the plan with one ``requests`` session."""
    import requests

    times, statuses, text = [], Counter[int](), ""
    steps = [(path, content_type, Path(file).read_bytes()) for path, content_type, file in order["plan"]]
    with requests.Session() as session:
        session.trust_env = False  # proxies and .netrc are looked up for every request otherwise
        begin = time.perf_counter()
        for path, content_type, body in steps:
            started = time.perf_counter()
            url = f"http://{order['host']}:{order['port']}{path}"
            answer = session.post(url, body, headers={"Content-Type": content_type}, timeout=_GIVE_UP_S)
            text = answer.text
            taken = (time.perf_counter() - started) * 1000
            statuses[answer.status_code] += 1
            if answer.status_code == _RIGHT:
                times.append(taken)
        seconds = time.perf_counter() - begin
    return {"ms": times, "seconds": seconds, "statuses": statuses, "answer": text}


def main() -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        order = json.loads(line)
        answer = (library_load if order.get("library") else raw_load)(order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
