"""docs/reference/ says what the code says, and no key, metric or variable is left out of the documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from docs import generate
from edge.policy import Policy
from runtime.metrics import METRICS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", ["command-line.md", "http-api.md", "metrics.md", "ocr-settings.md", "policy.md"])
def test_a_reference_page_is_what_the_code_says_now(name: str) -> None:
    written = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert written == generate.pages()[name], "run '.venv/bin/python -m docs.generate' and commit docs/reference"


def test_the_figures_of_the_readme_are_those_of_the_benchmarks_page() -> None:
    text, benchmarks = generate.README.read_text(encoding="utf-8"), (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert generate.readme(text, benchmarks) == text, "run '.venv/bin/python -m docs.generate' and commit README.md"
    assert generate.readme(text, benchmarks.replace("times faster", "times slower")) != text
    assert text.count("<!-- numbers -->") == text.count("<!-- /numbers -->") == 1


def test_the_folder_holds_the_generated_pages_and_nothing_else() -> None:
    assert {path.name for path in (DOCS / "reference").iterdir()} == set(generate.pages())


def keys(schema: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str]]:
    for name in schema.model_fields:
        yield schema, name
    for below in generate._below(schema):
        yield from keys(below)


def test_every_key_of_a_policy_has_a_line_with_its_meaning() -> None:
    page = generate.policy()
    found = list(keys(Policy))
    assert len(found) > 70
    for schema, name in found:
        assert generate.meanings(schema)[name].strip(" .")
        assert re.search(rf"^\| `{name}` \| .+ \| .+ \| .+ \|$", page, re.MULTILINE)


def test_a_key_that_its_docstring_does_not_explain_is_an_error() -> None:
    class Half(BaseModel):
        """A section.

        Attributes:
            said: What it means.
        """

        said: int
        unsaid: int = Field(default=3, ge=1)

    with pytest.raises(KeyError, match="unsaid"):
        generate.rows(Half)


def test_operations_names_every_metric() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    for name in METRICS:
        short = name.replace("edgekit_memory_", "..._")
        assert re.search(rf"`(?:{name}|{re.escape(short)})[`{{]", page), name


def test_every_environment_variable_is_in_the_documents() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    sources = [path for folder in ("edge", "runtime", "devices", "compress") for path in (ROOT / folder).rglob("*.py")]
    used = {name for path in sources for name in re.findall(r"\bEDGEKIT_[A-Z_]+\b", path.read_text(encoding="utf-8"))}
    assert len(used) >= 3
    assert {name for name in used if name not in pages} == set()
