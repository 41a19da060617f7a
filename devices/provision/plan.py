"""What a release needs that this device lacks, and how its environment comes to be: pure but for looking at files.

Unchanged files are copied from the active slot. An environment of the same wheels is copied, one of mostly the same
wheels is changed, and only on a bare device, or for another Python, is it built from all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devices.errors import UpdateError
from devices.provision.environment import distribution_of
from devices.provision.slots import Layout
from devices.provision.space import environment_bytes, taken_bytes
from devices.provision.switch import SlotName, other
from devices.provision.wheelhouse import LOCK_NAME, PIP
from devices.update.release import EnvironmentPart, Release


@dataclass(frozen=True)
class Plan:
    """What is to be done for a release.

    Attributes:
        release: The release.
        slot: Where it goes.
        blobs: What must be at hand, size in bytes by SHA-256.
        have: Of these, what the active slot holds.
        environment: How it is made.
        source: The environment that it is made from; None where it is built.
        wheels: SHA-256 by name of the wheels that are installed, pip's own among them.
        remove: Distributions that the new one lacks.
        bundle_bytes: Of the bundle.
        environment_bytes: What the environment will take, estimated.
    """

    release: Release
    slot: SlotName
    blobs: Mapping[str, int]
    have: Mapping[str, Path]
    environment: Literal["built", "changed", "copied"]
    source: Path | None
    wheels: Mapping[str, str]
    remove: tuple[str, ...]
    bundle_bytes: int
    environment_bytes: int


def make_plan(release: Release, layout: Layout, slot: SlotName, running: Release | None) -> Plan:
    """Compare a release with what runs.

    Args:
        release: Verified.
        layout: Of the device.
        slot: The inactive slot, where the release goes.
        running: Of the other slot, whose every file was verified; None if there is nothing to copy from.

    Raises:
        UpdateError: The release brings no environment, and there is none here to keep.
    """
    here = running.environment if running else None
    source = layout.environment(other(slot)) if here else None
    wanted = release.environment or here
    if wanted is None:
        raise UpdateError(
            f"Release {release.name}-{release.sequence} brings no environment, and this device has none.",
            remedy="Ask headquarters for a release with the wheels for a bare device.",
        )
    how: Literal["built", "changed", "copied"]
    new, old = _installed(wanted), _installed(here)
    changed = {name: sha256 for name, sha256 in new.items() if old.get(name) != sha256}
    gone = sorted({distribution_of(name) for name in old} - {distribution_of(name) for name in new})
    same_python = here is not None and wanted.python == here.python and running is not None
    if same_python and running is not None and release.files == running.files and not changed and not gone:
        how, wheels = "copied", {}
    elif same_python and running is not None and release.files == running.files:
        how, wheels = "changed", changed | _pip(wanted)
    else:
        how, wheels, gone = "built", new | _pip(wanted), []
    blobs = {blob.sha256: blob.size for blob in (*release.bundle.files.values(), *release.files.values())}
    blobs |= {blob.sha256: blob.size for name, blob in wanted.wheels.items() if name in wheels}
    if release.environment:
        blobs[wanted.lock.sha256] = wanted.lock.size
    sizes = [blob.size for name, blob in wanted.wheels.items() if name in wheels]
    kept = taken_bytes(source) if source and how != "built" else 0
    return Plan(
        release=release,
        slot=slot,
        blobs=blobs,
        have=_files_of(running, layout, other(slot)) if running else {},
        environment=how,
        source=source if how != "built" else None,
        wheels=wheels,
        remove=tuple(gone),
        bundle_bytes=sum(blob.size for blob in release.bundle.files.values()),
        environment_bytes=kept + environment_bytes(sizes),
    )


def _installed(part: EnvironmentPart | None) -> dict[str, str]:
    """The wheels that end up in an environment: all but pip's."""
    wheels = part.wheels.items() if part else ()
    return {name: blob.sha256 for name, blob in wheels if distribution_of(name) != PIP}


def _pip(part: EnvironmentPart) -> dict[str, str]:
    return {name: blob.sha256 for name, blob in part.wheels.items() if distribution_of(name) == PIP}


def _files_of(running: Release, layout: Layout, slot: SlotName) -> dict[str, Path]:
    have = {blob.sha256: layout.bundle(slot) / path for path, blob in running.bundle.files.items()}
    if running.environment:
        have[running.environment.lock.sha256] = layout.slot(slot) / LOCK_NAME
    return have
