"""What the parts of ``bench runtime`` rest on, without running one."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import pytest
from rich.console import Console

from benchmarks import http_load, runtime_box, runtime_ocr, runtime_serving
from benchmarks.harness import ROOT, Report
from benchmarks.runtime_pictures import checked_texts, pictures, upstream_lines
from benchmarks.runtime_plot import draw
from benchmarks.runtime_processes import Client, Loaded, Server, client, engine, mean_stages_ms
from edge.application import read_directory


def report(folder: Path) -> Report:
    return Report("try", Console(width=200, file=io.StringIO()), folder)


def loaded(*ms: float, failed: int = 0) -> Loaded:
    return Loaded(ms, sum(ms) / 1000, failed, "")


# the client


class Scripted:
    """A server that answers each request with the next of ``answers``; None closes the connection instead."""

    def __init__(self, answers: Sequence[bytes | None]) -> None:
        self._answers: Iterator[bytes | None] = iter(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[bytes] = []
        self.connections = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends accept
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connected:
                while request := _request(connected):
                    self.asked.append(request)
                    answer = next(self._answers)
                    if answer is None:
                        break
                    half = len(answer) // 2
                    connected.sendall(answer[:half])
                    connected.sendall(answer[half:])
                    if b"Connection: close" in answer:
                        break


def _request(connected: socket.socket) -> bytes:
    """A whole request, which may come in parts, or nothing at the end."""
    received = b""
    while part := connected.recv(65536):
        received += part
        head, ended, body = received.partition(b"\r\n\r\n")
        if ended and len(body) == int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return received
    return received


def answer(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


@pytest.fixture(scope="module")
def load() -> Iterator[Client]:
    with client() as process:
        yield process


def test_the_client_sends_the_plan_in_order_over_one_connection(load: Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "b").write_bytes(b"second")
    with Scripted([answer(200, b"1"), answer(503, b"2"), answer(200, b"three")]) as server:
        seen = load.load(server.url, [("/p", "x/y", tmp_path / name) for name in "aba"])
    assert [request.rpartition(b"\r\n\r\n")[2] for request in server.asked] == [b"first", b"second", b"first"]
    assert server.asked[0].startswith(b"POST /p HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nContent-Type: x/y\r\nContent-Length: 5\r\n" in server.asked[0]
    assert (len(seen.ms), seen.failed, seen.answer, server.connections) == (2, 1, "three", 1)
    assert seen.rate == pytest.approx(2 / seen.seconds)


def test_a_connection_that_the_server_ends_is_opened_again_and_nothing_is_lost(load: Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with Scripted([answer(200, b"", "Connection: close"), answer(200, b"")]) as server:
        seen = load.load(server.url, [("/", "x/y", tmp_path / "a")] * 2)
    assert (len(seen.ms), seen.failed, server.connections) == (2, 0, 2)


def test_a_request_without_an_answer_counts_as_failed(load: Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with Scripted([None, answer(200, b"")]) as server:
        seen = load.load(server.url, [("/", "x/y", tmp_path / "a")] * 2)
    assert (len(seen.ms), seen.failed) == (1, 1)


def test_the_library_client_sees_the_same(load: Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with Scripted([answer(200, b"1"), answer(503, b"2")]) as server:
        seen = load.load(server.url, [("/", "x/y", tmp_path / "a")] * 2, library=True)
    assert (len(seen.ms), seen.failed, seen.answer, server.connections) == (1, 1, "2", 1)


def test_an_answer_is_complete_with_its_last_byte() -> None:
    whole = answer(200, b"body")
    assert http_load.complete_answer(whole[:-1]) is None
    assert http_load.complete_answer(whole) == http_load.Answer(200, b"body", closes=False)
    with pytest.raises(ValueError, match="without a length"):
        http_load.complete_answer(b"HTTP/1.1 200 OK\r\n\r\n")


def test_a_server_that_answers_nobody_any_more_is_given_up_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_load, "_GIVE_UP_S", 0.2)
    body = tmp_path / "body"
    body.write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        order = {"host": host, "port": port, "clients": 3, "plan": [["/", "text/plain", str(body)]] * 5}
        assert http_load.raw_load(order)["statuses"] == {0: 3}


def test_stages_are_the_means_that_the_server_tells() -> None:
    exposition = """# HELP edgekit_stage_duration_seconds Of the stages.
