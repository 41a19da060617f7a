"""Writes docs/reference/: pages that say only what the code says. ``python -m docs.generate``; a test compares them.

The command line comes from click, the HTTP API from ``runtime.openapi``, the keys of a policy from its pydantic models
and their docstrings, the metrics from ``runtime.metrics``. The README's table of figures is copied from
``docs/benchmarks.md``.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import click
from pydantic import BaseModel

from docs.http_api import http_api
from edge.cli import cli
from edge.policy import Policy
from runtime.artifact import OcrSettings
from runtime.metrics import METRICS

FOLDER = Path(__file__).parent / "reference"
README = Path(__file__).parents[1] / "README.md"
# the rows of docs/benchmarks.md that the README shows
FIGURES = (
    "ERNIE 12L768H FP32 on Paddle oneDNN against its 4L312H student as shipped: time, 1x128",
    "ERNIE 12L768H FP32 on Paddle oneDNN against its 4L312H student as shipped: size",
    "PP-OCRv6 small: RapidOCR 3.10.0 against the kit, time for all pictures",
    "PP-OCRv4 mobile: rapidocr-openvino 1.4.4 against the kit, time for all pictures",
    "/v1/ocr, 8 clients: requests per second by rapidocr_api's",
    "/v1/text-risk, 8 clients: requests per second by LitServe's",
    "Behaviour: average precision, LSTM with attention over HistGradientBoosting, default",
    "Documents, held out layouts, damaged: fields exactly right",
    "One application, three documents, text, 200 transactions: p50 over HTTP",
    "kill -9 during install, update, activate and rollback: a verified slot serves, no manual step",
    "kill -9 at 500 random moments while scoring and syncing: lost, doubled or unverifiable",
    "Seven days cut off, 20,000 decisions, a bad line: lost, doubled or altered",
)
_MADE = "<!-- Written by docs/generate.py; './build.sh docs' writes it anew. -->\n"
_BOUNDS = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` `false`"}


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    made = {
        "command-line.md": command_line(),
        "http-api.md": http_api(),
        "metrics.md": metrics(),
        "ocr-settings.md": ocr_settings(),
        "policy.md": policy(),
    }
    return {name: text.replace("\n", f"\n\n{_MADE}", 1) for name, text in made.items()}


def readme(text: str, benchmarks: str) -> str:
    """The README with its table of figures as they stand in docs/benchmarks.md.

    Raises:
        KeyError: A row is not there.
    """
    cells = [line.split("|")[1:5] for line in benchmarks.splitlines() if line.startswith("| ")]
    rows = {each[0].strip(): f"|{'|'.join(each)}|" for each in cells}  # without the runs so far
    table = ["| what | measured | goal | |", "|---|---|---|---|", *(rows[name] for name in FIGURES)]
    before, _, rest = text.partition("<!-- numbers -->\n")
    return (
        before + "\n".join(["<!-- numbers -->", *table, "<!-- /numbers -->"]) + rest.partition("<!-- /numbers -->")[2]
    )


def command_line() -> str:
    """Every command's help, as a terminal of 100 columns shows it."""
    said = (
        "# Command line\n\nWhat `edgekit COMMAND --help` prints. Exit statuses are those of the error's class "
        "([by code](../operations.md)); 0 is success, 130 Ctrl-C.\n"
    )
    return said + "".join(
        f"\n{'##' if depth < 2 else '###'} {context.command_path}\n\n```text\n{context.get_help()}\n```\n"
        for depth, context in _commands(cli, "edgekit", None)
    )


def _commands(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[int, click.Context]]:
    settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context.command_path.count(" "), context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            child = command.get_command(context, each)
            assert child is not None
            yield from _commands(child, each, context)


def metrics() -> str:
    """Every metric with its labels."""
    lines = [
        "# Metrics",
        "",
        "What `GET /metrics` answers, beside the process metrics of `prometheus-client`. Labels never hold free text.",
        "[Operations](../operations.md#metrics) says which are worth an alarm.",
        "",
        "| Metric | Kind | Labels | What |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {each.kind} | {' '.join(f'`{label}`' for label in each.labels)} | {each.meaning} |"
        for name, each in METRICS.items()
    ]
    return "\n".join(lines) + "\n"


def ocr_settings() -> str:
    """Every key of a model set's ``ocr.toml``."""
    said = "# OCR settings\n\nThe keys of `ocr.toml` beside a model set ([bring your own](../your-ocr.md)). "
    return said + "The defaults are PP-OCR mobile's.\n\n" + "\n".join(rows(OcrSettings)) + "\n"


