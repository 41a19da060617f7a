"""``edgekit bundle``: build, inspect, verify, trust."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Group
from rich.table import Table

from devices.errors import BundleError
from devices.profile import load_profile, profile_path
from edge.bundle.build import build_bundle
from edge.bundle.keys import key_id, read_public_key, signing_key, trust, trusted_keys
from edge.bundle.manifest import MANIFEST_NAME, read_manifest
from edge.bundle.verify import verify_bundle
from edge.commands.result import DIRECTORY, FILE, NEW_PATH, Result, json_option


@click.group()
def bundle() -> None:
    """Put artifacts into one signed directory, and check such a directory."""


@bundle.command()
@click.argument("artifacts", nargs=-1, required=True, type=DIRECTORY)
@click.option("--profile", required=True, help="A profile's name, or the path of a .toml file.")
@click.option("--policy", required=True, type=FILE, help="Thresholds and weights of the score, TOML.")
@click.option("--out", required=True, type=NEW_PATH, help="The bundle's directory.")
@click.option("--name", default="branch-loans", show_default=True, help="What the bundle is for.")
@click.option("--sample", type=DIRECTORY, help="An application on which devices try themselves before they serve.")
@click.option("--version", help="Of this bundle.  [default: the time, as 2026.11.23.140500]")
@json_option
def build(
    artifacts: tuple[Path, ...],
    profile: str,
    policy: Path,
    out: Path,
    name: str,
    sample: Path | None,
    version: str | None,
) -> Result:
    """Build a bundle from ARTIFACTS and sign it with this machine's key, made on first use."""
    now = datetime.now(UTC).replace(microsecond=0)
    manifest = build_bundle(
        artifacts,
        profile=load_profile(profile),
        profile_toml=profile_path(profile).read_bytes(),
        policy=policy,
        out=out,
        key=signing_key(),
        name=name,
        version=version or now.strftime("%Y.%m.%d.%H%M%S"),
        created=now,
        sample=sample,
    )
    verified = verify_bundle(out, trusted_keys())
    size = sum(entry.size for entry in manifest.files.values())
    document = {
        "bundle": str(out),
        "name": manifest.name,
        "version": manifest.version,
        "sha256": verified.sha256,
        "signed_by": verified.key_id,
        "files": len(manifest.files),
        "size_bytes": size,
    }
    sentence = (
        f"Bundle {manifest.name} {manifest.version}: {len(manifest.files)} files, {size / 1e6:.1f} MB, "
        f"signed by {verified.key_id}, in {out}."
    )
    return Result(document, sentence)


@bundle.command()
@click.argument("directory", type=DIRECTORY)
@json_option
def verify(directory: Path) -> Result:
    """Check every byte of the bundle in DIRECTORY against its manifest and signature."""
    verified = verify_bundle(directory, trusted_keys())
    manifest = verified.manifest
    document = {
        "verified": True,
        "name": manifest.name,
        "version": manifest.version,
        "sha256": verified.sha256,
        "signed_by": verified.key_id,
        "files": len(verified.files),
    }
    sentence = (
        f"Bundle {manifest.name} {manifest.version} is whole: {len(verified.files)} files, signed by {verified.key_id}."
    )
    return Result(document, sentence)


@bundle.command()
@click.argument("directory", type=DIRECTORY)
@json_option
def inspect(directory: Path) -> Result:
    """Show what a bundle says of itself. Nothing is verified and nothing is loaded."""
    try:
        manifest = read_manifest((directory / MANIFEST_NAME).read_bytes())
    except OSError as error:
        raise BundleError(f"{directory / MANIFEST_NAME} cannot be read: {error.strerror}.") from error
    table = Table(box=None)
    for column, justify in (("File", "left"), ("Bytes", "right"), ("SHA-256", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]  # rich wants the literals one by one
    for path, entry in sorted(manifest.files.items()):
        table.add_row(path, f"{entry.size:,}", entry.sha256[:16])
    head = (
        f"{manifest.name} {manifest.version}, profile {manifest.profile}, built {manifest.created.isoformat()}\n"
        "Not verified: 'edgekit bundle verify' does that.\n"
    )
    return Result(manifest.model_dump(mode="json") | {"verified": False}, Group(head, table))


@bundle.command("trust")
@click.argument("key", type=FILE)
@json_option
def trust_key(key: Path) -> Result:
    """Trust the public key in the PEM file KEY on this device from now on."""
    public = read_public_key(key)
    kept = trust(public)
    return Result(
        {"key_id": key_id(public), "file": str(kept)}, f"Key {key_id(public)} is trusted from now on: {kept}."
    )
