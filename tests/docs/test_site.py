"""The site has every page, and none of them loads anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from docs.site import on_page_markdown, on_post_page

ROOT = Path(__file__).parents[2]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav if isinstance(nav, list) else nav.values():
            yield from leaves(each)


def page(name: str) -> SimpleNamespace:
    return SimpleNamespace(file=SimpleNamespace(src_uri=name))


def test_every_page_is_in_the_menu_once_and_every_decision_on_the_first_page() -> None:
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    decisions = {page for page in pages if page.startswith("adr/")} - {"adr/0000-template.md"}
    menu = list(leaves(SITE["nav"]))
    assert sorted(menu) == sorted(pages - decisions - {"adr/0000-template.md"})
    first = on_page_markdown((ROOT / "docs" / "index.md").read_text(encoding="utf-8"), page("index.md"))
    assert len(decisions) > 20
    assert all(f"]({decision})" in first for decision in decisions)


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/a.js"></script>',
        "<img src=//cdn.example/a.png>",
        '<link rel="stylesheet" href="https://fonts.example/a.css">',
        '<link href="https://fonts.example/a.css" rel=preload>',
    ],
)
def test_a_page_that_loads_something_from_elsewhere_is_refused(html: str) -> None:
    with pytest.raises(ValueError, match=r"index\.md loads"):
        on_post_page(f"<p>{html}</p>", page=page("index.md"))
    local = (
        '<script src="assets/a.js"></script><a href="https://example.org">x</a><link rel="canonical" href="https://x">'
    )
    assert on_post_page(local, page=page("index.md")) == local


def test_links_to_source_code_become_words_and_links_to_pages_stay() -> None:
    out = "[a](../edge/a.py) [b](../../edge/b.py#L3)"
    assert on_page_markdown(out, page("a.md")) == "a b"
    assert on_page_markdown("[x](../a.md) [y](../../edge/b.py)", page("adr/0001.md")) == "[x](../a.md) y"


def test_the_theme_brings_its_fonts_and_search_along() -> None:
    assert SITE["theme"]["font"] is False
    assert SITE["plugins"] == ["search"]
    assert not {"extra_css", "extra_javascript", "repo_url"} & set(SITE)
