"""The repository of updates: TUF metadata and content-addressed files, in a directory for any static file server.

metadata/  N.root.json N.targets.json N.snapshot.json N.REGION.json timestamp.json
targets/   blobs/ releases/ channels/      file names begin with their hash: consistent snapshots
root.json  the newest root: what a new device is given to trust
draft/     a root that waits for more signatures
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuf.api.metadata import TargetFile

from devices.durable import write_durably
from devices.errors import RepositoryError
from devices.update.files import blob_of, blob_of_file, copy_durably
from devices.update.layout import ROOT_NAME, blob_path, channel_path, target_file
from devices.update.metadata import latest_metadata, read_metadata
from devices.update.release import (
    Blob,
    BundlePart,
    Channel,
    EnvironmentPart,
    Release,
    read_channel,
    read_release,
    release_sequence,
)
from devices.update.roles import Roles


@dataclass(frozen=True)
class ReleaseParts:
    """What a release is made of, as files of this machine.

    Attributes:
        name: Of the line of releases.
        version: For people.
        profiles: Device profiles that it may run on.
        arch: ``x86_64`` or ``aarch64``.
        bundle: Directory of a bundle that the caller has verified.
        bundle_name: As its manifest says.
        bundle_version: As its manifest says.
        bundle_keys: PEM of the keys by which devices shall trust it.
        python: That the wheels are for.
        lock: Requirements with hashes; None for a release without an environment.
        wheels: All wheels of the environment.
        files: What else belongs to it, by path.
    """

    name: str
    version: str
    profiles: Sequence[str]
    arch: str
    bundle: Path
    bundle_name: str
    bundle_version: str
    bundle_keys: Sequence[str]
    python: str = "3.11"
    lock: Path | None = None
    wheels: Sequence[Path] = ()
    files: Mapping[str, Path] = field(default_factory=dict)


class Repository:
    """Releases and channels of a repository.

    Args:
        roles: Its metadata and the keys within reach.
    """

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    @property
    def releases(self) -> tuple[str, ...]:
        """Target paths of all releases, by sequence."""
        paths = [path for path in self._roles.targets("targets").targets if path.startswith("releases/")]
        return tuple(sorted(paths, key=release_sequence))

    def publish(self, parts: ReleaseParts) -> Release:
        """Sign a new release of headquarters. No device takes it before a channel points at it.

        Raises:
            RepositoryError: A value does not fit, or a file cannot be read or copied.
            SigningError: A key is missing.
        """
        with self._roles.changing("targets"):
            release = self._release(parts)
            targets = self._roles.targets("targets").targets
            for sha256, size in release.blobs().items():
                targets[blob_path(sha256)] = TargetFile(size, {"sha256": sha256}, blob_path(sha256))
            targets[release.path] = self._keep_document(release.path, release.to_bytes())
        return release

    def assign(self, release: str, region: str, device_class: str, *, allow_downgrade: bool = False) -> Channel:
        """Let ``region`` choose a release for a class of its devices, signed with the region's key.

        Raises:
            RepositoryError: There is no such release or region.
            SigningError: A key is missing.
        """
        if region not in self._roles.regions:
            known = ", ".join(self._roles.regions) or "none"
            raise RepositoryError(
                f"There is no region {region!r}; known: {known}.", remedy="'edgekit repo delegate' makes one."
            )
        target = self._roles.targets("targets").targets.get(release)
        if target is None or release not in self.releases:
            known = ", ".join(self.releases[-3:]) or "none"
            raise RepositoryError(f"There is no release {release!r}; the latest: {known}.")
        with self._roles.changing(region):
            try:
                channel = Channel(
                    region=region,
                    device_class=device_class,
                    release=release,
                    release_sha256=target.hashes["sha256"],
                    allow_downgrade=allow_downgrade,
                )
            except ValueError as error:
                raise RepositoryError(f"{device_class!r} cannot name a class of devices.") from error
            document = self._keep_document(channel.path, channel.to_bytes())
            self._roles.targets(region).targets[channel.path] = document
        return channel

    def _release(self, parts: ReleaseParts) -> Release:
        bundle = {
            path.relative_to(parts.bundle).as_posix(): self._keep(path)
            for path in sorted(parts.bundle.rglob("*"))
            if path.is_file()
        }
        lock = parts.lock and self._keep(parts.lock)
        wheels = {wheel.name: self._keep(wheel) for wheel in parts.wheels}
        try:
            return Release(
                name=parts.name,
                sequence=max(map(release_sequence, self.releases), default=0) + 1,
                version=parts.version,
                created=self._roles.now,
                profiles=tuple(parts.profiles),
                arch=parts.arch,  # type: ignore[arg-type]  # pydantic says which there are
                bundle=BundlePart(
                    name=parts.bundle_name,
                    version=parts.bundle_version,
                    manifest_sha256=bundle["manifest.json"].sha256,
                    keys=tuple(parts.bundle_keys),
                    files=bundle,
                ),
                environment=EnvironmentPart(python=parts.python, lock=lock, wheels=wheels) if lock else None,
                files={path: self._keep(file) for path, file in parts.files.items()},
            )
        except KeyError as error:
            raise RepositoryError(f"{parts.bundle} is no bundle: it has no {error}.") from error
        except ValueError as error:
            raise RepositoryError(f"This cannot be a release: {error}.") from error

    def _keep(self, source: Path) -> Blob:
        """Keep the contents of ``source`` under their hash."""
        blob = blob_of_file(source)
        target = self._roles.directory / target_file(blob_path(blob.sha256), blob.sha256)
        if (not target.exists() or target.stat().st_size != blob.size) and copy_durably(source, target) != blob:
            target.unlink()
            raise RepositoryError(f"{source} was changed while it was read.")
        return blob

    def _keep_document(self, path: str, data: bytes) -> TargetFile:
        blob = blob_of(data)
        target = self._roles.directory / target_file(path, blob.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_durably(target, data)
        return TargetFile(blob.size, {"sha256": blob.sha256}, path)


def export_repository(directory: Path, out: Path, channels: Iterable[tuple[str, str]] | None = None) -> int:
    """Copy a repository to ``out``, a USB stick for example: the newest metadata, and the files that channels need.

    What is on the stick already and right stays; what no longer belongs to it is removed. ``timestamp.json`` goes last:
    a stick pulled out too early carries the state before or none. Every copied byte is checked.

    Args:
        directory: The repository.
        out: A new or empty directory, or an earlier export.
        channels: (region, class) pairs; None for every channel and every release.

    Returns:
        Bytes that were copied.

    Raises:
        RepositoryError: There is no such channel, a file of the repository is damaged, or ``out`` cannot be written.
    """
    latest = latest_metadata(directory)
    roots = sorted((directory / "metadata").glob(f"*.{ROOT_NAME}"))
    if "timestamp" not in latest or not roots:
        raise RepositoryError(f"{directory} is no update repository.", remedy="Name the right directory.")
    if out.exists() and any(out.iterdir()) and not (out / "metadata").is_dir():
        raise RepositoryError(f"{out} holds files that are no export.", remedy="Name an empty or new directory.")
    targets = _needed_targets(directory, latest, channels)
    metadata = [*roots, *(path for role, path in latest.items() if role not in ("root", "timestamp"))]
    files: dict[str, Blob | None] = dict(targets)
    files |= {f"metadata/{path.name}": None for path in metadata}
    files |= {ROOT_NAME: None, "metadata/timestamp.json": None}
    copied = 0
    try:
        for relative, blob in files.items():
            copied += _export_file(directory / relative, out / relative, blob)
        for folder in ("metadata", "targets"):
            for path in sorted((out / folder).rglob("*")):
                if path.is_file() and path.relative_to(out).as_posix() not in files:
                    path.unlink()
    except OSError as error:
        raise RepositoryError(
            f"{error.filename or out}: {error.strerror}.", state="The export is not whole."
        ) from error
    return copied


def _needed_targets(
    directory: Path, latest: Mapping[str, Path], channels: Iterable[tuple[str, str]] | None
) -> dict[str, Blob]:
    """The files of targets, and what they must hold."""
    known: dict[str, Blob] = {}
    for role in sorted(set(latest) - {"root", "snapshot", "timestamp"}):
        for path, target in read_metadata(latest[role]).signed.targets.items():
            known[path] = Blob(sha256=target.hashes["sha256"], size=target.length)
    if channels is None:
        wanted = set(known)
    else:
        wanted = set()
        for region, device_class in channels:
            path = channel_path(region, device_class)
            if path not in known:
                there = ", ".join(sorted(each for each in known if each.startswith("channels/"))) or "none"
                raise RepositoryError(f"There is no channel {path}; there are: {there}.")
            release_path = read_channel(_document(directory, path, known[path]), path).release
            release = read_release(_document(directory, release_path, known[release_path]), release_path)
            wanted |= {path, release_path, *map(blob_path, release.blobs())}
    return {target_file(path, known[path].sha256): known[path] for path in sorted(wanted)}


def _document(directory: Path, path: str, blob: Blob) -> bytes:
    file = directory / target_file(path, blob.sha256)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RepositoryError(f"{file} cannot be read: {error.strerror}.") from error
    if blob_of(data) != blob:
        raise RepositoryError(f"{file} is damaged: it is not what was signed.")
    return data


def _export_file(source: Path, target: Path, blob: Blob | None) -> int:
    """Copy one file unless it is there; returns the bytes copied."""
    blob = blob or blob_of_file(source)
    if target.is_file() and target.stat().st_size == blob.size and blob_of_file(target) == blob:
        return 0
    if copy_durably(source, target) != blob:
        target.unlink()
        raise RepositoryError(f"{source} is damaged: it is not what was signed.", state="The export is not whole.")
    return blob.size
