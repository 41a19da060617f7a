"""What every command returns, and the option that every command has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from devices.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

Command = TypeVar("Command", bound=Callable[..., Any])

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_PATH = click.Path(path_type=Path)


class _BackendName(click.ParamType[str]):
    """A backend's name. Which there are is looked up when one is given: that takes numpy and pydantic."""

    name = "backend"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._choice().convert(value, param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self._choice().get_metavar(param, ctx)

    def _choice(self) -> click.Choice[str]:
        from runtime.predictor import BACKENDS

        return click.Choice(BACKENDS)


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
    return click.option("--backend", type=_BackendName(), help="Run on this backend.")(command)


def region_and_class(channel: str) -> tuple[str, str]:
    """The two parts of a channel's name.

    Raises:
        UsageError: It is not REGION/CLASS.
    """
    region, found, device_class = channel.partition("/")
    if not found:
        raise UsageError(f"{channel!r} is not REGION/CLASS.")
    return region, device_class
