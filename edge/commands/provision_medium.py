"""``edgekit provision wheels|pack|install|update|inventory``: media, and what comes from them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from devices.errors import InputError, InventoryError, PackError
from devices.provision.switch import SlotName
from edge.commands.progress import progress_bar
from edge.commands.result import DIRECTORY, FILE, NEW_PATH, Result, json_option, region_and_class

if TYPE_CHECKING:
    from devices.profile import Profile
    from devices.update.release import Release

root_option = click.option("--root", required=True, type=NEW_PATH, help="The device's directory.")
_by_option = click.option("--by", help="For the record: who asks for it.  [default: the account]")


@click.command()
@click.option("--profile", required=True, help="A profile's name, or the path of a .toml file.")
@click.option("--out", required=True, type=NEW_PATH, help="The wheels' directory; what is there is used again.")
@click.option("--kit", type=FILE, help="The kit's own wheel.  [default: built from this checkout]")
@click.option("--python", type=DIRECTORY, help="A relocatable Python 3.11 for boxes whose own is another one.")
@json_option
def wheels(profile: str, out: Path, kit: Path | None, python: Path | None) -> Result:
    """Fetch every wheel that devices of a profile need, by the hashes of the kit's lock."""
    from devices.profile import load_profile
    from devices.provision.wheelhouse import make_wheelhouse, pack_python

    arch = load_profile(profile).match.arch[0]
    house = make_wheelhouse(out, arch, kit=kit)
    if python:
        pack_python(python, out)
    size = sum(wheel.stat().st_size for wheel in house.wheels)
    document = {"wheels": len(house.wheels), "size_bytes": size, "arch": arch, "lock": str(house.lock), "out": str(out)}
    return Result(
        document,
        f"{len(house.wheels)} wheels for {arch}, {size / 1e6:.0f} MB, in {out}. Publish a release with them: "
        f"'edgekit repo publish REPO --wheels {out} --lock {house.lock} ...'.",
    )


@click.command()
@click.option("--profile", required=True, help="Of the devices: a name, or the path of a .toml file.")
@click.option("--repo", required=True, type=DIRECTORY, help="The signed repository.")
@click.option("--channel", required=True, metavar="REGION/CLASS", help="Whose release it carries.")
@click.option("--out", required=True, type=NEW_PATH, help="The medium: a new or empty directory, or an older medium.")
@json_option
def pack(profile: str, repo: Path, channel: str, out: Path) -> Result:
    """Make a medium: one directory that provisions and updates devices of a class without a network."""
    from devices.profile import load_profile

    region, device_class = region_and_class(channel)
    known = load_profile(profile)
    with _writing_a_medium(out):
        return _pack(profile, known, repo, region, device_class, out)


