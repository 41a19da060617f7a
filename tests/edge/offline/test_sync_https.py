"""The collector as a process of its own behind TLS, and what goes wrong on the way to it."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.offline_sync import collector
from devices.clock import Clock
from devices.errors import (
    SyncCertificateError,
    SyncError,
    SyncRefusedError,
    SyncSettingsError,
    SyncUnregisteredError,
)
from edge.collector.app import create_collector
from edge.collector.keys import SEALING_NAME, make_keys, sealing_key, signing_key
from edge.offline.sync import Session
from edge.offline.sync_credentials import Credentials
from edge.offline.sync_https import PATH, HttpsUplink
from edge.offline.sync_message import MESSAGE_MAX_BYTES, Call
from edge.offline.sync_voucher import vouch
from tests.edge.authority import NOW, Authority
from tests.edge.branches import Branch, Headquarters


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("bank") / "ca")


def session(branch: Branch, url: str, credentials: Credentials = Credentials(), clock: Clock | None = None) -> Session:  # noqa: B008
    clock = clock or branch.clock
    pack = partial(branch.line.pack, vouch=partial(vouch, credentials, branch.keys.public_bytes))
    uplink = HttpsUplink(url, pack, lambda: credentials, clock)
    where = {"clock": clock, "state": branch.folder}
    return Session(branch.journal, branch.keys, uplink, branch.headquarters.policy(), **where)


def test_journals_arrive_over_tls_from_devices_with_a_certificate_of_the_bank(
    branch: Branch, headquarters: Headquarters, authority: Authority
) -> None:
    make_keys(headquarters.folder)
    headquarters.signing = signing_key(headquarters.folder)
    headquarters.sealing = sealing_key(headquarters.folder / SEALING_NAME)
    certificate, key = authority.issue("collector")
    device = Credentials(authority.path, *authority.issue("branch-7"))
    for number in range(20):
        branch.decide(number, papers={"receipt": bytes(300_000)})
    options = ["--tls-cert", str(certificate), "--tls-key", str(key), "--device-ca", str(authority.path)]
    with collector(headquarters.folder, *options) as url:
        assert url.startswith("https://")
        assert session(branch, url, device).run().sent == 22

        other = Credentials(authority.path, *authority.issue("branch-8"))
        with pytest.raises(SyncUnregisteredError, match="certificate CN=branch-7, and shows CN=branch-8"):
            session(branch, url, other).run()

        nobody = Credentials(authority.path)
        with pytest.raises(SyncError, match="cannot be reached"):
            session(branch, url, nobody).run()

        ended = Credentials(authority.path, *authority.issue("old", until=NOW - timedelta(days=3)))
        with pytest.raises(SyncCertificateError, match="This device's certificate ended on"):
            session(branch, url, ended, Clock(None)).run()

        system = Credentials(None, device.certificate, device.key)
        with pytest.raises(SyncCertificateError, match="is not accepted: self-signed certificate in.*chain. Every"):
            session(branch, url, system).run()
    assert sorted(headquarters.entries(branch.device)) == list(range(1, 23))


def test_a_collector_whose_certificate_ended_is_said_with_the_clock(
    branch: Branch, headquarters: Headquarters, authority: Authority
) -> None:
    make_keys(headquarters.folder)
    certificate, key = authority.issue("ended", until=NOW - timedelta(days=1))
    options = ["--tls-cert", str(certificate), "--tls-key", str(key), "--device-ca", str(authority.path)]
    with (
        collector(headquarters.folder, *options) as url,
        pytest.raises(SyncCertificateError, match="certificate has expired.*This machine's clock says"),
    ):
        session(branch, url, Credentials(authority.path)).run()


Handler = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def misbehaving(answer: Handler) -> Iterator[str]:
    """An HTTP server that does what ``answer`` says."""

    class Request(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Request)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _status(code: int, **headers: str) -> Handler:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def _torn(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"half")


def _hang_up(request: http.server.BaseHTTPRequestHandler) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


def _endless(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        for _ in range(1000):
            request.wfile.write(bytes(64 * 1024))
    except OSError:
        return


FAULTS = {
    "500 for a day": (_status(500), SyncError, "answers 500"),
    "a redirect": (_status(302, Location="http://127.0.0.1:1/"), SyncRefusedError, "302"),
    "a kit it does not know": (_status(400), SyncRefusedError, "400"),
    "half an answer": (_torn, SyncError, "cannot be reached"),
    "a line cut in the middle": (_hang_up, SyncError, "cannot be reached"),
    "an answer without end": (_endless, SyncError, "does not end"),
    "an empty answer": (_status(200), SyncError, "none that headquarters' collector gives"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_the_other_side_is_one_sentence_and_loses_nothing(branch: Branch, fault: str) -> None:
    answer, kind, words = FAULTS[fault]
    branch.decide(1)
    with misbehaving(answer) as url, pytest.raises(kind, match=words):
        session(branch, url).run()
    assert branch.journal.backlog() == 2


def test_headquarters_may_ask_for_a_pause_but_not_for_a_long_one(branch: Branch) -> None:
    for asked, waited in (("120", 120.0), ("99999999", 3600.0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0)):
        with misbehaving(_status(503, Retry_After=asked)) as url, pytest.raises(SyncError) as caught:
            session(branch, url).run()
        assert caught.value.retry_after_s == waited


def test_no_line_is_one_sentence(branch: Branch) -> None:
    with pytest.raises(SyncError, match="cannot be reached: .*refused"):
        session(branch, "http://127.0.0.1:1").run()


def test_a_certificate_that_cannot_be_read_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    damaged = tmp_path / "device.pem"
    damaged.write_text("nothing")
    with pytest.raises(SyncSettingsError, match="cannot be used"):
        Credentials(None, damaged, damaged).context()


def test_the_collector_refuses_what_is_no_message(headquarters: Headquarters) -> None:
    client = create_collector(headquarters.store, headquarters.signing).test_client()
    assert client.get("/healthz").status_code == 200
    for body in (b"", b"nothing", bytes(100), b"\x28\xb5\x2f\xfd" + bytes(50)):
        answer = client.post(PATH, data=body)
        assert answer.status_code == 400
        assert answer.json is not None
        assert answer.json["code"] == "COLLECTOR-002"
    assert client.post(PATH, data=bytes(MESSAGE_MAX_BYTES + 1)).status_code == 413


def test_a_collector_with_a_full_disk_asks_to_come_again(branch: Branch, headquarters: Headquarters) -> None:
    client = create_collector(headquarters.store, headquarters.signing).test_client()
    head = branch.journal.head()
    call = Call.make(branch.time(), (head.seq, head.hash), 0, [], headquarters.sealing.public_key())
    headquarters.store._do("PRAGMA query_only = ON")
    answer = client.post(PATH, data=branch.line.pack([], call))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
