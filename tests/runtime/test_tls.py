"""TLS on a real socket: handshake, bytes both ways, cut-offs, an orderly end; and certificates that are refused."""

from __future__ import annotations

import http.client
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from devices.errors import CertificateError
from runtime.tls import load_certificate

ROOT = Path(__file__).parents[2]
# the TLS end is a process of its own here as in service; its listening socket is handed over by number
PROGRAM = """
import socket, sys
from pathlib import Path
from runtime.tls import load_certificate, serve_tls
number, upstream, certificate, key, grace_s = sys.argv[1:]
serve_tls(socket.socket(fileno=int(number)), Path(upstream), load_certificate(Path(certificate), Path(key)),
          grace_s=float(grace_s))
"""


def write_certificate(
    folder: Path,
    *,
    names: tuple[str, ...] = ("localhost", "branch-7.bank.example"),
    days: int = 365,
    encryption: KeySerializationEncryption | None = None,
) -> tuple[Path, Path]:
    """A self-made certificate and its key, as PEM files in ``folder``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "edgekit test")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
    )
    if names:
        alternatives = [x509.DNSName(name) for name in names] + [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = folder / "certificate.pem"
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    pem = folder / "key.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    return certificate, pem


@dataclass
class Worker:
    """A plain server on a Unix socket that a test scripts by hand."""

    listener: socket.socket

    def accept(self) -> socket.socket:
        self.listener.settimeout(10)
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        return connection


@dataclass
class End:
    """A running TLS end."""

    port: int
    process: subprocess.Popen[str]
    context: ssl.SSLContext

    def connect(self) -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.context.wrap_socket(raw, server_hostname="localhost")


@pytest.fixture
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(tmp_path_factory.mktemp("w") / "s"))
        listener.listen()
        yield Worker(listener)


@contextmanager
def serving(worker: Worker, folder: Path, grace_s: float = 10.0) -> Iterator[End]:
    certificate, key = write_certificate(folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        arguments = [listener.fileno(), worker.listener.getsockname(), certificate, key, grace_s]
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)],
            cwd=ROOT,
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        yield End(port, process, ssl.create_default_context(cafile=str(certificate)))
    finally:
        process.kill()
        process.wait(timeout=10)
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture
def end(worker: Worker, tmp_path: Path) -> Iterator[End]:
    with serving(worker, tmp_path) as running:
        yield running


def test_bytes_pass_both_ways_however_many(worker: Worker, end: End) -> None:
    blob = os.urandom(3_000_000)
    received = bytearray()

    def answer() -> None:
        with worker.accept() as connection:
            while len(received) < len(blob):
                received.extend(connection.recv(1 << 16))
            connection.sendall(blob[::-1])

    thread = threading.Thread(target=answer)
    thread.start()
    with end.connect() as client:
        assert client.version() in ("TLSv1.2", "TLSv1.3")
        client.sendall(blob)
        got = bytearray()
        while data := client.recv(1 << 16):
            got.extend(data)
    thread.join(10)
    assert bytes(received) == blob
    assert bytes(got) == blob[::-1]


def test_a_slow_reader_gets_the_whole_answer_though_the_worker_has_long_closed(worker: Worker, end: End) -> None:
    blob = os.urandom(8_000_000)

    def answer() -> None:
        with worker.accept() as connection:
            connection.sendall(blob)

    thread = threading.Thread(target=answer)
    thread.start()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)  # so little lies in the kernel
    raw.settimeout(10)
    raw.connect(("127.0.0.1", end.port))
    got = bytearray()
    with end.context.wrap_socket(raw, server_hostname="localhost") as client:
        while data := client.recv(1 << 16):
            got.extend(data)
            time.sleep(0.001)
    thread.join(10)
    assert bytes(got) == blob


def test_an_http_client_that_verifies_the_certificate_is_answered(worker: Worker, end: End) -> None:
    def answer() -> None:
        with worker.accept() as connection:
            assert b"GET /v2 HTTP/1.1" in connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    thread = threading.Thread(target=answer)
    thread.start()
    client = http.client.HTTPSConnection("localhost", end.port, context=end.context, timeout=10)
    client.request("GET", "/v2")
    assert client.getresponse().read() == b"ok"
    client.close()
    thread.join(10)


def test_the_worker_learns_that_a_client_is_gone(worker: Worker, end: End) -> None:
    client = end.connect()
    client.sendall(b"POST")
    with worker.accept() as connection:
        assert connection.recv(10) == b"POST"
        client.close()
        assert connection.recv(10) == b""


def test_plain_http_and_old_tls_get_no_answer_and_the_next_caller_does(worker: Worker, end: End) -> None:
    with socket.create_connection(("127.0.0.1", end.port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in plain.recv(100)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", end.port), timeout=10) as raw, pytest.raises(OSError, match="."):
        old.wrap_socket(raw)
    with end.connect() as client:
        client.sendall(b"x")
        with worker.accept() as connection:
            assert connection.recv(1) == b"x"


def test_after_sigterm_open_connections_are_finished_and_new_ones_refused(worker: Worker, end: End) -> None:
    with end.connect() as client:
        client.sendall(b"?")
        with worker.accept() as connection:
            assert connection.recv(1) == b"?"
            end.process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                try:
                    socket.create_connection(("127.0.0.1", end.port), timeout=5).close()
                except (ConnectionRefusedError, ConnectionResetError):  # reset: it closed in this very moment
                    break
                time.sleep(0.2)  # few enough to fit into the kernel's queue, where they would wait unrefused
            else:
                pytest.fail("it still accepts")
            assert end.process.poll() is None
            connection.sendall(b"!")
        assert client.recv(10) == b"!"
    assert end.process.wait(timeout=10) == 0


def test_a_connection_that_outlives_the_grace_is_cut_off(worker: Worker, tmp_path: Path) -> None:
    with serving(worker, tmp_path, grace_s=0.2) as end, end.connect() as client:
        client.sendall(b"?")
        with worker.accept():
            end.process.send_signal(signal.SIGTERM)
            assert end.process.wait(timeout=10) == 0


def test_a_certificate_knows_the_names_that_it_is_for(tmp_path: Path) -> None:
    certificate = load_certificate(*write_certificate(tmp_path, names=("LOCALHOST", "*.bank.example")))
    assert certificate.names == {"localhost", "*.bank.example", "127.0.0.1"}


def test_a_certificate_that_has_run_out_is_served_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_certificate(*write_certificate(tmp_path, days=365))
    assert not caplog.messages
    load_certificate(*write_certificate(tmp_path, days=-1))
    assert "good until" in caplog.text


def test_what_cannot_be_served_is_refused_with_the_reason(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    certificate, key = write_certificate(first)
    _, other_key = write_certificate(second)
    with pytest.raises(CertificateError, match="key values mismatch"):
        load_certificate(certificate, other_key)
    with pytest.raises(CertificateError, match="No such file"):
        load_certificate(certificate, tmp_path / "none.pem")
    with pytest.raises(CertificateError, match="cannot be used"):
        load_certificate(key, key)
    with pytest.raises(CertificateError, match="protected by a password"):
        load_certificate(*write_certificate(first, encryption=BestAvailableEncryption(b"secret")))
    with pytest.raises(CertificateError, match="names no host"):
        load_certificate(*write_certificate(first, names=()))
