"""The ``edgekit`` command: arguments in, one result out, and the only place that knows about exit statuses.

Every command returns a ``Result``. With ``--json`` its document is the one thing on stdout; otherwise its rendering
is. Progress and logs go to stderr. An error ends with the exit status of its class, 2 for wrong usage.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import signal
import sys
import warnings
from collections.abc import Sequence

import click

from devices.errors import EdgeKitError, UsageError
from edge.commands.result import Result

_INTERRUPTED = 128 + signal.SIGINT
_COMMANDS = (
    "bundle",
    "collector",
    "compress",
    "device",
    "journal",
    "predict",
    "provision",
    "replay",
    "repo",
    "score",
    "serve",
    "sync",
    "token",
)


class _Commands(click.Group):
    """Commands by the name of their module: each is imported when it is called, so none waits for another's needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"edge.commands.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="branch-edgekit", prog_name="edgekit")
def cli() -> None:
    """Compress a bank's models, bundle and sign them, and score loan applications offline in a branch."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in arguments
    # of this process and of every one that it starts: a dump of memory would hold applicants' papers
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # libraries warn their developers; a clerk's terminal shows what the kit has to say. For child processes too
    warnings.simplefilter("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        result = cli.main(arguments, prog_name="edgekit", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        sys.stderr.write("Interrupted. What was finished before is kept.\n")
        return _INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return UsageError.exit_code
    except click.ClickException as error:
        return _fail(_usage_error(error), as_json)
    except EdgeKitError as error:
        return _fail(error, as_json)
    if isinstance(result, Result):
        _print(result, as_json)
        return result.exit_code
    return 0


def _usage_error(error: click.ClickException) -> UsageError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    help_command = f"{context.command_path} --help" if context else "edgekit --help"
    message = error.format_message()
    return UsageError(message[:1].upper() + message[1:], remedy=f"'{help_command}' shows the arguments.")


def _fail(error: EdgeKitError, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": error.as_dict()}, ensure_ascii=False))
    else:
        from rich.console import Console  # most commands fail rarely, and the server never prints with it

        console = Console(stderr=True)
        console.print(f"[bold red]Error {error.code}[/]")
        for sentence in (error.problem, error.state, error.remedy):
            console.print(f"  {sentence}", markup=False, highlight=False, soft_wrap=True)
    return error.exit_code


def _print(result: Result, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result.document, ensure_ascii=False))
    else:
        from rich.console import Console

        # a sentence is wrapped by the terminal, which can still copy a path or a token in it whole
        Console(highlight=False).print(result.rendering, soft_wrap=isinstance(result.rendering, str))


if __name__ == "__main__":
    sys.exit(main())
