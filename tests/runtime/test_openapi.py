"""The API's description against the API: its routes, its schemas, and what schemathesis makes of it.

schemathesis draws requests that fit the description and requests that do not, calls the app with real models behind
it, and compares status, headers and body of each answer with what is described.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import ignored_auth

from edge.application import Application
from edge.receipt import Receipt
from runtime.access import Access
from runtime.app import Services, create_app
from runtime.metrics import Metrics
from runtime.openapi import openapi_document
from runtime.tokens import TokenFile
from tests.runtime.small_services import small_services

HERE = Path(__file__).parent
APPLICATION = {
    "application_id": "T-1",
    "applicant": {"name": "示例甲", "id_number": "999999199003070012", "declared_monthly_income": 12000},
    "loan": {"amount": 12000, "term_months": 12, "purpose": "借新还旧"},
    "documents": [{"kind": "id_card", "file": "id.png"}],
    "transactions": [
        {"time": f"2026-01-0{day}T09:12:00+08:00", "amount": -1, "balance": 2, "channel": "pos", "counterparty": "店"}
        for day in range(1, 8)
    ],
}  # fmt: skip


def picture(form: str, size: tuple[int, int] = (120, 48)) -> bytes:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((10, 15), "edge 2026", fill="black")
    data = io.BytesIO()
    image.save(data, form)
    return data.getvalue()


for media_type, form in (("image/png", "PNG"), ("image/jpeg", "JPEG"), ("application/pdf", "PDF")):
    schemathesis.openapi.media_type(media_type, st.sampled_from([picture(form), picture(form, (33, 97))]))


class Late:
    """The app under test: schemathesis asks for one when tests are collected, long before there is a model."""

    app: Any = None

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.app(environ, start_response)


CONFIG = SchemathesisConfig.from_path(HERE / "schemathesis.toml")
schema = schemathesis.openapi.from_dict(openapi_document("1.2.3", ["behaviour", "text-risk"]), config=CONFIG)
schema.app = Late()


@pytest.fixture(scope="session")
def services(ppocr_v4: Path) -> Services:
    return small_services(ppocr_v4)


@pytest.fixture(scope="session")
def app(services: Services) -> Flask:
    made = create_app(services)
    assert made.test_client().get("/openapi.json").json == schema.raw_schema
    schema.app.app = made
    return made


@pytest.fixture
def reviewer() -> dict[str, str]:
    """What a reviewer's page sends."""
    return {"Authorization": f"Bearer {TokenFile().add('示例'.encode().hex(), 'reviewer')}"}


@schema.parametrize()
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_is_described(
    case: schemathesis.Case, app: Flask, reviewer: dict[str, str], decided: str
) -> None:
    assert schema.app.app is app
    if "decision_id" in case.path_parameters and len(case.path_parameters["decision_id"]) % 2:
        case.path_parameters["decision_id"] = decided  # one that is there, for half of the calls
    case.call_and_validate(headers=reviewer)


def test_every_documented_path_exists_and_every_route_is_documented(app: Flask) -> None:
    documented = {
        (path, method.upper()) for path, item in openapi_document("1")["paths"].items() for method in item
    }  # fmt: skip
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    assert {(path, method) for path, method in routes if method not in ("HEAD", "OPTIONS")} == documented


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    document = openapi_document("1", ["a"], tokens=True)
    named = set(re.findall(r'"#/components/(\w+/\w+)"', json.dumps(document)))
    there = {f"{kind}/{name}" for kind, entries in document["components"].items() for name in entries}
    assert named == there - {"securitySchemes/token", "securitySchemes/reviewer"}


@pytest.mark.parametrize("model", [Receipt, Application])
def test_what_edge_checks_has_the_members_that_are_described(model: Any) -> None:
    """Members and required ones, at every depth; what values they take is edge's own."""
    document = openapi_document("1")["components"]["schemas"]

    def members(node: Any, definitions: Any) -> Any:
        while "$ref" in node or "anyOf" in node:
            node = node["anyOf"][0] if "anyOf" in node else definitions[node["$ref"].rpartition("/")[2]]  # or null
        if "properties" in node:
            inside = {name: members(each, definitions) for name, each in node["properties"].items()}
            return {"members": inside, "required": sorted(node.get("required", []))}
        for inner in ("items", "additionalProperties"):
            if isinstance(node.get(inner), dict):
                return members(node[inner], definitions)
        return None

    true = model.model_json_schema(mode="serialization")
    ours = members(document[model.__name__], document)
    theirs = members(true, true["$defs"])
    if model is Receipt:  # made where it is not given, so never missing
        theirs["required"] = sorted([*theirs["required"], "decision_id"])
    assert ours == theirs


@pytest.mark.parametrize("form", ["PNG", "JPEG", "PDF"])
def test_a_picture_that_is_read_fits_its_description(app: Flask, form: str) -> None:
    answer = app.test_client().post("/v1/ocr", data=picture(form, (320, 96)))
    assert answer.status_code == 200
    assert answer.json["pages"][0]["lines"]
    validate("/v1/ocr", answer)


