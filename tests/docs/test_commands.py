"""Commands that the documents name exist, with these options; few blocks of commands go without being run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from edge.cli import cli
from tests.docs.blocks import ROOT, Block, blocks, every_block

# how many blocks of a page no test runs: a new one is to be run, or argued for here
NOT_RUN = {
    "CONTRIBUTING.md": 1,
    "README.md": 2,
    "README.zh.md": 2,
    "compression.md": 1,
    "fleet.md": 4,
    "journal.md": 1,
    "provisioning.md": 3,
    "security.md": 1,
    "sync.md": 5,
    "update.md": 3,
    "your-ernie.md": 2,
    "your-ocr.md": 1,
}
_SOURCES = [ROOT / "README.md", ROOT / "README.zh.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def parsed(line: str) -> click.Context:
    """One ``edgekit`` command, read as the command line reads it; files need not be there."""
    words = shlex.split(line, comments=True)
    words = [word.split("|")[0] if "|" in word else word for word in words]  # DIR|FILE: either
    command: click.Command = cli
    context = click.Context(cli, info_name=words.pop(0), **cli.context_settings)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no command {' '.join(context.command_path.split())} {words[0]}"
        command = found
        context = click.Context(found, info_name=words.pop(0), parent=context)
    return command.make_context(context.info_name, words, parent=context.parent)


@pytest.fixture(autouse=True)
def _files_are_taken_for_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(_: click.Path, value: Any, *rest: Any) -> Path:
        return Path(value)

    monkeypatch.setattr(click.Path, "convert", convert)


def edgekit_lines(block: Block) -> list[str]:
    joined = block.text.replace("\\\n", " ")
    lines = [line.partition(" | ")[2] if line.startswith("echo ") else line for line in joined.splitlines()]
    return [line for line in lines if line.startswith("edgekit ") and "..." not in line and "…" not in line]


@pytest.mark.parametrize("block", every_block(), ids=str)
def test_every_command_of_a_block_is_one_of_the_kit_with_these_options(block: Block) -> None:
    for line in edgekit_lines(block):
        parsed(line)


def test_commands_that_are_not_there_would_be_seen() -> None:
    for wrong in ("edgekit scores --bundle b D", "edgekit score --bundel b D", "edgekit score D", "edgekit sync X"):
        with pytest.raises((click.UsageError, AssertionError)):
            parsed(wrong)
    assert len([line for block in every_block() for line in edgekit_lines(block)]) > 30


@pytest.mark.parametrize("page", _SOURCES, ids=lambda path: path.name)
def test_every_command_that_a_sentence_names_is_one_of_the_kit(page: Path) -> None:
    for words in re.findall(r"`edgekit ([a-z][^`\d]*)`", page.read_text(encoding="utf-8")):
        command: click.Command = cli
        context = click.Context(cli, info_name="edgekit", **cli.context_settings)
        for word in words.split():
            if not isinstance(command, click.Group) or not word.isalpha():
                break
            found = command.get_command(context, word)
            assert found is not None, f"{page.name}: edgekit {words}"
            command = found


@pytest.mark.parametrize("page", _SOURCES, ids=lambda path: path.name)
def test_blocks_that_no_test_runs_are_counted_and_say_why(page: Path) -> None:
    left = [block for block in blocks(page) if block.why]
    assert len(left) == NOT_RUN.get(page.name, 0), [str(block) for block in left]
    assert all(len(block.why or "") > 10 for block in left)
