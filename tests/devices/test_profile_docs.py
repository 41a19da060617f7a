"""docs/profiles.md says what the schema says: key, kind of value, default, and meaning."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from devices.cpu import ISA_NAMES
from devices.profile import Compress, Match, Profile, Serve, known_profiles, parse_profile

PAGE = Path(__file__).parents[2] / "docs" / "profiles.md"


def meanings(schema: type[BaseModel]) -> dict[str, str]:
    """The ``Attributes:`` of a docstring, by name."""
    section = inspect.cleandoc(schema.__doc__ or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if start := re.match(r" {4}(\w+): (.*)", line):
            name = start[1]
            found[name] = start[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return {key: text.replace("``", "`").replace("None ", "no value ") for key, text in found.items()}


def kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "anyOf" in field:  # something or nothing
        return kind(field["anyOf"][0] | {key: value for key, value in field.items() if key != "anyOf"}, definitions)
    if "enum" in field:
        return " ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {kind(field['items'], definitions)}"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` `false`"}[
        field["type"]
    ]
    bounds = {"minimum": "from {}", "exclusiveMinimum": "above {}", "exclusiveMaximum": "below {}"}
    return ", ".join([words, *(said.format(field[key]) for key, said in bounds.items() if key in field)])


def rows(schema: type[BaseModel]) -> list[str]:
    document = schema.model_json_schema()
    said = meanings(schema)
    lines = ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    for name, field in document["properties"].items():
        if "$ref" in field:
            continue
        default = "required" if name in document.get("required", ()) else spelled(field.get("default"))
        lines.append(f"| `{name}` | {kind(field, document.get('$defs', {}))} | {default} | {said[name]} |")
    return lines


def spelled(default: Any) -> str:
    if default is None:
        return "no limit"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "none" if default == [] else f"`{default}`"


@pytest.mark.parametrize("schema", [Profile, Match, Serve, Compress])
def test_the_page_lists_every_key_with_its_value_default_and_meaning(schema: type[BaseModel]) -> None:
    table = "\n".join(rows(schema))
    assert table in PAGE.read_text(encoding="utf-8"), f"docs/profiles.md should hold:\n{table}"


def test_the_page_lists_every_profile_with_its_summary_and_every_instruction_set() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for profile in known_profiles():
        line = f"| `{profile.name}` | {profile.summary} |"
        assert line in text, f"docs/profiles.md should hold: {line}"
    assert ", ".join(f"`{name}`" for name in ISA_NAMES) in text.replace("\n", " ")


def test_the_example_of_the_page_is_a_profile() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert parse_profile(example.encode(), "docs/profiles.md").name == "counter-pc"
