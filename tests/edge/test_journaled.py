"""A server that answers for what it decides: what it says while it may not decide, and what leaves no trace."""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient

import edge.journaled
from devices.profile import load_profile
from devices.state import state_dir
from edge.decide import Desk
from edge.journaled import journaled
from edge.service import Device
from runtime.app import Services, create_app
from runtime.logs import log_as_json
from runtime.rehearsal import rehearse
from runtime.tokens import TokenFile
from tests.edge.desks import BUNDLE, POLICY, Scores, Wall, application, open_desk, picture, submission

SECRET = ("示例甲", "999999199003070012", "装修", "A-张三-7", "id.png")


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def scores() -> Scores:
    return Scores(60)


@pytest.fixture
def desk(wall: Wall, scores: Scores) -> Iterator[Desk]:
    made = open_desk(wall, scores)
    yield made
    made.journal.close()


@pytest.fixture
def device(desk: Desk, scores: Scores) -> Device:
    """A device whose models are left out; only scores are asked of it."""
    nothing: Any = SimpleNamespace(read=lambda *_: (), classify=lambda texts, **_: [], unreadable=lambda _: None)
    scored = {"score": 0}
    services = Services("1.2.3", {}, nothing, nothing, lambda *_: scored, lambda: {"device_id": "kiosk-1"})
    return Device(services, scores, load_profile("cpu-generic"), POLICY, BUNDLE)  # type: ignore[arg-type]


@pytest.fixture
def client(device: Device, desk: Desk) -> FlaskClient:
    return create_app(journaled(device, desk).services).test_client()


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The server's log; the test's own logging is put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        log_as_json(logging.DEBUG)
        (handler,) = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        stream = io.StringIO()
        handler.setStream(stream)
        yield stream
    finally:
        root.handlers[:], root.level = before


def send(client: FlaskClient, number: str = "T-1", **headers: str) -> Any:
    parts = {"application": json.dumps(application(number)).encode(), "id.png": picture()}
    data = {name: (io.BytesIO(data), name) for name, data in parts.items()}
    return client.post("/v1/score", data=data, headers=headers)


def test_a_score_over_http_is_journaled_and_carries_its_code(client: FlaskClient, desk: Desk) -> None:
    receipt = send(client).json
    assert receipt["offline"]["journal"] == desk.journal.decision(receipt["decision_id"]).code
    kinds = [entry.kind for entry in desk.journal.entries()]
    assert kinds == ["genesis", "policy", "decision"]
    assert client.get("/v1/status").json["journal"] == {"backlog": 3, "head": desk.journal.head().code}


def test_a_caller_that_got_no_answer_asks_again_for_the_same_decision(client: FlaskClient) -> None:
    key = {"Idempotency-Key": "3f0c-a-request"}
    first = send(client, **key).json
    assert send(client, **key).json == first
    assert send(client).json["decision_id"] != first["decision_id"]
    assert send(client, "T-2", **key).status_code == 400
    for malformed in ("short", "x" * 201, "eight or more"):
        assert "Idempotency-Key" in json.loads(send(client, **{"Idempotency-Key": malformed}).data)["problem"]


def test_a_stopped_device_answers_503_with_what_to_do_and_goes_on_reviewing(
    client: FlaskClient, wall: Wall, scores: Scores
) -> None:
    decision = send(client).json["decision_id"]
    wall.wait(days=11)
    answer = send(client)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    problem = json.loads(answer.data)
    assert problem["code"] == "OFFLINE-001"
    assert "11.0 days ago" in problem["problem"]
    assert "edgekit sync" in problem["remedy"]
    assert scores.calls == 1
    assert client.get("/v1/status").json["offline"]["authority"] == "stopped"
    assert 'requests_rejected_total{reason="stopped"} 1.0' in client.get("/metrics").text
    token = {"Authorization": f"Bearer {TokenFile().add('an', 'reviewer')}"}
    verdict = {"verdict": "approve", "reason": "相符"}
    assert client.post(f"/v1/decisions/{decision}/review", json=verdict, headers=token).status_code == 200


