"""Pages lead where they say, and name only what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devices import errors

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "examples/*.md", "fleet/**/*.md") for path in ROOT.glob(pattern)
)
_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """What headings of a page are called in links, as GitHub and MkDocs call them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name} leads to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} leads to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_code_that_a_page_names_is_one_of_the_kit(page: Path) -> None:
    families = {each.code.rpartition("-")[0] for each in vars(errors).values() if isinstance(each, type)}
    codes = {each.code for each in vars(errors).values() if isinstance(each, type)}
    named = re.findall(r"\b([A-Z]+-\d{3})\b", page.read_text(encoding="utf-8"))
    assert {name for name in named if name.rpartition("-")[0] in families} <= codes


def test_every_threat_names_tests_that_are_there() -> None:
    rows = re.findall(r"^\| [A-Z].*\| (`tests/.*`) \|$", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE)
    assert len(rows) >= 15
    for row in rows:
        for name in re.findall(r"`(.+?)`", row):
            assert (ROOT / name).exists(), name


def test_the_glossary_is_in_order_and_says_each_word_once() -> None:
    text = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8").partition("## Glossary")[2]
    words = re.findall(r"^\| ([^|]+) \| ", text, re.MULTILINE)[1:]
    assert len(words) > 30
    assert words == sorted(set(words), key=str.lower)