@contextmanager
def _writing_a_medium(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PackError(
            f"{out} cannot be written: {error.strerror or error}.",
            remedy="Take a larger stick, or make this one writable, and pack it again; half a medium installs nothing.",
        ) from error


def _pack(profile: str, known: Profile, repo: Path, region: str, device_class: str, out: Path) -> Result:
    from devices.clock import Clock
    from devices.provision.bootstrap import DEFAULT_ROOT
    from devices.provision.medium import REPO, ROOT_JSON, seal_medium
    from devices.provision.units import write_units
    from devices.update.client import UpdateClient
    from devices.update.repository import export_repository
    from devices.update.trust import pin_root

    if out.exists() and any(out.iterdir()) and not (out / "medium.json").is_file():
        raise PackError(f"{out} holds files that are no medium.", remedy="Name an empty or new directory.")
    out.mkdir(parents=True, exist_ok=True)
    (out / "install.sh").unlink(missing_ok=True)  # whatever happens from here on, half a medium installs nothing
    export_repository(repo, out / REPO, [(region, device_class)])
    with tempfile.TemporaryDirectory() as folder:  # what a device would say to it
        pin_root(Path(folder), (out / REPO / ROOT_JSON).read_bytes())
        client = UpdateClient(Path(folder), out / REPO, clock=Clock(None), grace=timedelta())
        offer = client.check(region, device_class)
    write_units(out / "units", Path(DEFAULT_ROOT), known)
    document = seal_medium(
        out,
        profile=known,
        profile_toml=_profile_toml(profile, known.name, out / REPO, offer.release),
        release=offer.release,
        region=region,
        device_class=device_class,
    )
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Result(
        document.model_dump(mode="json") | {"out": str(out), "size_bytes": size},
        f"{out} carries release {document.release} for {device_class} devices in {region}, {size / 1e6:.0f} MB. On a "
        f"device: 'sh install.sh --root DIR'. {offer.freshness.sentence}\n"
        f"Its trust root has the SHA-256 {document.root_sha256}: give it to those who install, by another way.",
    )


@click.command()
@click.argument("medium", type=DIRECTORY)
@root_option
@click.option("--root-sha256", help="What the SHA-256 of the trust root must be, as headquarters gave it.")
@_by_option
@json_option
def install(medium: Path, root: Path, root_sha256: str | None, by: str | None) -> Result:
    """Provision the device in --root from MEDIUM, with no network; again, it updates, or finds nothing to do."""
    from devices.provision.device import enrol, hand_over, start_at_boot, starts_at_boot
    from devices.provision.medium import REPO, read_medium

    root = root.absolute()
    document = read_medium(medium)
    with hand_over(root):
        enrol(root, medium, document, root_sha256)
    result = _carry_out(root, medium / REPO, str(medium), by, action="install")
    if starts_at_boot(root):
        return result
    with hand_over(root):
        said = start_at_boot(root)
    return Result({**result.document, "start": said}, f"{result.rendering}\n{said}")


@click.command()
@root_option
@click.argument("source", required=False)
@click.option("--ca", "ca_file", type=FILE, help="Certificates to trust for https instead of the system's (PEM).")
@_by_option
@json_option
def update(root: Path, source: str | None, ca_file: Path | None, by: str | None) -> Result:
    """Bring the device to what its channel offers, from SOURCE: a medium, an export, or an https URL.

    Without SOURCE the URL of last time is asked, with the certificates of last time.
    """
    from devices.provision.device import hand_over, known_ca, known_source, remember_source
    from devices.provision.medium import REPO, read_medium

    root = root.absolute()
    named = source or known_source(root)
    if named.startswith("https://"):
        result = _carry_out(root, named, named, by, action="update", ca_file=ca_file or known_ca(root))
        with hand_over(root):
            remember_source(root, named, ca_file)
        return result
    place = Path(named)
    if not place.is_dir():
        raise InputError(
            f"{named} is neither a directory nor an https:// URL.",
            state="Nothing was changed; what serves now serves on.",
            remedy="Name the medium's directory, or the repository's https:// URL.",
        )
    if (place / "metadata").is_dir():
        return _carry_out(root, place, named, by, action="update")
    read_medium(place)
    return _carry_out(root, place / REPO, named, by, action="update")


@click.command()
@root_option
@click.option("--out", type=NEW_PATH, help="Write the report there.")
@json_option
def inventory(root: Path, out: Path | None) -> Result:
    """Report, signed with the device's key, what it is and runs, who put it there when, and what was checked."""
    from devices.durable import write_durably
    from devices.provision.inventory import make_inventory

    document = make_inventory(root.absolute())
    text = json.dumps(document, ensure_ascii=False, indent=1)
    if out:
        try:
            write_durably(out, text.encode() + b"\n")
        except OSError as error:
            raise InventoryError(f"{out} cannot be written: {error.strerror}.", state="Nothing was written.") from error
    return Result(document, f"Written: {out}" if out else text)


@click.command("verify-inventory")
@click.argument("report", type=FILE)
@click.option("--key", type=FILE, help="The device's public key, PEM, from its first report.")
@json_option
def verify_inventory_command(report: Path, key: Path | None) -> Result:
    """Check the signature of the inventory in the file REPORT."""
    from devices.provision.inventory import verify_inventory
    from edge.bundle.keys import read_public_key

    try:
        document = json.loads(report.read_bytes())
    except (OSError, ValueError) as error:
        raise InventoryError(f"{report} is no inventory report: {error}.") from error
    said = verify_inventory(document, read_public_key(key) if key else None)
    return Result(
        {"verified": True, "device_id": said["device_id"], "key_id": said["key_id"], "time": said["time"]},
        f"Signed by the key {said['key_id']} of {said['device_id']}, {said['time']}.",
    )


MEDIUM_COMMANDS = (wheels, pack, install, update, inventory, verify_inventory_command)


def _carry_out(
    root: Path, source: str | Path, named: str, by: str | None, *, action: Any, ca_file: Path | None = None
) -> Result:
    from devices.provision.device import hand_over, read_channel_of, write_inventory
    from devices.provision.install import Order, carry_out
    from devices.provision.inventory import who
    from devices.provision.slots import Layout, read_switch
    from edge.policy import UpdatePolicy, load_update_policy

    channel = read_channel_of(root)
    active: SlotName | None = read_switch(root).active
    policy = load_update_policy(Layout(root).bundle(active)) if active else UpdatePolicy()
    order = Order(
        source=source,
        named=named,
        region=channel.region,
        device_class=channel.device_class,
        grace=timedelta(days=policy.grace_days),
        crashes=lambda bundle: load_update_policy(bundle).crashes,
        by=by or who(),
        action=action,
        ca_file=ca_file,
    )
    with hand_over(root), _steps() as progress:
        try:
            outcome = carry_out(root, order, progress)
        finally:
            write_inventory(root)  # of what failed too
    release = f"{outcome.release.name}-{outcome.release.sequence}"
    document = {
        "release": release,
        "sequence": outcome.release.sequence,
        "version": outcome.release.version,
        "slot": outcome.slot,
        "changed": outcome.changed,
        "before": outcome.before or None,
        "fetched_bytes": outcome.fetched_bytes,
        "environment": outcome.environment or None,
        "checks": [vars(check) for check in outcome.checks],
        "freshness": outcome.freshness,
    }
    if not outcome.changed:
        return Result(document, f"Release {release} serves already. {outcome.freshness}")
    return Result(
        document,
        f"Release {release} is good, in slot {outcome.slot}; {outcome.fetched_bytes / 1e6:.1f} MB travelled. "
        f"{outcome.freshness}",
    )


def _profile_toml(named: str, name: str, export: Path, release: Release) -> bytes:
    """The profile's file: the bundle's where one of the kit's was named and the bundle was built for that one.

    The kit may have changed its own since; a bank that names a file of its own means that file.
    """
    from devices.profile import parse_profile, profile_path
    from devices.provision.medium import PROFILE
    from devices.update.layout import blob_path, target_file

    sha256 = release.bundle.files[PROFILE].sha256
    bundled = (export / target_file(blob_path(sha256), sha256)).read_bytes()
    if not named.endswith(".toml") and parse_profile(bundled, PROFILE).name == name:
        return bundled
    return profile_path(named).read_bytes()


@contextmanager
def _steps() -> Iterator[Any]:
    words = {
        "check": "checking the signatures",
        "fetch": "fetching",
        "build": "building the slot",
        "seal": "sealing",
        "trial": "trying it out",
    }
    with progress_bar("install") as progress:
        yield lambda step, share: progress(words[step], share)
