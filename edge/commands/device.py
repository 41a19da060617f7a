"""``edgekit device``: probe, match."""

from __future__ import annotations

import click
from rich.console import Group
from rich.table import Table

from devices.match import match as match_profiles
from devices.probe import probe as probe_machine
from devices.profile import known_profiles
from edge.commands.result import Result, json_option


@click.group()
def device() -> None:
    """Look at this machine and find the profile that fits it."""


@device.command()
@json_option
def probe() -> Result:
    """Say what this machine has: processor, instruction sets, memory, disk, GPUs, backends."""
    document = probe_machine().as_dict()
    table = Table(show_header=False, box=None)
    for key, value in document.items():
        shown = ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
        table.add_row(key, shown)
    return Result(document, table)


@device.command()
@json_option
def match() -> Result:
    """Rank the profiles for this machine, with the reasons for and against each."""
    verdicts = match_profiles(probe_machine(), known_profiles())
    lines = []
    for verdict in verdicts:
        lines.append(f"{'fits    ' if verdict.fits else 'does not'} {verdict.profile.name}: {verdict.profile.summary}")
        lines += [f"           + {reason}" for reason in verdict.reasons_for]
        lines += [f"           - {reason}" for reason in verdict.reasons_against]
    ranked = [
        {
            "profile": verdict.profile.name,
            "fits": verdict.fits,
            "reasons_for": list(verdict.reasons_for),
            "reasons_against": list(verdict.reasons_against),
        }
        for verdict in verdicts
    ]
    best = next((verdict.profile.name for verdict in verdicts if verdict.fits), None)
    return Result({"profile": best, "ranked": ranked}, Group(*lines), exit_code=0 if best else 7)
