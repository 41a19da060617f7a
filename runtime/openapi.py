"""The API as an OpenAPI 3.1 document. A test compares its paths with the app's routes."""

from __future__ import annotations

from typing import Any

_PROBLEM = {"$ref": "#/components/responses/Problem"}


def openapi_document(version: str) -> dict[str, Any]:
    """What ``GET /openapi.json`` answers."""
    json_object = {"application/json": {"schema": {"type": "object"}}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    tensors = {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceRequest"}}, **_octets()}
    model = [_parameter("name")]
    paths: dict[str, Any] = {
        "/v1/score": _post(
            "Score one application",
            {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["application"],
                        "properties": {"application": {"type": "string", "description": "application.json"}},
                        "additionalProperties": {"type": "string", "format": "binary"},
                    }
                }
            },
            "The receipt",
        ),
        "/v1/ocr": _post("Read a picture or a PDF", {"*/*": binary}, "Pages with their lines and boxes"),
        "/v1/text-risk": _post(
            "Label texts",
            {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["texts"],
                        "properties": {
                            "texts": {"type": "array", "minItems": 1, "maxItems": 256, "items": {"type": "string"}}
                        },
                    }
                }
            },
            "Label probabilities of each text",
        ),
        "/v1/status": _get("Device, bundle, models, offline authority", json_object),
        "/metrics": _get("Prometheus metrics", {"text/plain": {"schema": {"type": "string"}}}),
        "/openapi.json": _get("This document", json_object),
        "/v2": _get("Server metadata", json_object),
        "/v2/health/live": _get("Whether the process answers", json_object),
        "/v2/health/ready": _get("Whether every model is loaded and warm", json_object),
    }
    for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/1"):
        paths[prefix] = _get("Model metadata", json_object) | {"parameters": model}
        paths[f"{prefix}/ready"] = _get("Whether the model is ready", json_object) | {"parameters": model}
        paths[f"{prefix}/infer"] = _post("Run a model", tensors, "Output tensors") | {"parameters": model}
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgekit runtime", "version": version},
        "paths": paths,
        "components": {"schemas": _schemas(), "responses": {"Problem": _problem_response()}},
    }


def _octets() -> dict[str, Any]:
    return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _get(summary: str, content: dict[str, Any]) -> dict[str, Any]:
    responses = {"200": {"description": summary, "content": content}, "default": _PROBLEM}
    return {"get": {"summary": summary, "responses": responses}}


def _post(summary: str, body: dict[str, Any], answer: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": body},
            "responses": {"200": {"description": answer, "content": content}, "default": _PROBLEM},
        }
    }


def _schemas() -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"type": "string"},
            "data": {"type": "array", "items": {}},
            "parameters": {"type": "object"},
        },
    }
    return {
        "Tensor": tensor,
        "InferenceRequest": {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "id": {"type": "string"},
                "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
                "outputs": {"type": "array", "items": {"type": "object"}},
                "parameters": {"type": "object"},
            },
        },
        "Problem": {
            "type": "object",
            "required": ["status", "code", "problem", "state", "remedy"],
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "code": {"type": "string"},
                "problem": {"type": "string", "description": "What happened."},
                "state": {"type": "string", "description": "What the device does now."},
                "remedy": {"type": "string", "description": "What to do."},
                "error": {"type": "string", "description": "The problem again, where KServe clients look."},
            },
        },
    }


def _problem_response() -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": "What went wrong", "content": content}
