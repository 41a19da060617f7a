"""The API as an OpenAPI 3.1 document. Tests compare it with the app's routes and run schemathesis over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runtime.logs import REQUEST_ID_HEADER, REQUEST_ID_PATTERN
from runtime.schemas import MAX_CASES, Schema, ref, schemas

TIMEOUT_HEADER = "X-Timeout-Ms"
KEY_HEADER = "Idempotency-Key"  # draft-ietf-httpapi-idempotency-key-header
KEY_PATTERN = "[!-~]{8,200}"
_HEADER_LENGTH = "Inference-Header-Content-Length"
_BINARY: Schema = {"type": "string", "format": "binary"}
_STRING: Schema = {"type": "string"}
_PAPERS = ("image/jpeg", "image/png", "application/pdf")

_PROBLEMS = {
    "400": "What was sent cannot be used; the problem names the place.",
    "401": "The request needs a token and carries none that this device knows.",
    "403": "A web page of another site sent the request, or its token is not a reviewer's.",
    "404": "There is no such path, model, version or decision.",
    "405": "The path does not take the method.",
    "408": "The request did not arrive whole in time.",
    "409": "The case takes no verdict, or none of this person.",
    "410": "It was erased.",
    "413": "The body, a part of it, or what it decompresses to is too large.",
    "415": "The body's encoding or type is none that is taken here.",
    "421": "The Host header is not a name of this server.",
    "500": "A fault of the device itself.",
    "503": "Too much work, no time left, or the server is stopping: send it again after the seconds in Retry-After. Or "
    "the device may not decide now, or cannot write its journal; the problem says so.",
}
_HEADERS: dict[str, dict[str, Schema]] = {
    "401": {"WWW-Authenticate": {"type": "string"}},
    "405": {"Allow": {"type": "string"}},
    "503": {"Retry-After": {"type": "integer", "minimum": 1}},
}
_ALWAYS = ("401", "404", "405", "421", "500")
_READ = (*_ALWAYS, "400", "403", "503")
_POST = (*_READ, "408", "413")


def openapi_document(version: str, models: Sequence[str] = (), *, tokens: bool = False) -> dict[str, Any]:
    """What ``GET /openapi.json`` answers.

    Args:
        version: Of the kit.
        models: Names of what is served.
        tokens: Whether requests need one.
    """
    bearer = {"type": "http", "scheme": "bearer"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgekit runtime",
            "version": version,
            "description": "Loan applications, pictures and texts scored on this device, and its models by the KServe "
            "Open Inference Protocol v2. Every error is a problem document (RFC 9457) with a code, what happened, "
            "what the device does now, and what to do.",
        },
        "paths": _scoring() | _decisions() | _operation() | _open_inference(list(models)),
        "components": {
            "schemas": schemas(),
            "responses": {f"Problem{status}": _problem(status) for status in _PROBLEMS},
            "parameters": {"RequestId": _request_id(), "Timeout": _timeout()},
            "securitySchemes": ({"token": bearer} if tokens else {}) | {"reviewer": bearer},
        },
        "security": [{"token": []}] if tokens else [],
    }


def _scoring() -> dict[str, Any]:
    picture = {"schema": _BINARY}
    form = {
        "schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY}},
        "encoding": {"file": {"contentType": ", ".join(_PAPERS)}},
    }
    application = {
        "type": "object",
        "required": ["application"],
        "properties": {"application": ref("Application")},
        "additionalProperties": _BINARY,
        "description": "application.json, and each file that its documents name as a part with that file name.",
    }
    score = {"schema": application, "encoding": {"application": {"contentType": "application/json"}}}
    return {
        "/v1/score": _work("Score one application", {"multipart/form-data": score}, "Receipt", [_key()]),
        "/v1/ocr": _work(
            "Read a picture or a PDF, whatever its content type says: the bytes decide",
            {**dict.fromkeys(_PAPERS, picture), "multipart/form-data": form},
            "Pages",
        ),
        "/v1/text-risk": _work("Label texts", {"application/json": {"schema": ref("Texts")}}, "TextLabels"),
    }


_QUEUE = "What waits for a person, the riskiest first; or what was decided, the latest first"


def _decisions() -> dict[str, Any]:
    case = _parameter("decision_id", "path", _STRING, "As in the receipt.")
    index = _parameter("index", "path", {"type": "string", "pattern": "^[0-9]{1,3}$"}, "Of the document, from 0.")
    found = (
        _parameter("state", "query", {"type": "string", "enum": ["open", "closed", "all"]}, "By default open."),
        _parameter("level", "query", {"type": "string", "enum": ["low", "medium", "high"]}, "Only of this risk."),
        _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": MAX_CASES}, "By default 50."),
        _parameter("after", "query", _STRING, "The 'next' of the answer before."),
    )
    files = {kind: {"schema": _BINARY} for kind in (*_PAPERS, "application/octet-stream")}
    path = "/v1/decisions/{decision_id}"
    paths = {
        "/v1/decisions": {"get": _described(_QUEUE, _json(ref("Cases")), _READ, found)},
        path: {"get": _described("One case", _json(ref("CaseShown")), _READ, [case])},
        f"{path}/files/{{index}}": {"get": _described("One of its papers", files, (*_READ, "410"), [case, index])},
        f"{path}/review": _taken("Give a verdict", "Verdict", "Case", case, "409"),
        f"{path}/reopen": _taken("Open a closed case again", "Reopening", "Case", case, "409"),
        f"{path}/requests": _taken("Take what the customer asks for", "CustomerRequest", "CustomerAnswer", case, "410"),
    }
    for item in paths.values():
        for operation in item.values():
            operation["security"] = [{"reviewer": []}]
    return paths


def _taken(summary: str, body: str, answer: str, case: Schema, refused: str) -> dict[str, Any]:
    operation = _described(summary, _json(ref(answer)), (*_POST, refused), [case])
    return {"post": operation | {"requestBody": {"required": True, "content": _json(ref(body))}}}


def _operation() -> dict[str, Any]:
    exposition = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/v1/status": _get("Device, bundle, models, offline authority", "Status"),
        "/metrics": {"get": _described("Prometheus metrics", exposition, _ALWAYS)},
        "/openapi.json": {"get": _described("This document", _json({"type": "object"}), _ALWAYS)},
    }


def _open_inference(models: list[str]) -> dict[str, Any]:
    name: Schema = {"type": "string", "enum": models} if models else {"type": "string"}
    model = _parameter("name", "path", name, "As in /v1/status.")
    version = _parameter("version", "path", {"type": "string", "enum": ["1"]}, "Every model has this one.")
    length = _parameter(
        _HEADER_LENGTH,
        "header",
        {"type": "string", "pattern": "^[0-9]{1,12}$"},
        "Bytes of JSON at the beginning of the body, where raw tensors follow; counted before compression.",
    )
    octets: dict[str, Any] = {"application/octet-stream": {"schema": _BINARY}}
    paths: dict[str, Any] = {
        "/v2": _get("Server metadata", "Server"),
        "/v2/health/live": _get("Whether the process answers", "Live", open_to_all=True),
        "/v2/health/ready": _get("Whether every model is loaded and warm", "Ready", open_to_all=True),
        "/v2/repository/index": {"post": _described("The models", _json(ref("RepositoryIndex")), _POST)},
    }
    for prefix, parameters in (
        ("/v2/models/{name}", [model]),
        ("/v2/models/{name}/versions/{version}", [model, version]),
    ):
        paths[prefix] = _get("Model metadata", "ModelMetadata", parameters)
        paths[f"{prefix}/config"] = _get("Model configuration, in Triton's words", "ModelConfig", parameters)
        paths[f"{prefix}/ready"] = _get("Whether the model is ready", "ModelReady", parameters)
        infer = _work(
            "Run a model; the body may be compressed (Content-Encoding: gzip or deflate)",
            {"application/json": {"schema": ref("InferenceRequest")}, **octets},
            "InferenceResponse",
            [*parameters, length],
        )
        answer = infer["post"]["responses"]["200"]
        answer["content"] |= octets
        answer["headers"] = answer["headers"] | {_HEADER_LENGTH: {"schema": {"type": "integer", "minimum": 0}}}
        paths[f"{prefix}/infer"] = infer
    return paths


def _get(summary: str, answer: str, parameters: Sequence[Schema] = (), *, open_to_all: bool = False) -> dict[str, Any]:
    operation = _described(summary, _json(ref(answer)), _ALWAYS, parameters)
    if open_to_all:
        operation["security"] = []
    return {"get": operation}


def _work(summary: str, body: dict[str, Any], answer: str, parameters: Sequence[Schema] = ()) -> dict[str, Any]:
    """An operation that runs models: it has a body, waits for its place, and may take too long."""
    timeout: Schema = {"$ref": "#/components/parameters/Timeout"}
    operation = _described(summary, _json(ref(answer)), (*_POST, "415"), [*parameters, timeout])
    return {"post": operation | {"requestBody": {"required": True, "content": body}}}


def _described(
    summary: str, content: dict[str, Any], problems: Sequence[str], parameters: Sequence[Schema] = ()
) -> dict[str, Any]:
    refused = {status: {"$ref": f"#/components/responses/Problem{status}"} for status in sorted(problems)}
    return {
        "summary": summary,
        "parameters": [*parameters, {"$ref": "#/components/parameters/RequestId"}],
        "responses": {"200": {"description": summary, "content": content, "headers": _answered_id()}, **refused},
    }


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _problem(status: str) -> dict[str, Any]:
    named = {name: {"schema": schema} for name, schema in _HEADERS.get(status, {}).items()}
    content = {"application/problem+json": {"schema": ref("Problem")}}
    return {"description": _PROBLEMS[status], "content": content, "headers": _answered_id() | named}


def _answered_id() -> dict[str, Any]:
    return {REQUEST_ID_HEADER: {"schema": {"type": "string", "pattern": f"^{REQUEST_ID_PATTERN}$"}}}


def _parameter(name: str, place: str, schema: Schema, description: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema, "description": description}


def _request_id() -> dict[str, Any]:
    said = f"Taken over into the answer and the log if it is {REQUEST_ID_PATTERN}; otherwise one is made."
    return _parameter(REQUEST_ID_HEADER, "header", {"type": "string"}, said)


def _key() -> dict[str, Any]:
    said = "A name for this request, new for every application: sent again with it, the first decision is answered."
    return _parameter(KEY_HEADER, "header", {"type": "string", "pattern": f"^{KEY_PATTERN}$"}, said)


def _timeout() -> dict[str, Any]:
    said = "Whole milliseconds that the answer may take; the device's own limit holds where it is shorter."
    schema = {"type": "string", "pattern": "^0*[1-9][0-9]*$", "maxLength": 9}
    return _parameter(TIMEOUT_HEADER, "header", schema, said)
