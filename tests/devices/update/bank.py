"""A bank with a repository, a branch with a device, and an attacker between them; time is theirs to set."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata

from devices.clock import Clock
from devices.update.client import UpdateClient
from devices.update.release import Release
from devices.update.repository import ReleaseParts, Repository, export_repository
from devices.update.roles import Roles
from devices.update.signers import Keyring
from devices.update.trust import pin_root

START = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
REGION, CLASS = "north", "kiosk"


def write_bundle(directory: Path, **files: bytes) -> Path:
    """Files that look like a bundle; the repository does not care what is in them."""
    contents = {"manifest.json": b"{}", "manifest.sig": b"signature", "policy.toml": b"levels = 1", "model.onnx": b"m"}
    for name, data in {**contents, **{name.replace("_", "."): data for name, data in files.items()}}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


@dataclass
class Bank:
    """Headquarters: a repository in ``place/repo`` and keys in ``place/keys``."""

    place: Path
    now: datetime = START
    releases: list[Release] = field(default_factory=list)

    @property
    def repo(self) -> Path:
        return self.place / "repo"

    @property
    def keyring(self) -> Keyring:
        return Keyring([self.place / "keys"])

    @property
    def roles(self) -> Roles:
        return Roles(self.repo, self.keyring, now=self.now)

    def found(self, **options: Any) -> Bank:
        Roles.create(self.repo, self.keyring, now=self.now, **options).delegate(REGION)
        return self

    def parts(self, bundle: Path, **changes: Any) -> ReleaseParts:
        values: dict[str, Any] = {
            "name": "branch-loans",
            "version": "2027.1",
            "profiles": ["cpu-generic"],
            "arch": "x86_64",
            "bundle": bundle,
            "bundle_name": "branch-loans",
            "bundle_version": "2027.1",
            "bundle_keys": ["-----BEGIN PUBLIC KEY-----"],
        }
        return ReleaseParts(**{**values, **changes})

    def release(self, *, assign: bool = True, **files: bytes) -> Release:
        bundle = write_bundle(self.place / f"bundle-{len(self.releases)}", **files)
        made = Repository(self.roles).publish(self.parts(bundle))
        self.releases.append(made)
        if assign:
            Repository(self.roles).assign(made.path, REGION, CLASS)
        return made

    def stick(self, name: str = "stick") -> Path:
        export_repository(self.repo, self.place / name)
        return self.place / name


class Branch:
    """A device: its clock, its trust directory, an active slot that must stay as it is."""

    def __init__(self, place: Path, root: bytes, now: datetime = START) -> None:
        self.trust = place / "trust"
        self.downloads = place / "downloads"
        self.slot = place / "slots" / "a"
        self.slot.mkdir(parents=True)
        (self.slot / "model.onnx").write_bytes(b"the model that serves")
        self.wall = now
        self.clock = Clock(place / "state" / "clock.json", built=START - 30 * DAY, wall=lambda: self.wall, boot=self.up)
        pin_root(self.trust, root)

    def up(self) -> tuple[str, float]:
        return "boot", 0.0

    def client(self, source: str | Path, grace: timedelta = timedelta(0), **options: Any) -> UpdateClient:
        return UpdateClient(self.trust, source, clock=self.clock, grace=grace, **options)

    def update(self, source: str | Path, grace: timedelta = timedelta(0), **options: Any) -> Release:
        """All that an update does before a slot is touched."""
        client = self.client(source, grace, **options)
        offer = client.check(REGION, CLASS)
        client.fetch(offer.release.blobs(), self.downloads)
        return offer.release

    def state(self) -> dict[str, bytes]:
        """What an attack must not change: the slot, and what the device knows to be signed."""
        kept = [*self.slot.rglob("*"), *self.trust.rglob("*")]
        return {str(path): path.read_bytes() for path in kept if path.is_file() and not path.is_symlink()}


def resign(path: Path, keyring: Keyring, keyids: list[str], **changes: Any) -> None:
    """Change the metadata in ``path`` and sign it with the keys ``keyids`` that the keyring has: an insider's work."""
    metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
    for name, value in changes.items():
        setattr(metadata.signed, name, value)
    metadata.signatures.clear()
    for signer in keyring.signers(keyids):
        metadata.sign(signer, append=True)
    path.write_bytes(metadata.to_bytes())


def keyids(root: Path, role: str) -> list[str]:
    return list(json.loads(root.read_bytes())["signed"]["roles"][role]["keyids"])


def copy_of(directory: Path, name: str) -> Path:
    target = directory.with_name(name)
    shutil.copytree(directory, target)
    return target
