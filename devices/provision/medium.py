"""A medium: one directory, for a USB stick or a share, from which a bare box becomes a serving one without a network.

::

    MEDIUM/install.sh     what a clerk starts; checks the two files below, then starts the second
    MEDIUM/SHA256SUMS     every other file, as ``sha256sum -c`` reads it
    MEDIUM/bootstrap.py   devices.provision.bootstrap: checks all files, unpacks the kit, hands over to it
    MEDIUM/medium.json    for which devices it is, and what the bootstrap unpacks
    MEDIUM/repo           the export of the update repository: releases, wheels, metadata, signed
    MEDIUM/root.json      what a new device is to trust
    MEDIUM/profile.toml   the profile of the device class
    MEDIUM/units          the systemd units as they will be written for the usual root, to be read beforehand
    MEDIUM/sbom.cdx.json  the bill of materials of the release's packages (CycloneDX), out of the release's own kit

The sums guard against a worn stick, the signatures in ``repo`` against everybody else. A first installation trusts its
medium, unless the bank gives the hash of ``root.json`` by another way; every later one is judged by what already runs.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devices.errors import MediumDamagedError, MediumError, MediumMismatchError, PackError
from devices.malformed import place_and_reason
from devices.profile import Architecture, Profile
from devices.provision import bootstrap
from devices.provision.bootstrap import MEDIUM_JSON, Refusal, check_machine, find_damage, sha256_of, write_sums
from devices.provision.environment import distribution_of
from devices.provision.wheelhouse import GLIBC, KIT, PIP, PYTHON_TAR
from devices.update.release import Release

REPO = "repo"
ROOT_JSON = "root.json"
PROFILE = "profile.toml"
SBOM = "sbom.cdx.json"
_SBOM_IN_WHEEL = "devices/provision/serve.cdx.json"

# what 'edgekit provision install' needs to judge a release, before there is an environment: a tenth of the serving set
TOOLS = frozenset(
    {
        KIT,
        "annotated-types",
        "cffi",
        "click",
        "cryptography",
        "markdown-it-py",
        "mdurl",
        "psutil",
        "pycparser",
        "pydantic",
        "pydantic-core",
        "pygments",
        "rich",
        "securesystemslib",
        "tuf",
        "typing-extensions",
        "typing-inspection",
        "urllib3",
    }
)


class MediumDocument(BaseModel):
    """The whole of ``medium.json``.

    Attributes:
        created: When it was packed.
        profile: Of the device class, by name.
        arch: Of its processor.
        glibc: The oldest that the wheels run with.
        python: That the wheels are for.
        region: Whose channel it carries.
        device_class: The channel's class of devices.
        release: What that channel points at, for people.
        root_sha256: Of ``root.json``; what a bank gives by another way with ``--root-sha256``.
        tools: Wheels that the bootstrap unpacks, by their place on the medium.
        interpreter: A Python that the medium carries, by its place; None where the device's own is used.
        own_profile: Whether ``profile.toml`` is the bank's own, to be used in place of the bundle's.
    """

    # a newer kit may say more; what an older one has to know raises schema_version
    model_config = ConfigDict(extra="ignore", frozen=True)

    schema_version: Literal[1] = 1
    created: datetime
    profile: str
    arch: Architecture
    glibc: str
    python: str
    region: str
    device_class: str
    release: str
    root_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    tools: tuple[str, ...]
    interpreter: str | None = None
    own_profile: bool = False


def read_medium(medium: Path) -> MediumDocument:
    """Check every byte of a medium, and that it is for this machine.

    Raises:
        MediumError: It is no medium, or it cannot be read.
        MediumDamagedError: A file is not as it was packed; the message names it.
        MediumMismatchError: It is for another architecture, C library or Python.
    """
    if not (medium / bootstrap.SUMS).is_file() and not (medium / MEDIUM_JSON).is_file():
        raise MediumError(
            f"{medium} is no medium: it has no {bootstrap.SUMS} and no {MEDIUM_JSON}.",
            remedy="Name the directory that holds install.sh.",
        )
    if damage := find_damage(medium):
        raise MediumDamagedError(damage)
    try:
        document = MediumDocument.model_validate_json((medium / MEDIUM_JSON).read_bytes())
    except ValidationError as error:
        raise MediumError(f"{MEDIUM_JSON} of the medium is malformed at {place_and_reason(error)}.") from error
    try:
        check_machine(document.model_dump())
    except Refusal as refusal:
        raise MediumMismatchError(refusal.problem, state=refusal.state, remedy=refusal.remedy) from refusal
    return document


def seal_medium(
    medium: Path, *, profile: Profile, profile_toml: bytes, release: Release, region: str, device_class: str
) -> MediumDocument:
    """Make a medium of a directory that holds ``repo``, the export of a repository that was verified, and ``units``.

    Args:
        medium: The directory.
        profile: Of its devices.
        profile_toml: The profile's file; used in place of the bundle's if it is another one.
        release: What the channel points at.
        region: Whose channel.
        device_class: Of the devices.

    Raises:
        PackError: The release is not for the profile's devices, or lacks what the bootstrap needs.
    """
    if profile.name not in release.profiles:
        raise PackError(
            f"Release {release.name}-{release.sequence} is for {', '.join(release.profiles)}, not for {profile.name}.",
            remedy="Name the profile of the channel's devices, or let the channel point at a release for them.",
        )
    if release.arch not in profile.match.arch:
        raise PackError(
            f"Release {release.name}-{release.sequence} is for {release.arch}; devices of profile {profile.name} are "
            f"{' or '.join(profile.match.arch)}.",
            remedy="Publish a release with the wheels for that architecture.",
        )
    if release.environment is None:
        raise PackError(
            f"Release {release.name}-{release.sequence} has no environment, so a bare device could not run it.",
            remedy="Publish it with 'edgekit repo publish --wheels DIR'.",
        )
    wheels = {distribution_of(name): blob for name, blob in release.environment.wheels.items()}
    if missing := sorted((TOOLS | {PIP}) - set(wheels)):
        raise PackError(
            f"The release has no wheel of {missing[0]}, which the installation itself needs.",
            remedy="Make the wheels with 'edgekit provision wheels' and publish the release again.",
        )
    python = release.files.get(PYTHON_TAR)
    shutil.copyfile(medium / REPO / ROOT_JSON, medium / ROOT_JSON)
    (medium / PROFILE).write_bytes(profile_toml)
    shutil.copyfile(bootstrap.__file__, medium / "bootstrap.py")
    _copy_sbom(medium / _place(wheels[KIT].sha256), medium / SBOM)
    document = MediumDocument(
        created=datetime.now(UTC).replace(microsecond=0),
        profile=profile.name,
        arch=release.arch,
        glibc=GLIBC[release.arch],
        python=release.environment.python,
        region=region,
        device_class=device_class,
        release=f"{release.name}-{release.sequence}",
        root_sha256=sha256_of(medium / ROOT_JSON),
        tools=tuple(_place(wheels[name].sha256) for name in sorted(TOOLS)),
        interpreter=_place(python.sha256) if python else None,
        own_profile=sha256_of(medium / PROFILE) != release.bundle.files[PROFILE].sha256,
    )
    text = json.dumps(document.model_dump(mode="json"), ensure_ascii=False, indent=1)
    (medium / MEDIUM_JSON).write_text(text + "\n", encoding="utf-8")
    write_sums(medium)
    return document


def _copy_sbom(kit: Path, target: Path) -> None:
    """What the release's kit says that its packages are; the kit that packs may be another version."""
    target.unlink(missing_ok=True)  # of the medium that was here before
    with zipfile.ZipFile(kit) as wheel:
        if _SBOM_IN_WHEEL in wheel.namelist():  # older kits carry none
            target.write_bytes(wheel.read(_SBOM_IN_WHEEL))


def _place(sha256: str) -> str:
    """Where a blob lies on the medium: file names of consistent snapshots begin with the hash."""
    return f"{REPO}/targets/blobs/{sha256}.{sha256}"
