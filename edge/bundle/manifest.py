"""The manifest: what a bundle is and which bytes belong to it. Pure: bytes in, objects out."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from devices.errors import BundleError
from devices.malformed import place_and_reason

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
POLICY_NAME = "policy.toml"
PROFILE_NAME = "profile.toml"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_PATH = re.compile(r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$")


class FileEntry(BaseModel):
    """One file: its SHA-256 and its size in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Sha256
    size: int = Field(ge=0)


class Manifest(BaseModel):
    """The whole of ``manifest.json``.

    Attributes:
        name: What the bundle is for, for example ``branch-loans``.
        version: Of this name; compared as text only.
        created: When it was built, with time zone.
        profile: Name of the device profile that it was built for.
        artifacts: Directories of the artifacts, one a part of the decision.
        files: Every file but the manifest and its signature, by path relative to the bundle.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=64)]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$", max_length=64)]
    created: AwareDatetime
    profile: str
    artifacts: tuple[str, ...]
    files: dict[str, FileEntry]

    @field_validator("files")
    @classmethod
    def _paths_stay_inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for path in files:
            if not is_plain_path(path):
                raise ValueError(f"{path!r} is not a plain relative path")
            if path in (MANIFEST_NAME, SIGNATURE_NAME):
                raise ValueError(f"{path} cannot list itself")
        return files

    def to_bytes(self) -> bytes:
        """The bytes that are written and signed."""
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1, sort_keys=True)
        return text.encode() + b"\n"


def is_plain_path(path: str) -> bool:
    """Whether a file of a bundle may be called so: parts of letters, digits, '.', '_' and '-', none of them '..'."""
    return bool(_PATH.fullmatch(path)) and not any(part in (".", "..") for part in path.split("/"))


def read_manifest(data: bytes) -> Manifest:
    """Parse ``manifest.json``.

    Raises:
        BundleError: It is no manifest; the message names the field.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise BundleError(f"{MANIFEST_NAME} is malformed at {place_and_reason(error)}.") from error


def sha256_hex(data: bytes) -> str:
    """SHA-256 of ``data``, hexadecimal."""
    return hashlib.sha256(data).hexdigest()
