"""What every command returns, and the option that every command has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import RenderableType

from runtime.predictor import BACKENDS

Command = TypeVar("Command", bound=Callable[..., Any])

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Result:
    """A command's outcome: for programs, for people, and the exit status."""

    document: Mapping[str, Any]
    rendering: RenderableType
    exit_code: int = 0


def json_option(command: Command) -> Command:
    """Add ``--json``; ``edge.cli`` acts on it, the command itself need not know."""
    return click.option(
        "--json", is_flag=True, expose_value=False, help="Print one JSON document on stdout, nothing else."
    )(command)


def backend_option(command: Command) -> Command:
    """Add ``--backend``."""
    return click.option("--backend", type=click.Choice(BACKENDS), help="Run on this backend.")(command)
