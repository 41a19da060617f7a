"""``edgekit repo``: the signed update repository of a bank, on the machine that signs."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import click

from devices.errors import UsageError
from devices.provision.wheelhouse import PYTHON_TAR
from devices.state import state_dir
from devices.update.repository import ReleaseParts, Repository, export_repository
from devices.update.roles import Roles
from devices.update.signers import PIN_VARIABLE, Keyring
from edge.bundle.keys import public_pem, trusted_keys
from edge.bundle.verify import verify_bundle
from edge.commands.result import DIRECTORY, FILE, NEW_PATH, Command, Result, json_option, region_and_class


def _keys_option(command: Command) -> Command:
    return click.option(
        "--keys",
        multiple=True,
        type=NEW_PATH,
        default=lambda: (state_dir() / "keys" / "repository",),
        help="A directory of keys; may be given again.  [default: keys/repository in the state directory]",
    )(command)


_hsm_option = click.option(
    "--hsm", multiple=True, metavar="URI", help="Take the key at this PKCS#11 URI instead of making a file."
)
_region_option = click.option("--region", help="Whose key signs which release its devices shall run.")
_class_option = click.option("--class", "device_class", help="The class of devices.")
_downgrade_option = click.option("--allow-downgrade", is_flag=True, help="Devices may go back to it from a later one.")


@click.group()
def repo() -> None:
    """Keep the signed repository that devices are updated from (The Update Framework)."""


@repo.command()
@click.argument("directory", type=NEW_PATH)
@_keys_option
@click.option("--root-keys", type=click.IntRange(1, 20), default=1, show_default=True, help="How many root keys.")
@click.option("--threshold", type=click.IntRange(1, 20), default=1, show_default=True, help="How many must sign.")
@click.option("--hsm", multiple=True, metavar="ROLE=URI", help="Take a role's key from an HSM, by its PKCS#11 URI.")
@json_option
def init(directory: Path, keys: tuple[Path, ...], root_keys: int, threshold: int, hsm: tuple[str, ...]) -> Result:
    """Make an empty repository in DIRECTORY, and its keys in the first --keys."""
    uris: dict[str, list[str]] = {}
    for each in hsm:
        role, found, uri = each.partition("=")
        if not found:
            raise UsageError(
                f"{each!r} is not ROLE=URI.", remedy="For example --hsm 'targets=pkcs11:token=bank;id=%01'."
            )
        uris.setdefault(role, []).append(uri)
    Roles.create(directory, _keyring(keys), root_keys=root_keys, threshold=threshold, hsm=uris)
    document = {"repository": str(directory), "root_keys": root_keys, "threshold": threshold}
    return Result(
        document,
        f"The repository is in {directory}. Take the root keys out of {keys[0]} to a safe place each; "
        f"{threshold} of them must sign when a key changes.",
    )


@repo.command()
@click.argument("directory", type=DIRECTORY)
@click.argument("region")
@_keys_option
@_hsm_option
@json_option
def delegate(directory: Path, region: str, keys: tuple[Path, ...], hsm: tuple[str, ...]) -> Result:
    """Give REGION a key of its own, which chooses among headquarters' releases."""
    keyid = _roles(directory, keys).delegate(region, hsm=hsm)
    return Result({"region": region, "key_id": keyid}, f"Region {region} signs with key {keyid[:16]} from now on.")


@repo.command()
@click.argument("directory", type=DIRECTORY)
@_keys_option
@click.option("--bundle", required=True, type=DIRECTORY, help="A bundle that this machine trusts.")
@click.option("--lock", type=FILE, help="Requirements with hashes of the environment that runs it.")
@click.option("--wheels", type=DIRECTORY, help="All wheels of that environment.")
@click.option("--profile", multiple=True, help="Runs on devices of this profile too.")
@click.option("--arch", type=click.Choice(["x86_64", "aarch64"]), help="Machine of the wheels.  [default: this one's]")
@click.option("--name", default="branch-loans", show_default=True, help="Of the line of releases.")
@click.option("--version", help="For people.  [default: the bundle's]")
@_region_option
@_class_option
@_downgrade_option
@json_option
def publish(
    directory: Path,
    keys: tuple[Path, ...],
    bundle: Path,
    lock: Path | None,
    wheels: Path | None,
    profile: tuple[str, ...],
    arch: str | None,
    name: str,
    version: str | None,
    region: str | None,
    device_class: str | None,
    allow_downgrade: bool,
) -> Result:
    """Sign a release; with --region and --class, let those devices run it too."""
    if (lock is None) != (wheels is None):
        raise UsageError("An environment takes both --lock and --wheels.")
    if (region is None) != (device_class is None):
        raise UsageError("A channel takes both --region and --class.")
    trusted = trusted_keys()
    verified = verify_bundle(bundle, trusted)
    repository = Repository(_roles(directory, keys))
    release = repository.publish(
        ReleaseParts(
            name=name,
            version=version or verified.manifest.version,
            profiles=tuple(dict.fromkeys((verified.manifest.profile, *profile))),
            arch=arch or platform.machine(),
            bundle=bundle,
            bundle_name=verified.manifest.name,
            bundle_version=verified.manifest.version,
            bundle_keys=[public_pem(trusted[verified.key_id])],
            lock=lock,
            wheels=sorted(wheels.glob("*.whl")) if wheels else (),
            files={PYTHON_TAR: wheels / PYTHON_TAR} if wheels and (wheels / PYTHON_TAR).exists() else {},
        )
    )
    blobs = release.blobs()
    document: dict[str, Any] = {
        "release": release.path,
        "sequence": release.sequence,
        "version": release.version,
        "files": len(blobs),
        "size_bytes": sum(blobs.values()),
        "channel": None,
    }
    sentence = f"{release.path}: {len(blobs)} files, {sum(blobs.values()) / 1e6:.1f} MB."
    if region is not None and device_class is not None:
        channel = repository.assign(release.path, region, device_class, allow_downgrade=allow_downgrade)
        document["channel"] = channel.path
        sentence += f" Devices of class {device_class} in {region} shall run it."
    return Result(document, sentence)


