"""``edgekit device``: probe, match, doctor."""

from __future__ import annotations

import os
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from devices.match import match as match_profiles
from devices.probe import probe as probe_machine
from devices.profile import known_profiles, profile_files
from edge.commands.result import DIRECTORY, NEW_PATH, Result, json_option

_NOT_THIS_MACHINE = 7  # the exit status of devices' errors


@click.group()
def device() -> None:
    """Look at this machine, find the profile that fits it, and see what would keep it from serving."""


@device.command()
@json_option
def probe() -> Result:
    """Say what this machine has: processor, limits, memory, disk, GPUs, backends, clock and what surrounds them."""
    document = probe_machine().as_dict()
    table = Table(show_header=False, box=None)
    for key, value in document.items():
        table.add_row(key, escape(_shown(value)))
    return Result(document, table)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


@device.command()
@click.option("--profiles", type=DIRECTORY, help="Your own profiles: added to the kit's, or in place of them.")
@json_option
def match(profiles: Path | None) -> Result:
    """Rank the profiles for this machine, with the reasons for and against each."""
    verdicts = match_profiles(probe_machine(), known_profiles(profiles))
    files = profile_files(profiles)
    lines = []
    for verdict in verdicts:
        lines.append(f"{'fits    ' if verdict.fits else 'does not'} {verdict.profile.name}: {verdict.profile.summary}")
        lines += [f"           + {reason}" for reason in verdict.reasons_for]
        lines += [f"           - {reason}" for reason in verdict.reasons_against]
    ranked = [
        {
            "profile": verdict.profile.name,
            "file": str(files[verdict.profile.name]),
            "fits": verdict.fits,
            "reasons_for": list(verdict.reasons_for),
            "reasons_against": list(verdict.reasons_against),
        }
        for verdict in verdicts
    ]
    best = next((verdict.profile.name for verdict in verdicts if verdict.fits), None)
    return Result(
        {"profile": best, "ranked": ranked}, escape("\n".join(lines)), exit_code=0 if best else _NOT_THIS_MACHINE
    )


@device.command()
@click.option("--root", type=NEW_PATH, help="Of a provisioned device, or where one shall be installed.")
@click.option("--bundle", type=DIRECTORY, help="Run this bundle's models.  [default: the root's active one]")
@click.option("--profile", help="Judge this profile instead of the bundle's: a name, or the path of a .toml file.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it shall listen.")
@click.option("--port", default=8808, show_default=True, type=click.IntRange(1, 65535), help="Where it shall listen.")
@json_option
def doctor(root: Path | None, bundle: Path | None, profile: str | None, host: str, port: int) -> Result:
    """Check everything that would keep this device from serving, and run the bundle's models on every backend.

    Changes nothing. The last line says whether the device can serve; every line carries a code (docs/doctor.md).
    """
    from devices.provision.slots import Layout
    from devices.state import VARIABLE
    from edge.doctor import diagnose

    if root is not None:  # a provisioned device's keys are its own, not this user's
        os.environ[VARIABLE] = str(Layout(root).state)
    found = diagnose(root=root, bundle=bundle, profile=profile, host=host, port=port)
    colours = {"ok": "green", "attention": "yellow", "stop": "red"}
    lines = []
    for check in found.checks:
        colour = colours[check.state]
        lines.append(f"[{colour}]{check.state:<9}[/] {check.code}  {check.name}: {escape(check.finding)}")
        if check.remedy:
            lines.append(f"            {escape(check.remedy)}")
    lines += ["", f"[bold]{escape(found.sentence)}[/]"]
    return Result(found.as_dict(), "\n".join(lines), exit_code=_NOT_THIS_MACHINE if found.can_serve is False else 0)
