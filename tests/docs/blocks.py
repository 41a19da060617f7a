"""The blocks of commands in the documents, and why some of them are not run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "README.zh.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_COMMAND = r"(?:edgekit|sudo|sh|\./build\.sh|python3?|\.venv/bin/\S+|ansible-playbook|mkdir|echo|git) "
_FENCED = re.compile(
    r"(?:^<!-- not run: (?P<why>.+?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_INDENTED = re.compile(rf"(?:^<!-- not run: (?P<why>.+?) -->\n+)?(?P<text>(?:^    {_COMMAND}.*\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Commands of a page.

    Attributes:
        page: Its name.
        line: Where it begins.
        text: What a reader would paste.
        why: Why no test runs it; None where one does.
    """

    page: str
    line: int
    text: str
    why: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """The blocks of commands of a page, in its order."""
    page = path.read_text(encoding="utf-8")
    found = []
    for match in [*_FENCED.finditer(page), *_INDENTED.finditer(_FENCED.sub(_blank, page))]:
        text = re.sub(r"^ {4}", "", match["text"], flags=re.MULTILINE) if match.re is _INDENTED else match["text"]
        language = match.groupdict().get("language", "")
        if language in ("bash", "sh") or (not language and re.match(_COMMAND, text)):
            found.append(Block(path.name, page.count("\n", 0, match.start("text")) + 1, text, match["why"]))
    return sorted(found, key=lambda block: block.line)


def every_block() -> list[Block]:
    """Those of all pages that are there."""
    return [block for page in PAGES if page.is_file() for block in blocks(page)]


def _blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")