def test_a_journal_that_cannot_be_read_is_said_everywhere_and_decides_nothing(client: FlaskClient, desk: Desk) -> None:
    send(client)
    desk.journal.close()
    answer = send(client)
    assert (answer.status_code, json.loads(answer.data)["code"]) == (503, "JOURNAL-001")
    status = client.get("/v1/status").json
    assert status["offline"]["authority"] == "stopped"
    assert status["journal"]["error"]["code"] == "JOURNAL-001"
    assert "edgekit_journal_backlog NaN" in client.get("/metrics").text


def test_a_full_disk_is_said_before_anybody_waits_for_a_decision(
    client: FlaskClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(client)
    free = 65 * 1024 * 1024
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert client.get("/v1/status").json["offline"]["authority"] == "full"
    free = 1024 * 1024
    status = client.get("/v1/status").json
    assert status["offline"]["authority"] == "stopped"
    assert status["journal"]["error"]["code"] == "JOURNAL-003"
    assert status["journal"]["error"]["remedy"].startswith("Free at least")
    assert (status["journal"]["backlog"], status["journal"]["head"]) == (3, desk.journal.head().code)
    assert json.loads(send(client, "T-2").data)["code"] == "JOURNAL-003"


def test_a_rehearsal_leaves_no_trace(device: Device, desk: Desk, scores: Scores) -> None:
    journaled(device, desk)
    head = desk.journal.head().seq
    rehearse(device.services)
    assert desk.journal.head().seq == head
    assert scores.calls == 0


def test_a_process_that_crashes_leaves_no_dump_of_what_it_held() -> None:
    code = (
        "import subprocess, sys; from edge.cli import main; main(['token', 'list']);"
        "child = 'import resource; print(*resource.getrlimit(resource.RLIMIT_CORE))';"
        "sys.stdout.flush(); subprocess.run([sys.executable, '-c', child])"
    )

    def unlimited() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, preexec_fn=unlimited, timeout=120
    )
    assert result.stdout.splitlines()[-1] == "0 0"


def test_nothing_personal_is_in_logs_metrics_or_the_chain(client: FlaskClient, desk: Desk, logged: io.StringIO) -> None:
    token = {"Authorization": f"Bearer {TokenFile().add('an', 'reviewer')}"}
    decision = send(client, "A-张三-7").json["decision_id"]
    client.post(f"/v1/decisions/{decision}/requests", json={"kind": "explanation"}, headers=token)
    verdict = {"verdict": "decline", "reason": "示例甲的流水不符", "reviewer": "示例复核员"}
    client.post(f"/v1/decisions/{decision}/review", json=verdict, headers=token)
    client.get(f"/v1/decisions/{decision}", headers=token)
    client.get(f"/v1/decisions?after={decision}", headers=token)
    chain = b"".join(entry.raw for entry in desk.journal.entries()).decode()
    everything = logged.getvalue() + client.get("/metrics").text + chain
    assert "/v1/decisions/<decision_id>" in everything
    for secret in (*SECRET, "示例复核员", token["Authorization"].removeprefix("Bearer ")):
        assert secret not in everything
    database = (desk.journal.folder / "journal.sqlite").read_bytes()
    log = desk.journal.folder / "journal.sqlite-wal"
    database += log.read_bytes() if log.exists() else b""
    for secret in (*SECRET, "示例复核员"):
        assert secret.encode() not in database


def test_a_device_that_starts_lets_go_of_bundles_that_no_decision_needs(
    device: Device, desk: Desk, tmp_path: Path
) -> None:
    desk.decide(submission())
    desk.journal.append("policy", {"bundle": BUNDLE.model_copy(update={"sha256": "c" * 64}).model_dump(mode="json")})
    bundles = state_dir() / "bundles"
    for letter in "ac":
        (bundles / (letter * 64)).mkdir(parents=True)
        os.utime(bundles / (letter * 64), (0, 0))
    (tmp_path / "bundle").mkdir()
    serving = replace(device, bundle=BUNDLE.model_copy(update={"sha256": "d" * 64}))
    edge.journaled.open_desk(serving, tmp_path / "bundle").journal.close()
    assert {path.name[0] for path in bundles.iterdir()} == {"a", "d"}
