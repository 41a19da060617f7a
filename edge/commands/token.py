"""``edgekit token``: the tokens by which programs on other machines call this device, and persons review."""

from __future__ import annotations

import click
from rich.table import Table

from edge.commands.result import Result, json_option
from runtime.tokens import ROLES, Role, TokenFile


@click.group()
def token() -> None:
    """Say which programs on other machines may call this device, and which persons review."""


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="caller", show_default=True, help="What it allows.")
@json_option
def add(name: str, role: Role) -> Result:
    """Make a token for NAME and show it, this once.

    A caller may score. A reviewer may also see the review queue and decide; NAME is the person's, one for each.
    """
    made = TokenFile().add(name, role)
    to_whom = "program, which sends" if role == "caller" else "person, who logs in with it; programs send"
    return Result(
        {"name": name, "role": role, "token": made},
        f"{made}\nThe token of {name!r}, a {role}. It is kept nowhere: give it now to the {to_whom} it as "
        "'Authorization: Bearer TOKEN'.",
    )


@token.command("list")
@json_option
def list_tokens() -> Result:
    """Show the names that have a token, and since when."""
    entries = sorted(TokenFile().entries().items())
    document = {"tokens": [{"name": name, "role": entry.role, "created": entry.created} for name, entry in entries]}
    if not entries:
        return Result(document, "There are no tokens: only programs on this machine may call, and nobody may review.")
    table = Table(box=None)
    table.add_column("Name")
    table.add_column("Role")
    table.add_column("Made")
    for name, entry in entries:
        table.add_row(name, entry.role, entry.created)
    return Result(document, table)


@token.command()
@click.argument("name")
@json_option
def remove(name: str) -> Result:
    """Forget the token of NAME; a running server refuses it from the next request on."""
    TokenFile().remove(name)
    return Result({"name": name, "removed": True}, f"The token of {name!r} is no longer accepted.")
