"""What headquarters signs and what a region signs: two small JSON documents. Pure: bytes in, objects out.

A **release** is one whole decision unit: a bundle, the environment that runs it, and a sequence number. It names every
file by SHA-256 and size, so a device fetches only what it lacks. Headquarters' ``targets`` role signs it.
A **channel** says which release a class of devices in a region shall run. The region's own role signs it. It can point
at a release of headquarters and at nothing else: it names no files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from devices.errors import UpdateContentError
from devices.malformed import place_and_reason
from devices.update.layout import channel_path

RELEASE_MAX_BYTES = 4 * 1024 * 1024
CHANNEL_MAX_BYTES = 64 * 1024

_PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_WHEEL = re.compile(r"[A-Za-z0-9_.+!-]+\.whl")


def _inside(path: str) -> str:
    if not _PATH.fullmatch(path) or any(part in (".", "..") for part in path.split("/")):
        raise ValueError(f"{path!r} is not a plain relative path")
    return path


def _wheel(name: str) -> str:
    if not _WHEEL.fullmatch(name):
        raise ValueError(f"{name!r} is not the file name of a wheel")
    return name


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=64)]
RelativePath = Annotated[str, AfterValidator(_inside), Field(max_length=255)]
WheelName = Annotated[str, AfterValidator(_wheel), Field(max_length=255)]
Arch = Literal["x86_64", "aarch64"]


class _Signed(BaseModel):
    # a newer kit at headquarters may say more; what an older device must not pass over raises schema_version
    model_config = ConfigDict(extra="ignore", frozen=True)

    def to_bytes(self) -> bytes:
        """The bytes that are signed."""
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1, sort_keys=True)
        return text.encode() + b"\n"


class Blob(_Signed):
    """The contents of one file: SHA-256, and size in bytes."""

    sha256: Sha256
    size: Annotated[int, Field(ge=0)]


class BundlePart(_Signed):
    """The bundle, with its manifest and signature as two files among the others.

    Attributes:
        name: As the bundle's manifest says.
        version: As the bundle's manifest says.
        manifest_sha256: Of ``manifest.json``: one number for the whole bundle, as in receipts.
        keys: Public keys, PEM, of the bundle's signer: a device trusts a bundle by them and by no others.
        files: Every file by its path in the bundle.
    """

    name: str
    version: str
    manifest_sha256: Sha256
    keys: Annotated[tuple[str, ...], Field(min_length=1)]
    files: dict[RelativePath, Blob]

    @model_validator(mode="after")
    def _has_its_manifest(self) -> Self:
        manifest = self.files.get("manifest.json")
        if manifest is None or manifest.sha256 != self.manifest_sha256:
            raise ValueError("files must hold manifest.json, with manifest_sha256 as its SHA-256")
        return self


class EnvironmentPart(_Signed):
    """What the virtual environment of the release is made of.

    Attributes:
        python: Of the interpreter that the wheels are for, as ``3.11``.
        lock: The requirements file with hashes that pip installs from.
        wheels: Every wheel by its file name, the kit's own and pip's among them.
    """

    python: Annotated[str, Field(pattern=r"^3\.\d+$")]
    lock: Blob
    wheels: dict[WheelName, Blob]


class Release(_Signed):
    """The whole of ``releases/NAME-SEQUENCE.json``.

    Attributes:
        name: Of the line of releases, as ``branch-loans``.
        sequence: Rises by one with every release of this repository; what is older is a number comparison.
        version: For people; the bundle's unless told otherwise.
        created: When it was published.
        profiles: Device profiles that it may run on.
        arch: Machine that its wheels are for.
        bundle: The models and thresholds.
        environment: What runs them; None where a device keeps its own.
        files: What else belongs to it, by path: units, install files.
    """

    schema_version: Literal[1] = 1
    name: Name
    sequence: Annotated[int, Field(ge=1)]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$", max_length=64)]
    created: AwareDatetime
    profiles: Annotated[tuple[str, ...], Field(min_length=1)]
    arch: Arch
    bundle: BundlePart
    environment: EnvironmentPart | None = None
    files: dict[RelativePath, Blob] = {}

    @property
    def path(self) -> str:
        """Its target path in the repository."""
        return f"releases/{self.name}-{self.sequence}.json"

    def blobs(self) -> Mapping[str, int]:
        """Every file's size in bytes by SHA-256: all that a device needs."""
        parts = [*self.bundle.files.values(), *self.files.values()]
        if self.environment is not None:
            parts += [self.environment.lock, *self.environment.wheels.values()]
        return {blob.sha256: blob.size for blob in parts}


class Channel(_Signed):
    """The whole of ``channels/REGION/CLASS.json``.

    Attributes:
        region: Whose key signs it.
        device_class: Which devices of the region it is for.
        release: Target path of the release that they shall run.
        release_sha256: Of that document, so that a region's choice is of one thing and not of a name.
        allow_downgrade: Whether a device that runs a later release may go back to this one.
    """

    schema_version: Literal[1] = 1
    region: Name
    device_class: Name
    release: Annotated[str, Field(pattern=r"^releases/[a-z0-9.-]+\.json$")]
    release_sha256: Sha256
    allow_downgrade: bool = False

    @property
    def path(self) -> str:
        """Its target path in the repository."""
        return channel_path(self.region, self.device_class)


Document = TypeVar("Document", Release, Channel)


def release_sequence(path: str) -> int:
    """The sequence number in a release's target path."""
    return int(path.removesuffix(".json").rpartition("-")[2])


def read_release(data: bytes, path: str) -> Release:
    """Parse a release.

    Raises:
        UpdateContentError: It is none, or says that it is another than the one at ``path``.
    """
    return _read(Release, data, path)


def read_channel(data: bytes, path: str) -> Channel:
    """Parse a channel.

    Raises:
        UpdateContentError: It is none, or says that it is another than the one at ``path``.
    """
    return _read(Channel, data, path)


def _read(model: type[Document], data: bytes, path: str) -> Document:
    try:
        document = model.model_validate_json(data)
    except ValidationError as error:
        raise UpdateContentError(f"{path} is malformed at {place_and_reason(error)}.") from error
    if document.path != path:
        raise UpdateContentError(f"{path} holds the {model.__name__.lower()} {document.path}.")
    return document
