"""Updates from a static file server over HTTPS, and from one that is hostile, all of it on loopback."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from devices.errors import UpdateEndlessError, UpdateError, UpdateSlowError
from devices.update.sources import Limits
from tests.devices.update.bank import CLASS, REGION, Bank, Branch

IMPATIENT = Limits(silence_s=1.5, patience_s=1.5, min_bytes_per_s=200)


def write_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, made now, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "headquarters (invented)")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    files = directory / "server.pem", directory / "server.key"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


class Server:
    """A static file server whose answers to one path can be made hostile: ``attack(handler)`` writes to the socket."""

    def __init__(self, directory: Path, certificate: Path, key: Path) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.connections = 0
        self.hostile: dict[str, Any] = {}
        server = self

        class Handler(SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def do_GET(self) -> None:
                server.asked.append((self.path, self.headers.get("Range")))
                for part, attack in server.hostile.items():
                    if part in self.path:
                        self.close_connection = True
                        attack(self)
                        return
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http = ThreadingHTTPServer(
            ("127.0.0.1", 0),
            lambda *arguments: Handler(*arguments, directory=str(directory)),  # type: ignore[arg-type]
        )
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up here on purpose
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def trickle_body(handler: SimpleHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    trickle(handler)


def trickle_head(handler: SimpleHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    trickle(handler)


def trickle(handler: SimpleHTTPRequestHandler) -> None:
    for _ in range(400):  # a byte now and then, so that no single wait is long
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def fall_silent(handler: SimpleHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.wfile.flush()
    time.sleep(20)


def pour(handler: SimpleHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(b" " * 65536)


def hang_up(handler: SimpleHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "3000")
    handler.end_headers()
    handler.wfile.write(b"one" * 400)


def resume(handler: SimpleHTTPRequestHandler) -> None:
    begin = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    data = (b"one" * 1000)[begin:]
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {begin}-2999/3000")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def send_elsewhere(handler: SimpleHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/timestamp.json")
    handler.end_headers()


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank(tmp_path / "bank").found()
    bank.release(model_onnx=b"one" * 1000)
    return bank


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(bank: Bank, certificate: tuple[Path, Path]) -> Iterator[Server]:
    server = Server(bank.repo, *certificate)
    yield server
    server.close()


@pytest.fixture
def branch(bank: Bank, tmp_path: Path) -> Branch:
    """A device that knows the bank's metadata and has fetched nothing."""
    branch = Branch(tmp_path / "branch", (bank.repo / "root.json").read_bytes())
    branch.client(bank.repo).check(REGION, CLASS)
    return branch


def update(branch: Branch, server: Server, certificate: tuple[Path, Path], limits: Limits | None = None) -> int:
    return branch.update(server.url, ca_file=certificate[0], limits=limits).sequence


def test_a_device_updates_from_a_static_file_server(
    branch: Branch, server: Server, certificate: tuple[Path, Path]
) -> None:
    assert update(branch, server, certificate) == 1
    model = next(path for path in branch.downloads.iterdir() if path.stat().st_size == 3000)
    assert model.read_bytes() == b"one" * 1000
    assert all(asked is None for _, asked in server.asked)
    assert server.connections <= 2  # a handshake for each file would take longer than the files


def test_a_server_with_an_unknown_certificate_is_not_read(branch: Branch, server: Server) -> None:
    with pytest.raises(UpdateError, match="CERTIFICATE_VERIFY_FAILED"):
        branch.update(server.url)
    assert server.asked == []


def test_a_certificate_that_a_clock_at_1970_does_not_take_is_told_with_what_the_clock_says(
    branch: Branch, server: Server
) -> None:
    branch.wall = datetime(1970, 1, 1, tzinfo=UTC)
    with pytest.raises(UpdateError, match=r"CERTIFICATE_VERIFY_FAILED.* This machine's clock says 1970-01-01"):
        branch.update(server.url)


