"""A bank with a signed repository, and releases of a few kilobytes that the real installer puts onto real slots.

The kit's wheel in them is a stand-in: its server has no models and does as ``bundle/behaviour`` tells it
(``small_release``). All else is real: signatures, media, pip, slots, launcher.
"""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.probe import probe
from devices.provision.medium import TOOLS
from devices.provision.wheelhouse import KIT, PYTHON_TAR, read_wheelhouse
from devices.update.release import Release
from devices.update.repository import ReleaseParts, Repository
from devices.update.roles import Roles
from devices.update.signers import Keyring
from edge.bundle.keys import public_pem
from edge.cli import main
from tests.devices.provision.small_release import _SERVER, REPOSITORY
from tests.devices.provision.small_wheels import make_wheel, pip_wheel

PROFILE = "cpu-generic"
CHANNEL = "east/kiosk"


@dataclass
class Bank:
    """Headquarters with one region, ``east``, and one class of devices in it, ``kiosk``."""

    place: Path
    released: list[Release] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.place / "keys").mkdir(parents=True)
        Roles.create(self.repo, self._keyring()).delegate("east")

    @property
    def repo(self) -> Path:
        """The signed repository."""
        return self.place / "repo"

    def publish(
        self,
        behaviour: str = "good",
        *,
        kit: str = "1.0",
        extra: bytes = b"",
        arch: str = "",
        python: Path | None = None,
        point: bool = True,
        allow_downgrade: bool = False,
    ) -> Release:
        """Sign a release whose server behaves so; with ``point`` the channel points at it.

        Args:
            behaviour: Of ``small_release``.
            kit: Version of the kit's wheel: another one is another environment.
            extra: Contents of the bundle's ``model.bin``.
            arch: Of the wheels.
            python: A Python that the release brings, as ``pack_python`` makes it.
            point: Whether the channel points at it.
            allow_downgrade: Whether devices with a later release may go back to it.
        """
        bundle = self.place / f"bundle-{len(self.released) + 1}"
        files = {
            "behaviour": behaviour.encode(),
            "model.bin": extra or bytes(range(256)) * 200,
            "policy.toml": b"[update]\ncrashes = 2\n",
            "profile.toml": (REPOSITORY / "devices" / "profiles" / f"{PROFILE}.toml").read_bytes(),
            "manifest.json": json.dumps({"number": len(self.released) + 1}).encode(),
        }
        bundle.mkdir()
        for name, data in files.items():
            (bundle / name).write_bytes(data)
        house = read_wheelhouse(self._wheels(kit))
        repository = Repository(Roles(self.repo, self._keyring()))
        release = repository.publish(
            ReleaseParts(
                name="small",
                version=f"1.{len(self.released)}",
                profiles=[PROFILE],
                arch=arch or probe().arch,
                bundle=bundle,
                bundle_name="small",
                bundle_version="1",
                bundle_keys=[public_pem(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key())],
                lock=house.lock,
                wheels=house.wheels,
                files={PYTHON_TAR: python} if python else {},
            )
        )
        self.released.append(release)
        if point:
            self.point(release, allow_downgrade=allow_downgrade)
        return release

    def point(self, release: Release, *, allow_downgrade: bool = False) -> None:
        """Let the kiosks of the east run ``release``."""
        repository = Repository(Roles(self.repo, self._keyring()))
        repository.assign(release.path, "east", "kiosk", allow_downgrade=allow_downgrade)

    def pack(self, name: str = "medium") -> Path:
        """A medium with what the channel points at."""
        medium = self.place / name
        arguments = ["--profile", PROFILE, "--repo", str(self.repo), "--channel", CHANNEL, "--out", str(medium)]
        assert main(["provision", "pack", *arguments]) == 0
        return medium

    def _keyring(self) -> Keyring:
        return Keyring([self.place / "keys"])

    def _wheels(self, kit: str) -> Path:
        """The distributions that a release must have, with nothing in them; the kit's is the stand-in."""
        folder = self.place / f"wheels-{kit}"
        if not folder.exists():
            for name in sorted(TOOLS - {KIT}):
                # under a name of its own: the real one, of the checkout's environment, is used by the server
                make_wheel(folder, name.replace("-", "_"), module=f"small_{name.replace('-', '_')}")
            _add_server(make_wheel(folder, KIT.replace("-", "_"), kit))
            (folder / pip_wheel().name).write_bytes(pip_wheel().read_bytes())
        return folder


def _add_server(wheel: Path) -> None:
    """Put the stand-in for ``edge.cli`` into a wheel, and the checkout onto its path."""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("edge/__init__.py", "")
        archive.writestr("edge/cli.py", _SERVER)
        archive.writestr("devices/provision/serve.cdx.json", f'{{"of": "{wheel.name}"}}')
        archive.writestr("checkout.pth", f"{REPOSITORY}\n{site}\n")


def answer(capsys: Any, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Run a command with ``--json``; returns its exit status and its document."""
    capsys.readouterr()
    status = main([*map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder``, by path: to see that nothing was changed."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
