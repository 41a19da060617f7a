"""The HTTP application over small stand-in services: routes, protocol v2, and every error as a problem document."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from PIL import Image

from devices.errors import ApplicationError
from runtime.app import MAX_BODY_BYTES, Limits, SentApplication, Services, create_app
from runtime.budget import UNLIMITED, Budget
from runtime.ocr.line import Line
from runtime.predictor import TensorSpec, check_feeds
from runtime.readable import Unreadable


class Doubler:
    """y = 2 x, with x (N, 2) float32."""

    name, backend, precision, sha256 = "doubler", "openvino", "fp32", "0" * 64
    inputs = (TensorSpec("x", "float32", (None, 2)),)
    outputs = (TensorSpec("y", "float32", (None, 2)),)

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        return {"y": 2 * check_feeds(self.name, self.inputs, feeds)["x"]}


class Reader:
    """Reads one line that says how large the picture is."""

    def read(self, image: NDArray[np.uint8], budget: Budget = UNLIMITED) -> tuple[Line, ...]:
        height, width = image.shape[:2]
        return (Line(f"{width}x{height}", 0.5, ((0, 0), (1, 0), (1, 1), (0, 1))),)


@dataclass
class Label:
    text: str
    labels: dict[str, float]


class Labeller:
    def classify(self, texts: Sequence[str], *, budget: Budget = UNLIMITED) -> list[Label]:
        return [Label(text, {"normal": len(text) / 100}) for text in texts]

    def unreadable(self, text: str) -> Unreadable | None:
        return "not_chinese" if text.isascii() else None


def score(sent: SentApplication, budget: Budget) -> dict[str, Any]:
    if sent.application == b"bad":
        raise ApplicationError("application.json is bad.")
    if sent.application == b"bug":
        raise ZeroDivisionError
    return {"got": sent.application.decode(), "files": {file.filename: len(file.data) for file in sent.files}}


@pytest.fixture
def client() -> FlaskClient:
    services = Services("1.2.3", {"doubler": Doubler()}, Reader(), Labeller(), score, lambda: {"device_id": "d"})  # type: ignore[arg-type, dict-item]
    return create_app(services).test_client()


def png(width: int, height: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(data, "PNG")
    return data.getvalue()


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    document: dict[str, Any] = json.loads(response.data)
    assert document["status"] == status
    assert all(document[key] for key in ("type", "title", "code", "problem", "state", "remedy", "error"))
    return document


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_ocr_decides_by_the_bytes_not_by_the_content_type(client: FlaskClient, content_type: str) -> None:
    answer = client.post("/v1/ocr", data=png(40, 30), content_type=content_type).json
    assert answer["pages"][0]["width"] == 40
    assert answer["pages"][0]["lines"][0] == {
        "text": "40x30",
        "confidence": 0.5,
        "box": [[0, 0], [1, 0], [1, 1], [0, 1]],
    }


def test_ocr_takes_a_multipart_file(client: FlaskClient) -> None:
    answer = client.post("/v1/ocr", data={"file": (io.BytesIO(png(7, 9)), "a.png")})
    assert answer.json["pages"][0]["lines"][0]["text"] == "7x9"


@pytest.mark.parametrize(
    ("body", "code"), [(b"", "INPUT-001"), (b"hello", "IMAGE-001"), (b"%PDF-1.7 broken", "PDF-001")]
)
def test_what_is_no_picture_is_a_problem_and_the_next_request_works(
    client: FlaskClient, body: bytes, code: str
) -> None:
    assert problem(client.post("/v1/ocr", data=body), 400)["code"] == code
    assert client.post("/v1/ocr", data=png(2, 2)).status_code == 200


def test_texts_are_labelled_in_order(client: FlaskClient) -> None:
    answer = client.post("/v1/text-risk", json={"texts": ["装修", "借新还旧"]}).json
    assert answer["results"] == [
        {"text": "装修", "labels": {"normal": 0.02}},
        {"text": "借新还旧", "labels": {"normal": 0.04}},
    ]


def test_of_a_text_that_cannot_be_judged_it_is_said_why(client: FlaskClient) -> None:
    answer = client.post("/v1/text-risk", json={"texts": ["asdf", "装修"]}).json
    assert answer["results"][0] == {"text": "asdf", "labels": {"normal": 0.04}, "unreadable": "not_chinese"}
    assert answer["results"][1] == {"text": "装修", "labels": {"normal": 0.02}}


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b'{"texts": "a"}', b'{"texts": [1]}', b'{"texts": []}', b'{"texts": ["a", " "]}']
    + [b'{"texts": ["\\ud800"]}', b'{"texts": ["\\ud83d", "\\ude00"]}', b"[" * 100_000]
    + [json.dumps({"texts": ["a"] * 257}).encode()],
)
def test_wrong_text_requests_are_problems(client: FlaskClient, body: bytes) -> None:
    assert problem(client.post("/v1/text-risk", data=body), 400)["code"] == "REQ-001"


def test_score_hands_over_the_application_and_the_named_files(client: FlaskClient) -> None:
    parts = {"application": (io.BytesIO(b"{}"), "application.json"), "id": (io.BytesIO(b"12345"), "id.jpg")}
    assert client.post("/v1/score", data=parts).json == {"got": "{}", "files": {"id.jpg": 5}}
    form_field = {"application": "{}"}
    answer = client.post("/v1/score", data=form_field, content_type="multipart/form-data")
    assert answer.json == {"got": "{}", "files": {}}


def test_score_without_the_application_or_without_parts_is_a_problem(client: FlaskClient) -> None:
    assert "0 parts" in problem(client.post("/v1/score", data={"id": (io.BytesIO(b"1"), "id.jpg")}), 400)["problem"]
    assert "multipart" in problem(client.post("/v1/score", json={}), 400)["problem"]


def test_an_error_of_the_kit_keeps_its_code_and_one_of_ours_hides_its_detail(client: FlaskClient) -> None:
    bad = {"application": (io.BytesIO(b"bad"), "application.json")}
    assert problem(client.post("/v1/score", data=bad), 400)["code"] == "APP-001"
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    bug = {"application": (io.BytesIO(b"bug"), "application.json")}
    assert "ZeroDivision" not in json.dumps(problem(client.post("/v1/score", data=bug), 500))


def test_unknown_paths_methods_and_models_are_problems(client: FlaskClient) -> None:
    assert "/nothing" in problem(client.get("/nothing"), 404)["problem"]
    response = client.get("/v1/score")
    problem(response, 405)
    assert "POST" in response.headers["Allow"]
    problem(client.get("/v2/models/none"), 404)
    problem(client.post("/v2/models/none/infer", json={"inputs": []}), 404)


def test_a_body_over_the_limit_is_refused_before_it_is_read(client: FlaskClient) -> None:
    claimed = {"CONTENT_LENGTH": str(MAX_BODY_BYTES + 1)}
    problem(client.post("/v1/ocr", data=b"x", environ_overrides=claimed), 413)


def infer(client: FlaskClient, **changes: Any) -> Any:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} | changes
    return client.post("/v2/models/doubler/infer", json={"id": "7", "inputs": [tensor]})


def test_protocol_v2_describes_server_and_model(client: FlaskClient) -> None:
    server = client.get("/v2").json
    assert (server["name"], server["version"]) == ("edgekit", "1.2.3")
    assert "binary_tensor_data" in server["extensions"]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    described = client.get("/v2/models/doubler").json
    assert described["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert client.get("/v2/models/doubler/ready").json["ready"] is True


def test_protocol_v2_infers_from_json(client: FlaskClient) -> None:
    answer = infer(client).json
    assert answer["id"] == "7"
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 4.0]}]
    assert infer(client, data=[[1, 2]]).json["outputs"][0]["data"] == [2.0, 4.0]


def test_protocol_v2_infers_from_and_to_binary_tensors(client: FlaskClient) -> None:
    raw = np.array([[1, 2], [3, 4]], "<f4").tobytes()
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = client.post("/v2/models/doubler/infer", data=head + raw, headers=headers)
    length = int(response.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(response.data[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(response.data) - length
    np.testing.assert_array_equal(np.frombuffer(response.data[length:], "<f4"), [2, 4, 6, 8])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "z"}, "no input 'z'"),
        ({"shape": [1, 3], "data": [1, 2, 3]}, "shape 1x3; expected ?x2"),
        ({"shape": [2, 2]}, "has 2 values"),
        ({"shape": [-1, 2]}, "expected a list of sizes"),
        ({"datatype": "INT64"}, "is int64; expected float32"),
        ({"datatype": "BYTES"}, "known are BOOL"),
        ({"data": ["a", "b"]}, "values that are no float32"),
        ({"data": None}, "no float32"),
        ({"data": [None, 1]}, "no float32"),
        ({"data": ["1", "2"]}, "no float32"),
        ({"datatype": "INT64", "data": [1.5, 2]}, "not whole"),
        ({"datatype": "UINT8", "data": [-1, 2]}, "out of range"),
        ({"parameters": {"binary_data_size": 8}}, "0 bytes are left"),
    ],
)
def test_protocol_v2_refuses_wrong_tensors_by_name(client: FlaskClient, changes: dict[str, Any], said: str) -> None:
    document = problem(infer(client, **changes), 400)
    assert said in document["problem"]
    assert infer(client).status_code == 200


def test_nan_in_a_json_answer_is_refused_with_a_reason(client: FlaskClient) -> None:
    body = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [NaN, 1]}]}'
    assert "NaN" in problem(client.post("/v2/models/doubler/infer", data=body), 400)["problem"]


def test_metrics_count_by_route_and_status_never_by_path(client: FlaskClient) -> None:
    client.get("/v1/status")
    client.get("/some/private/name")
    text = client.get("/metrics").text
    assert 'edgekit_requests_total{route="/v1/status",status="200"} 1.0' in text
    assert 'edgekit_requests_total{route="unmatched",status="404"} 1.0' in text
    assert "private" not in text
    assert 'edgekit_model_info{backend="openvino",model="doubler"} 1.0' in text


class Busy:
    """An app whose score takes until it is told to end, with one place and room for one more."""

    def __init__(self) -> None:
        self.entered, self.end = threading.Semaphore(0), threading.Event()
        services = Services(
            "1", {"doubler": Doubler()}, Reader(), Labeller(), self.score, lambda: {"device_id": "d"},  # type: ignore[arg-type, dict-item]
            Limits(requests=1, texts=1, queue=1, timeout_ms=20_000),
        )  # fmt: skip
        self.app = create_app(services)
        self.threads = ThreadPoolExecutor(8)

    def score(self, _sent: SentApplication, budget: Budget) -> dict[str, Any]:
        self.entered.release()
        self.remaining_s = budget.remaining_s
        while not self.end.wait(0.005):
            with budget.stage("ocr"):
                pass
        return {"score": 1}

    def post(self, *, gone: Callable[[], bool] | None = None, timeout_ms: str | None = None) -> Any:
        headers = {"X-Timeout-Ms": timeout_ms} if timeout_ms is not None else {}
        environ = {"waitress.client_disconnected": gone} if gone else {}
        parts = {"application": (io.BytesIO(b"{}"), "application.json")}
        return self.app.test_client().post("/v1/score", data=parts, headers=headers, environ_overrides=environ)

    def metric(self, line: str) -> str:
        return next(each for each in self.app.test_client().get("/metrics").text.splitlines() if each.startswith(line))

    def until_waiting(self, count: int) -> None:
        deadline = time.monotonic() + 5
        while not self.metric('edgekit_requests_waiting{door="main"}').endswith(f" {count}.0"):
            assert time.monotonic() < deadline
            time.sleep(0.005)


@pytest.fixture
def busy() -> Iterator[Busy]:
    busy = Busy()
    yield busy
    busy.end.set()
    busy.threads.shutdown()


def test_a_full_queue_refuses_with_retry_after_while_everything_light_still_answers(busy: Busy) -> None:
    running = busy.threads.submit(busy.post)
    busy.entered.acquire(timeout=5)
    waiting = busy.threads.submit(busy.post)
    busy.until_waiting(1)
    refused = busy.post()
    assert problem(refused, 503)["code"] == "SERVE-002"
    assert int(refused.headers["Retry-After"]) >= 1
    client = busy.app.test_client()
    for path in (
        "/v1/status",
        "/metrics",
        "/openapi.json",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/doubler",
    ):
        assert client.get(path).status_code == 200
    assert client.post("/v1/text-risk", json={"texts": ["a"]}).status_code == 200  # has a door of its own
    for refused in (client.post("/v1/ocr", data=png(2, 2)), infer(client)):
        assert problem(refused, 503)["code"] == "SERVE-002"
    busy.end.set()
    assert (running.result(5).json, waiting.result(5).json) == ({"score": 1}, {"score": 1})
    assert busy.post().status_code == 200
    assert busy.metric('edgekit_requests_rejected_total{reason="queue_full"}').endswith(" 3.0")
    assert busy.metric('edgekit_requests_running{door="main"}').endswith(" 0.0")


def test_a_request_is_given_up_at_its_deadline_whether_it_runs_or_waits(busy: Busy) -> None:
    running = busy.threads.submit(busy.post, timeout_ms="400")
    busy.entered.acquire(timeout=5)
    waited = busy.post(timeout_ms="50")
    assert problem(waited, 503)["code"] == "SERVE-003"
    assert int(waited.headers["Retry-After"]) >= 1
    assert problem(running.result(5), 503)["code"] == "SERVE-003"
    busy.end.set()
    assert busy.post(timeout_ms="99999").status_code == 200
    assert 15 < busy.remaining_s <= 20  # the server's own limit is the lower one
    assert busy.metric('edgekit_requests_rejected_total{reason="deadline"}').endswith(" 2.0")


def test_a_client_that_goes_away_frees_his_place_whether_he_runs_or_waits(busy: Busy) -> None:
    gone: list[bool] = []
    leave = lambda: bool(gone)  # noqa: E731
    futures = [busy.threads.submit(busy.post, gone=leave)]
    busy.entered.acquire(timeout=5)
    futures.append(busy.threads.submit(busy.post, gone=leave))
    busy.until_waiting(1)
    gone.append(True)
    assert [problem(future.result(5), 503)["code"] for future in futures] == ["SERVE-004"] * 2
    assert not busy.entered.acquire(timeout=0)  # the second one never ran
    busy.end.set()
    assert busy.post().status_code == 200
    assert busy.metric('edgekit_requests_rejected_total{reason="client_gone"}').endswith(" 2.0")


@pytest.mark.parametrize("asked", ["0", "-1", "1.5", "abc", "", "1e3", "٣", "1234567890"])
def test_a_timeout_that_is_no_number_of_milliseconds_is_a_problem(client: FlaskClient, asked: str) -> None:
    answer = client.post(
        "/v1/text-risk", json={"texts": ["a"]}, headers={"X-Timeout-Ms": asked.encode().decode("latin-1")}
    )
    assert "X-Timeout-Ms" in problem(answer, 400)["problem"]


def test_stages_of_a_request_are_measured(client: FlaskClient) -> None:
    client.post("/v1/ocr", data=png(40, 30))
    text = client.get("/metrics").text
    assert 'edgekit_stage_duration_seconds_count{stage="queue"} 1.0' in text
    assert 'edgekit_stage_duration_seconds_count{stage="load"} 2.0' in text
    assert 'edgekit_request_duration_seconds_count{route="/v1/ocr"} 1.0' in text


def test_the_server_has_threads_for_all_who_may_run_or_wait_and_some_more() -> None:
    assert Limits(requests=2, texts=16, queue=16).threads == 54
