"""'./build.sh' is the one door: it explains every verb, and says clearly what is missing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOOR = (ROOT / "build.sh").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def door(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["./build.sh", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True
    )


def verbs() -> set[str]:
    (line,) = re.findall(r"^    (setup \| .+?)\)", DOOR, re.MULTILINE)
    return {*line.split(" | "), "test"}


def test_help_explains_every_verb_and_no_other() -> None:
    said = door("help").stdout
    explained = {match[1]: match[2] for match in re.finditer(r"^  ([a-z]+) {2,}(\S.+)$", said, re.MULTILINE)}
    assert set(explained) == verbs()
    assert all(len(words) > 8 for words in explained.values())
    assert door().stdout == said


def test_a_verb_that_is_none_is_wrong_usage_and_shows_those_that_are() -> None:
    answer = door("instal")
    assert answer.returncode == 2
    assert answer.stderr.startswith("There is no verb 'instal'.")
    assert door("help").stdout in answer.stderr


@pytest.mark.parametrize("given", [{}, {"EDGEKIT_ADVISORIES": "/nowhere/all.zip"}])
def test_an_audit_without_advisories_says_that_nothing_was_audited(given: dict[str, str]) -> None:
    answer = door("audit", **given)
    assert answer.returncode == 3
    assert "Nothing was audited" in answer.stderr
    assert given.get("EDGEKIT_ADVISORIES", "no file") in answer.stderr


def test_every_code_that_the_door_and_its_helpers_print_is_in_the_operations_page() -> None:
    helpers = [path.read_text(encoding="utf-8") for path in (ROOT / "requirements").glob("*.py")]
    codes = {code for text in (DOOR, *helpers) for code in re.findall(r"SETUP-\d{3}", text)}
    assert len(codes) >= 5
    assert {code for code in codes if code not in OPERATIONS} == set()
