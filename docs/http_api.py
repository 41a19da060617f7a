"""The HTTP API as a page, from the document that ``GET /openapi.json`` answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runtime.openapi import openapi_document

_SAID = """# HTTP API

`edgekit serve` answers on http://127.0.0.1:8808. A running server gives this page's source at `/openapi.json`, with the
names of its own models. Errors are problem documents (RFC 9457); [operations](../operations.md) lists their codes.
Requests from other machines need a caller's token, the review queue a reviewer's (`edgekit token add`).
"""


def http_api() -> str:
    """Every operation and every schema of the API."""
    document = openapi_document("", tokens=True)
    headers = list(document["components"]["parameters"].values())
    lines = [_SAID, "Taken by every operation, the timeout by those that run a model:", "", *_parameters(headers)]
    lines += ["| Operation | What | Who |", "|---|---|---|"]
    operations = list(_operations(document))
    lines += [f"| `{name}` | {each['summary']} | {_who(each)} |" for name, each in operations]
    for name, each in operations:
        lines += ["", f"## {name}", "", *_described(each)]
    lines += ["", "## Schemas", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += [f"### {name}", "", *_schema(schema), ""]
    return "\n".join(lines).rstrip() + "\n"


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def _who(operation: dict[str, Any]) -> str:
    if "security" not in operation:
        return "caller"
    return "reviewer" if operation["security"] else "everybody"


def _parameters(parameters: list[dict[str, Any]]) -> list[str]:
    if not parameters:
        return []
    return [
        "| Parameter | In | Value | What |",
        "|---|---|---|---|",
        *(
            f"| `{each['name']}` | {each['in']} | {_kind(each['schema'])} | {each['description']} |"
            for each in parameters
        ),
        "",
    ]


def _described(operation: dict[str, Any]) -> list[str]:
    lines = [f"{operation['summary']}.", ""]
    lines += _parameters([each for each in operation["parameters"] if "$ref" not in each])
    if body := operation.get("requestBody"):
        lines += [f"Takes {_content(body['content'])}.", ""]
    lines += [f"Answers 200 with {_content(operation['responses']['200']['content'])}."]
    refused = [status for status in operation["responses"] if status != "200"]
    lines += ["", f"Or a problem: {', '.join(refused)}."]
    return lines


def _content(content: dict[str, Any]) -> str:
    return "; or ".join(f"`{kind}`: {_kind(each['schema'])}" for kind, each in content.items())


def _schema(schema: dict[str, Any]) -> list[str]:
    """An object as a table of its members, to any depth; anything else in a sentence."""
    if "properties" not in schema:
        return [f"{_kind(schema)}. {schema.get('description', '')}".rstrip()]
    lines = ["| Member | Value | What |", "|---|---|---|"]
    lines += [
        f"| `{path}`{'' if required else ' (optional)'} | {_kind(member)} | {member.get('description', '')} |"
        for path, member, required in _members(schema, "")
    ]
    return lines


def _members(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any], bool]]:
    for name, member in schema["properties"].items():
        here = f"{path}{name}"
        yield here, member, name in schema.get("required", ())
        if "properties" in member:
            yield from _members(member, f"{here}.")
        elif "properties" in member.get("items", {}):
            yield from _members(member["items"], f"{here}[].")


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_kind(each) for each in schema[several])
    if "enum" in schema:
        return " ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}{_limits(schema)}"
    if schema.get("type") == "object":
        further = schema.get("additionalProperties")
        if "properties" in schema:
            parts = ", ".join(f"`{name}`: {_kind(each)}" for name, each in schema["properties"].items())
            return f"object of {parts}" if len(schema["properties"]) <= 2 else "object"
        return f"by name: {_kind(further)}" if isinstance(further, dict) and further else "object"
    if schema.get("format") == "binary":
        return "bytes"
    if "type" not in schema:
        return "anything"
    form = f", {schema['format']}" if "format" in schema else ""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(kinds) + form + _limits(schema)


def _limits(schema: dict[str, Any]) -> str:
    said = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "to {}",
        "minItems": "at least {}",
        "maxItems": "at most {}",
        "maxLength": "at most {} characters",
    }
    return "".join(f", {text.format(_number(schema[key]))}" for key, text in said.items() if key in schema)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