def scored(app: Flask) -> Any:
    parts = {
        "application": (io.BytesIO(json.dumps(APPLICATION).encode()), "application.json"),
        "id.png": (io.BytesIO(picture("PNG", (640, 400))), "id.png"),
    }
    answer = app.test_client().post("/v1/score", data=parts)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.fixture(scope="session")
def decided(app: Flask) -> str:
    """The id of a decision in the journal."""
    return str(scored(app).json["decision_id"])


def test_an_application_that_is_scored_fits_its_description(app: Flask) -> None:
    answer = scored(app)
    assert answer.json["behaviour"]["top_transactions"]
    assert answer.json["documents"][0]["problems"]
    assert answer.json["offline"]["journal"]
    validate("/v1/score", answer)


def test_a_case_from_the_queue_to_its_verdict_fits_its_description(app: Flask, reviewer: dict[str, str]) -> None:
    decision, client = scored(app).json["decision_id"], app.test_client()
    path = "/v1/decisions/{decision_id}"

    def got(place: str, sent: Any = None, **query: str) -> Any:
        method = "POST" if sent else "GET"
        there = place.format(decision_id=decision, index=0)
        answer = client.open(there, method=method, headers=reviewer, json=sent, query_string=query)
        assert answer.status_code == 200, answer.text
        schema[place][method].Case().validate_response(answer, excluded_checks=[ignored_auth])  # it is ours, not drawn
        return answer

    assert decision in [each["decision_id"] for each in got("/v1/decisions", limit="200").json["decisions"]]
    assert got(f"{path}/files/{{index}}").data == picture("PNG", (640, 400))
    assert "编号 T-1" in got(f"{path}/requests", {"kind": "explanation"}).json["text"]
    assert got(f"{path}/review", {"verdict": "approve", "reason": "相符"}).json["state"] == "closed"
    assert got("/v1/decisions", state="closed", level="high").json["total"] is None
    reviewer["Authorization"] = f"Bearer {TokenFile().add('another', 'reviewer')}"
    assert got(f"{path}/reopen", {"reason": "新材料"}).json["opened_by"] == ["reopening"]
    assert got(f"{path}/requests", {"kind": "human_decision"}).json["state"] == "open"
    shown = got(path).json
    assert shown["reopenings"][0]["login"] == "another"
    assert shown["reviews"][0]["login"] == "示例".encode().hex()
    assert shown["receipt"]["documents"][0]["problems"]


def test_the_queue_is_for_reviewers_alone_on_loopback_too(app: Flask, decided: str) -> None:
    client, caller = app.test_client(), {"Authorization": f"Bearer {TokenFile().add('kiosk')}"}
    for method, path in (
        ("GET", "/v1/decisions"),
        ("GET", f"/v1/decisions/{decided}"),
        ("GET", f"/v1/decisions/{decided}/files/0"),
        ("POST", f"/v1/decisions/{decided}/review"),
        ("POST", f"/v1/decisions/{decided}/reopen"),
        ("POST", f"/v1/decisions/{decided}/requests"),
    ):
        for headers, status, code in (({}, 401, "ACCESS-004"), (caller, 403, "ACCESS-007")):
            answer = client.open(path, method=method, headers=headers, json={} if method == "POST" else None)
            assert (answer.status_code, json.loads(answer.data)["code"]) == (status, code)


def test_a_model_that_runs_fits_its_description(app: Flask) -> None:
    inputs = [
        {"name": name, "shape": [1, 3], "datatype": "INT64", "data": [2, 6, 3]}
        for name in ("input_ids", "token_type_ids")
    ]
    answer = app.test_client().post("/v2/models/text-risk/infer", json={"id": "x", "inputs": inputs})
    assert answer.status_code == 200
    validate("/v2/models/{name}/infer", answer)


def validate(path: str, answer: Any) -> None:
    schema[path]["POST"].Case().validate_response(answer)


def test_a_server_that_wants_tokens_says_so_and_asks_for_them(services: Services, app: Flask) -> None:
    tokens = TokenFile()
    header = {"Authorization": f"Bearer {tokens.add('tester')}"}
    guarded = create_app(replace(services, metrics=Metrics()), Access(tokens=tokens))
    api = schemathesis.openapi.from_wsgi("/openapi.json", guarded, config=CONFIG, headers=header)
    assert api.raw_schema["security"] == [{"token": []}]
    assert app.test_client().get("/openapi.json").json["security"] == []
    for operation in api.get_all_operations():
        of_path = {"name": "text-risk", "version": "1", "decision_id": "none", "index": "0"}
        case = operation.ok().Case(path_parameters=of_path)
        answer = case.call()
        assert answer.status_code == (200 if "/v2/health/" in case.path else 401)
        case.validate_response(answer)
