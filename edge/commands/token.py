"""``edgekit token``: the tokens by which programs on other machines call this device."""

from __future__ import annotations

import click
from rich.table import Table

from edge.commands.result import Result, json_option
from runtime.tokens import TokenFile


@click.group()
def token() -> None:
    """Say which programs on other machines may call this device."""


@token.command()
@click.argument("name")
@json_option
def add(name: str) -> Result:
    """Make a token for NAME and show it, this once."""
    made = TokenFile().add(name)
    return Result(
        {"name": name, "token": made},
        f"{made}\nThe token of {name!r}. It is kept nowhere: give it to the program now, "
        "which sends it as 'Authorization: Bearer TOKEN'.",
    )


@token.command("list")
@json_option
def list_tokens() -> Result:
    """Show the names that have a token, and since when."""
    entries = sorted(TokenFile().entries().items())
    document = {"tokens": [{"name": name, "created": entry.created} for name, entry in entries]}
    if not entries:
        return Result(document, "There are no tokens: only programs on this machine may call.")
    table = Table(box=None)
    table.add_column("Name")
    table.add_column("Made")
    for name, entry in entries:
        table.add_row(name, entry.created)
    return Result(document, table)


@token.command()
@click.argument("name")
@json_option
def remove(name: str) -> Result:
    """Forget the token of NAME; a running server refuses it from the next request on."""
    TokenFile().remove(name)
    return Result({"name": name, "removed": True}, f"The token of {name!r} is no longer accepted.")