def test_certificates_that_cannot_be_read_are_named(branch: Branch, tmp_path: Path) -> None:
    with pytest.raises(UpdateError, match=r"none.pem cannot be read"):
        branch.client("https://127.0.0.1:1", ca_file=tmp_path / "none.pem")


def test_a_server_that_is_down_is_said_to_be(branch: Branch, certificate: tuple[Path, Path]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UpdateError, match="Connection refused") as caught:
            branch.update(url, ca_file=certificate[0])
    assert "object at 0x" not in caught.value.problem


@pytest.mark.parametrize("attack", [trickle_body, trickle_head, fall_silent])
@pytest.mark.parametrize("path", ["timestamp.json", "model.onnx"])
def test_slow_retrieval_is_given_up_on(
    branch: Branch, bank: Bank, server: Server, certificate: tuple[Path, Path], attack: Any, path: str
) -> None:
    if path == "model.onnx":
        path = bank.releases[0].bundle.files[path].sha256
    server.hostile[path] = attack
    before = branch.state()
    started = time.monotonic()
    with pytest.raises(UpdateSlowError, match=path):
        update(branch, server, certificate, IMPATIENT)
    assert time.monotonic() - started < 8
    assert branch.state() == before
    server.hostile.clear()
    assert update(branch, server, certificate) == 1


@pytest.mark.parametrize("path", ["timestamp.json", "2.root.json", "targets/blobs"])
def test_endless_data_is_cut_off(branch: Branch, server: Server, certificate: tuple[Path, Path], path: str) -> None:
    server.hostile[path] = pour
    with pytest.raises(UpdateEndlessError, match=path):
        update(branch, server, certificate)
    assert (branch.slot / "model.onnx").read_bytes() == b"the model that serves"
    assert sum(file.stat().st_size for file in branch.downloads.rglob("*") if file.is_file()) <= 3000


def test_after_a_broken_line_only_the_rest_travels(
    branch: Branch, bank: Bank, server: Server, certificate: tuple[Path, Path]
) -> None:
    sha256 = bank.releases[0].bundle.files["model.onnx"].sha256
    server.hostile[sha256] = hang_up
    with pytest.raises(UpdateError, match=sha256):
        update(branch, server, certificate)
    assert (branch.downloads / f"{sha256}.part").stat().st_size == 1200
    server.hostile[sha256] = resume
    assert update(branch, server, certificate) == 1
    assert (f"/targets/blobs/{sha256}.{sha256}", "bytes=1200-") in server.asked


def test_a_server_without_ranges_is_read_from_the_beginning(
    branch: Branch, bank: Bank, server: Server, certificate: tuple[Path, Path]
) -> None:
    sha256 = bank.releases[0].bundle.files["model.onnx"].sha256
    branch.downloads.mkdir()
    (branch.downloads / f"{sha256}.part").write_bytes(b"one" * 400)
    assert update(branch, server, certificate) == 1  # Python's own server ignores Range and answers 200
    assert (f"/targets/blobs/{sha256}.{sha256}", "bytes=1200-") in server.asked


def test_a_redirect_is_not_followed(branch: Branch, server: Server, certificate: tuple[Path, Path]) -> None:
    server.hostile["timestamp.json"] = send_elsewhere
    with pytest.raises(UpdateError, match="the server answers 302"):
        update(branch, server, certificate)


def test_no_update_asks_for_the_same_release_twice(
    branch: Branch, server: Server, certificate: tuple[Path, Path]
) -> None:
    update(branch, server, certificate)
    server.asked.clear()
    branch.client(server.url, ca_file=certificate[0]).check(REGION, CLASS)
    assert [path.rpartition(".json")[0].rpartition("/")[2].rpartition(".")[2] for path, _ in server.asked][:2] == [
        "root",
        "timestamp",
    ]
    assert not [path for path, _ in server.asked if "snapshot" in path or "targets.json" in path or "blobs" in path]