edgekit_stage_duration_seconds_bucket{le="0.1",stage="queue"} 3.0
edgekit_stage_duration_seconds_count{stage="queue"} 4.0
edgekit_stage_duration_seconds_sum{stage="queue"} 0.01
edgekit_request_duration_seconds_count{route="/v1/ocr"} 2.0
edgekit_request_duration_seconds_sum{route="/v1/ocr"} 1.0
edgekit_request_duration_seconds_count{route="/v2"} 0.0
edgekit_request_duration_seconds_sum{route="/v2"} 0.0
"""
    assert mean_stages_ms(exposition) == {"queue": 2.5, "/v1/ocr": 500.0}


# turns and rows


def test_a_first_turn_counts_nothing_and_every_second_round_goes_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_serving, "_PAUSE_S", 0.0)
    called: list[str] = []

    def turn(name: str) -> Loaded:
        called.append(name)
        return loaded(float(len(called)))

    taken = runtime_serving.take_turns({name: lambda name=name: turn(name) for name in "ab"}, 2, lambda share: None)
    assert called == ["a", "b", "b", "a", "a", "b"]
    assert [each.ms for each in taken["a"]] == [(4.0,), (5.0,)]


def test_what_http_adds_is_taken_round_by_round(tmp_path: Path) -> None:
    written = report(tmp_path)
    taken = {
        "in process": [loaded(7.0, 7.0, 50.0), loaded(14.0)],
        "kit requests": [loaded(8.0, 8.0, 8.0), loaded(15.0)],
    }
    runtime_serving._overhead_row(written, "a model", taken)
    assert written.rows[0].figure is not None
    assert written.rows[0].figure.value == pytest.approx(1.0)
    assert written.rows[0].verdict == "met"


def test_errors_count_for_nothing_and_are_told(tmp_path: Path) -> None:
    written = report(tmp_path)
    taken = {"in process": [loaded(10.0, 10.0)]}
    taken |= {f"kit {clients}": [loaded(10.0, 10.0)] for clients in runtime_serving.CLIENTS}
    taken |= {"peer 1": [loaded(20.0)], "peer 8": [Loaded((), 0.001, 2, "")]}
    runtime_serving._server_rows(written, "/x", "peer", taken, "")
    rows = {row.what: row for row in written.rows}
    figures = {what: row.figure.value for what, row in rows.items() if row.figure}
    assert figures["/x, 8 clients: of the rate in process"] == pytest.approx(100)
    for clients in ("1 client", "8 clients"):
        assert figures[f"/x, {clients}: requests per second by peer's"] == pytest.approx(2.0)
    assert figures["/x, 1 client: p99 of peer by the kit's"] == pytest.approx(2.0)
    assert figures["/x, 8 clients: p99 of peer by the kit's"] == pytest.approx(16.0)  # eight in a row
    assert "errors" not in rows["/x, 1 client: requests per second by peer's"].note
    note = rows["/x, 8 clients: requests per second by peer's"].note
    assert "2 of 2 answers of peer were errors" in note
    assert "what it does for 1 client, 8 in a row, is compared instead" in note
    assert set(written.details["/x rates and p99 ms"]) == {"in process", "kit 1", "kit 8", "peer 1"}


def test_the_processor_time_of_a_servers_requests_is_told(tmp_path: Path) -> None:
    def a_while() -> Loaded:
        time.sleep(0.3)
        return loaded(10.0, 10.0)

    with subprocess.Popen([sys.executable, "-c", "while True: pass"], text=True) as busy:
        try:
            server = Server(busy, "", 0.0)
            seen = server.charged(a_while)
            busy.send_signal(signal.SIGSTOP)
            idle = server.charged(a_while)
        finally:
            busy.kill()
    assert idle.cpu_ms < seen.cpu_ms  # how much of a core the machine had for it is open
    written = report(tmp_path)
    taken = {"in process": [loaded(10.0)]} | {f"kit {clients}": [seen] for clients in runtime_serving.CLIENTS}
    runtime_serving._server_rows(written, "/x", "peer", taken, "No network.")
    assert f"Processor time of the server a request: kit 1 {seen.cpu_ms:.1f} ms, kit 8" in written.rows[0].note


def test_without_the_peer_its_rows_are_skipped_and_the_others_are_not(tmp_path: Path) -> None:
    written = report(tmp_path)
    taken = {"in process": [loaded(10.0)]} | {f"kit {clients}": [loaded(10.0)] for clients in runtime_serving.CLIENTS}
    runtime_serving._server_rows(written, "/x", "peer", taken, "No network.")
    assert [row.verdict for row in written.rows] == ["met", "skipped", "skipped"] * 2
    assert {row.note for row in written.rows if row.verdict == "skipped"} == {"No network."}


def test_without_the_public_pictures_the_rows_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_ocr, "pictures", lambda: [])
    written = report(tmp_path)
    runtime_ocr.measure_ocr(written, tmp_path, lambda stage, share: None)
    assert [row.verdict for row in written.rows] == ["skipped"] * len(runtime_ocr.CONTESTS)
    assert all("not beside this checkout" in row.note for row in written.rows)


# inputs


def test_the_public_pictures_are_59_and_know_which_lines_were_checked(shared: Path) -> None:
    found = pictures(shared / "data")
    assert len(found) == 59
    assert sum(bool(picture.lines) for picture in found) == 51
    assert all(picture.file.is_file() for picture in found)
    texts = [line.text for picture in found for line in picture.lines]
    assert "text" not in texts
    assert sum(text in checked_texts(shared / "data") for text in texts) >= 92
    assert upstream_lines(shared / "data")["ch_en_num.jpg"] == "正品促销"


def test_no_public_pictures_are_none(tmp_path: Path) -> None:
    assert pictures(tmp_path) == []


def test_the_application_has_200_transactions_in_order_and_its_files(tmp_path: Path) -> None:
    path, content_type, file = runtime_box.application_form(tmp_path)
    assert path == "/v1/score"
    boundary = content_type.partition("boundary=")[2].encode()
    parts = file.read_bytes().split(b"--" + boundary)[1:-1]
    assert [part.split(b'name="')[1].split(b'"')[0] for part in parts] == [
        b"application",
        b"id.jpg",
        b"income.png",
        b"statement.pdf",
    ]
    folder = tmp_path / "application"
    folder.mkdir()
    for part in parts:
        head, _, data = part.partition(b"\r\n\r\n")
        name = head.split(b'filename="')[1].split(b'"')[0].decode()
        (folder / name).write_bytes(data.removesuffix(b"\r\n"))
    application = read_directory(folder).application
    times = [each.time for each in application.transactions]
    assert len(times) == 200
    assert times == sorted(times)


def test_random_requests_are_the_same_for_the_same_seed_and_hold_both_kinds(tmp_path: Path) -> None:
    first, again = (runtime_box.random_plan(tmp_path / name, 50) for name in ("a", "b"))
    assert [(step[0], step[2].read_bytes()) for step in first] == [(step[0], step[2].read_bytes()) for step in again]
    assert {step[0] for step in first} == {"/v1/ocr", "/v1/text-risk"}
    for path, _, file in first:
        if path == "/v1/ocr":
            height, width = cv2.imread(str(file)).shape[:2]
            assert 1 <= height < 640
            assert 1 <= width < 640
        else:
            assert 1 <= len(json.loads(file.read_text("utf-8"))["texts"][0]) <= 400


def test_an_engine_answers_for_each_file_and_imports_the_kit_not_the_benchmark_of_its_name(
    ppocr_v6: Path, tmp_path: Path
) -> None:
    blank = tmp_path / "blank.png"
    cv2.imwrite(str(blank), np.full((64, 64, 3), 255, np.uint8))
    with engine(Path(sys.executable), "edgekit", blank, models=str(ppocr_v6)) as own:
        times, lines = own.read([blank, blank])
        assert (len(times), lines) == (2, [[], []])
        assert own.precisions == ["float32"]
        assert own.peak_mb > 100
        assert sum(own.profile([blank]).values()) == pytest.approx(1, abs=0.01)


def test_the_picture_has_a_column_for_each_path_and_one_for_memory(tmp_path: Path) -> None:
    written = report(tmp_path)
    draw(written, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    written.details["/x rates and p99 ms"] = {"kit 1": {"rate": [10.0, 11.0], "p99": 12.0}}
    draw(written, tmp_path / "one.png")
    written.details["RSS MB after requests"] = {250: 300.0, 500: 301.0}
    draw(written, tmp_path / "two.png")
    one, two = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("one", "two"))
    assert two.shape[1] == 2 * one.shape[1]


def test_the_scripts_for_other_environments_import_nothing_of_the_kit_at_the_top() -> None:
    code = "import sys, benchmarks.engine, benchmarks.http_load; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"runtime", "compress", "numpy", "cv2", "requests"} & set(result.stdout.split())