@repo.command()
@click.argument("directory", type=DIRECTORY)
@click.argument("release")
@_keys_option
@_region_option
@_class_option
@_downgrade_option
@json_option
def assign(
    directory: Path,
    release: str,
    keys: tuple[Path, ...],
    region: str | None,
    device_class: str | None,
    allow_downgrade: bool,
) -> Result:
    """Let a region's class of devices run RELEASE, as 'publish' named it."""
    if region is None or device_class is None:
        raise UsageError("A channel takes both --region and --class.")
    channel = Repository(_roles(directory, keys)).assign(release, region, device_class, allow_downgrade=allow_downgrade)
    return Result(
        {"channel": channel.path, "release": release, "allow_downgrade": allow_downgrade},
        f"Devices of class {device_class} in {region} shall run {release}.",
    )


@repo.command()
@click.argument("directory", type=DIRECTORY)
@_keys_option
@click.option("--role", "roles", multiple=True, help="Sign this role's metadata anew too.")
@json_option
def renew(directory: Path, keys: tuple[Path, ...], roles: tuple[str, ...]) -> Result:
    """Sign the list of files anew before it expires; needs the snapshot and timestamp keys."""
    signed = _roles(directory, keys)
    signed.renew(*roles)
    return _expiries(signed)


@repo.command()
@click.argument("directory", type=DIRECTORY)
@click.argument("role")
@_keys_option
@_hsm_option
@json_option
def rotate(directory: Path, role: str, keys: tuple[Path, ...], hsm: tuple[str, ...]) -> Result:
    """Replace the keys of ROLE (root, targets, snapshot, timestamp or a region)."""
    return _rooted(_roles(directory, keys).rotate(role, hsm=hsm), f"{role} has new keys.")


@repo.command()
@click.argument("directory", type=DIRECTORY)
@_keys_option
@json_option
def sign(directory: Path, keys: tuple[Path, ...]) -> Result:
    """Add signatures to a root that 'rotate' left waiting for more of them."""
    return _rooted(_roles(directory, keys).sign_root(), "The new root is published.")


@repo.command()
@click.argument("directory", type=DIRECTORY)
@json_option
def status(directory: Path) -> Result:
    """Show the releases, the regions, and until when each signature is valid."""
    return _expiries(Roles(directory, Keyring([directory])))


@repo.command()
@click.argument("directory", type=DIRECTORY)
@click.option("--out", required=True, type=NEW_PATH, help="The stick's directory.")
@click.option("--channel", multiple=True, metavar="REGION/CLASS", help="Only what these devices need; may be repeated.")
@json_option
def export(directory: Path, out: Path, channel: tuple[str, ...]) -> Result:
    """Copy the repository to a USB stick; what is there already is not copied again."""
    pairs = [region_and_class(each) for each in channel]
    copied = export_repository(directory, out, pairs or None)
    return Result(
        {"repository": str(directory), "out": str(out), "copied_bytes": copied},
        f"{out} is ready: {copied / 1e6:.1f} MB were copied.",
    )


def _keyring(keys: tuple[Path, ...]) -> Keyring:
    def pin(token: str) -> str:
        return os.environ.get(PIN_VARIABLE) or str(click.prompt(f"PIN of {token}", hide_input=True, err=True))

    return Keyring(keys, pin)


def _roles(directory: Path, keys: tuple[Path, ...]) -> Roles:
    return Roles(directory, _keyring(keys))


def _rooted(missing: str | None, done: str) -> Result:
    if missing is None:
        return Result({"published": True, "missing": None}, done)
    return Result(
        {"published": False, "missing": missing},
        f"Not published yet: the new root needs {missing}. Run 'edgekit repo sign' where those keys are.",
    )


def _expiries(roles: Roles) -> Result:
    expiries = {role: expires.isoformat() for role, expires in sorted(roles.expiries().items())}
    releases = Repository(roles).releases
    document = {"releases": list(releases), "regions": list(roles.regions), "expires": expiries}
    lines = [f"{role} is valid until {expires[:10]}." for role, expires in expiries.items()]
    return Result(
        document, "\n".join([*lines, f"{len(releases)} releases; regions: {', '.join(roles.regions) or 'none'}."])
    )
