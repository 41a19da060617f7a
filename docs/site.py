"""MkDocs' hook: decisions are listed on the first page, and a page that loads something from elsewhere is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_DECISIONS = Path(__file__).parent / "adr"
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon))[^>]*\bhref=["']?(?:https?:)?//[^>]*>"""
)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """List the decisions, newest last, where the first page asks for it; links to source code become their words."""
    files = sorted(path for path in _DECISIONS.glob("*.md") if not path.name.startswith("0000"))
    lines = [f"- [{path.read_text(encoding='utf-8').splitlines()[0][2:]}](adr/{path.name})" for path in files]
    above = "../" * (page.file.src_uri.count("/") + 1)  # out of docs/, where the site has nothing
    markdown = re.sub(rf"\[([^\]]+)\]\({re.escape(above)}[^)]+\)", r"\1", markdown)
    return markdown.replace("<!-- decisions -->", "\n".join(lines))


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Let no page load a script, a style, a font or a picture from another machine.

    Raises:
        ValueError: It does.
    """
    if found := _LOADED.search(output):
        raise ValueError(f"{page.file.src_uri} loads {found[0]}")
    return output