def policy() -> str:
    """Every key of a policy."""
    said = (
        "# Policy keys\n\nA bank's policy is one TOML file in the signed bundle. `examples/policy.toml` is a whole one "
        "with comments,\n[scoring](../scoring.md) says how a score comes about, and an unknown key or a wrong value is "
        "POLICY-001 with the\nkey's name. A section that is not required may be left out.\n"
    )
    return said + "".join(_section(Policy, ""))


def _section(schema: type[BaseModel], path: str) -> Iterator[str]:
    """The table of one section, then those below it."""
    title = f"`[{path}]`" if path else "The whole file"
    yield f"\n## {title}\n\n{_first_sentence(schema)}\n\n" + "\n".join(rows(schema)) + "\n"
    for below, keys in _below(schema).items():
        key = keys[0] if len(keys) == 1 else "KEY"  # the same table for each of them
        yield from _section(below, f"{path}.{key}".lstrip("."))


def _below(schema: type[BaseModel]) -> dict[type[BaseModel], list[str]]:
    """The sections of a model: which keys hold them, ``NAME`` where the bank gives the name."""
    found: dict[type[BaseModel], list[str]] = {}
    for name, field in schema.model_fields.items():
        named = get_origin(field.annotation) is dict
        inside = get_args(field.annotation)[1] if named else field.annotation
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            found.setdefault(inside, []).append(f"{name}.NAME" if named else name)
    return found


def _first_sentence(schema: type[BaseModel]) -> str:
    text = inspect.cleandoc(schema.__doc__ or "").partition("\n\nAttributes:")[0]
    return re.sub(r"``(.*?)``", r"`\1`", text)


def meanings(schema: type[BaseModel]) -> dict[str, str]:
    """The ``Attributes:`` of a model's docstring and of those of its parents, by name."""
    found: dict[str, str] = {}
    for each in reversed(schema.__mro__):
        section = inspect.cleandoc(each.__dict__.get("__doc__") or "").partition("Attributes:\n")[2]
        name = ""
        for line in section.splitlines():
            if start := re.match(r" {4}(\w+): (.*)", line):
                name = start[1]
                found[name] = start[2]
            elif name and line.strip():
                found[name] += " " + line.strip()
    return {key: text.replace("``", "`").replace("None ", "no value ") for key, text in found.items()}


def rows(schema: type[BaseModel]) -> list[str]:
    """The table of a model's keys: value, default, meaning.

    Raises:
        KeyError: The docstring does not say what a key means.
    """
    document = schema.model_json_schema()
    said = meanings(schema)
    lines = ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    for name, field in document["properties"].items():
        default = "required" if name in document.get("required", ()) else _spelled(field)
        lines.append(f"| `{name}` | {kind(field, document.get('$defs', {}))} | {default} | {said[name]} |")
    return lines


def kind(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "anyOf" in field:  # something or nothing
        return kind(field["anyOf"][0] | {key: value for key, value in field.items() if key != "anyOf"}, definitions)
    if "$ref" in field:
        return "section"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {kind(field['items'], definitions)}"
    if field["type"] == "object":
        of = kind(field.get("additionalProperties", {}) or next(iter(field["patternProperties"].values())), definitions)
        return f"by name: {of}"
    return ", ".join([_WORDS[field["type"]], *(say.format(field[key]) for key, say in _BOUNDS.items() if key in field)])


def _spelled(field: dict[str, Any]) -> str:
    default = field.get("default")
    if "$ref" in field or isinstance(default, dict) or field.get("type") == "object":
        return "as below" if "$ref" in field else "none"
    if default is None:
        return "not set"
    if isinstance(default, list):
        return f"`{default}`" if default else "none"
    return "empty" if default == "" else f"`{json.dumps(default)}`" if isinstance(default, bool) else f"`{default}`"


def main() -> None:
    """Write the pages that differ."""
    FOLDER.mkdir(exist_ok=True)
    benchmarks = (FOLDER.parent / "benchmarks.md").read_text(encoding="utf-8")
    made = {FOLDER / name: text for name, text in pages().items()}
    made[README] = readme(README.read_text(encoding="utf-8"), benchmarks)
    for path, text in made.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stderr.write(f"{path.name} is written anew\n")


if __name__ == "__main__":
    main()
