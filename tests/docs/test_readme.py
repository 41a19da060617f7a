"""The Chinese README says what the English one says: its headings, commands and links; figures stand in one of them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.blocks import blocks

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"


def text(path: Path) -> str:
    """A README without what the demonstration printed and the benchmarks found."""
    return re.sub(r"<!-- (first-run|numbers) -->.*?<!-- /\1 -->", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def outline(path: Path) -> list[int]:
    """The levels of the headings."""
    return [len(each) for each in re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text(path), flags=re.DOTALL), re.M)]


def commands(path: Path) -> list[list[str]]:
    """What the blocks command, without comments."""
    return [[line.partition(" #")[0].rstrip() for line in block.text.splitlines()] for block in blocks(path)]


def rows(path: Path) -> list[list[str]]:
    """Where each row of the tables leads."""
    return [re.findall(r"\]\(([^)]+)\)", line) for line in text(path).splitlines() if line.startswith("| ")]


def test_both_have_the_same_headings_commands_and_tables() -> None:
    assert outline(CHINESE) == outline(ENGLISH)
    assert len(outline(ENGLISH)) >= 5
    assert commands(CHINESE) == commands(ENGLISH)
    assert rows(CHINESE) == rows(ENGLISH)
    assert len(rows(ENGLISH)) > 10


def test_both_lead_to_each_other_and_to_no_fewer_pages() -> None:
    assert "](README.zh.md)" in text(ENGLISH)
    assert "](README.md)" in text(CHINESE)
    links = [set(re.findall(r"\]\((docs/[^)#]+)", text(path))) for path in (ENGLISH, CHINESE)]
    assert links[0] <= links[1]


def test_an_english_readme_takes_two_screens_beside_what_was_printed_and_measured() -> None:
    assert len(text(ENGLISH).splitlines()) <= 100
