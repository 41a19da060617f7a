"""Who may sign what in a repository of updates, and how a change gets its signatures (docs/adr/0018).

**root** names all other keys, offline, with a threshold; **targets** (headquarters) signs releases; each **region**
signs its channels; **snapshot** and **timestamp** sign the list of all that, often.

A change is signed in memory first: where a key is missing, nothing is written. Then files go to the disk in the order
in which clients need them, ``timestamp.json`` last and by one rename, so that a client or a power cut in between sees
the state before. Only a new root counts at once: a client that comes between it and the timestamp by a new key refuses
and comes again. One writer at a time holds a lock on the directory.
"""

from __future__ import annotations

import copy
import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    Targets,
    Timestamp,
)

from devices.durable import write_durably
from devices.errors import RepositoryError, SigningError
from devices.update.files import blob_of
from devices.update.layout import ROOT_NAME, SIGNED_AT
from devices.update.metadata import latest_metadata, read_metadata
from devices.update.signers import Keyring

_LIFETIME_DAYS = {"root": 730, "targets": 365, "snapshot": 90, "timestamp": 30}
_REGION_LIFETIME_DAYS = 365
_REGION = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Roles:
    """The signed metadata of a repository, and the keys that are within reach.

    Every change takes effect at once and is durable on return; where it raises, the repository is as it was.

    Args:
        directory: Of the repository.
        keyring: The signing keys; a change needs those of the roles that it touches, and snapshot and timestamp.
        now: The time of signing.

    Raises:
        RepositoryError: There is no repository, or its metadata is damaged.
    """

    def __init__(self, directory: Path, keyring: Keyring, *, now: datetime | None = None) -> None:
        self.directory = directory
        self.now = (now or datetime.now(UTC)).replace(microsecond=0)
        self._keyring = keyring
        self._metadata = {role: read_metadata(path) for role, path in latest_metadata(directory).items()}
        if missing := sorted(TOP_LEVEL_ROLE_NAMES - set(self._metadata)):
            raise RepositoryError(
                f"{directory} is no update repository: it has no metadata of {', '.join(missing)}.",
                remedy="Make one with 'edgekit repo init', or name the right directory.",
            )

    @classmethod
    def create(
        cls,
        directory: Path,
        keyring: Keyring,
        *,
        root_keys: int = 1,
        threshold: int = 1,
        hsm: Mapping[str, Sequence[str]] | None = None,
        now: datetime | None = None,
    ) -> Roles:
        """A new, empty repository in ``directory``, and its keys.

        Args:
            directory: New or empty.
            keyring: Where new keys go.
            root_keys: How many root keys.
            threshold: How many of them must sign a root.
            hsm: PKCS#11 URIs by role: those keys are taken from an HSM; the others are made as files.
            now: The time of signing.

        Raises:
            RepositoryError: The directory is not empty, or the threshold cannot be met.
            SigningError: An HSM does not give a key, or a key cannot be written.
        """
        hsm = hsm or {}
        if unknown := sorted(set(hsm) - TOP_LEVEL_ROLE_NAMES):
            raise RepositoryError(f"There is no role {unknown[0]!r}; there are {_named(TOP_LEVEL_ROLE_NAMES)}.")
        counts = {
            role: max(len(hsm.get(role, ())), root_keys if role == "root" else 1) for role in TOP_LEVEL_ROLE_NAMES
        }
        if not 1 <= threshold <= counts["root"]:
            raise RepositoryError(f"{threshold} of {counts['root']} root keys cannot sign: at least 1, at most all.")
        if directory.exists() and any(directory.iterdir()):
            raise RepositoryError(f"{directory} is not empty.", remedy="Name a new directory.")
        root = Root(consistent_snapshot=True)
        for role, count in sorted(counts.items()):
            for signer in _new_keys(keyring, role, count, hsm.get(role, ())):
                root.add_key(signer.public_key, role)
        root.roles["root"].threshold = threshold
        try:
            (directory / "metadata").mkdir(parents=True, exist_ok=True)
            signed: tuple[Signed, ...] = (root, Targets(), Snapshot(), Timestamp())
            for each in signed:  # unsigned drafts; signing them below makes the first real version, 1, of each
                each.version = 0
            roles = cls.__new__(cls)
            roles.directory, roles._keyring = directory, keyring
            roles.now = (now or datetime.now(UTC)).replace(microsecond=0)
            roles._metadata = {each.type: Metadata(each) for each in signed}
        except OSError as error:
            raise RepositoryError(f"{directory} cannot be written: {error.strerror}.") from error
        with roles.changing("root", "targets"):
            pass
        return roles

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions with a key of their own."""
        delegations = self.targets("targets").delegations
        return tuple(sorted((delegations and delegations.roles) or ()))

    def expiries(self) -> dict[str, datetime]:
        """Until when the metadata of each role is valid."""
        return {role: metadata.signed.expires for role, metadata in self._metadata.items()}

    def targets(self, role: str) -> Targets:
        """What ``targets`` or a region signs, to be changed inside ``changing``."""
        signed = self._metadata[role].signed
        assert isinstance(signed, Targets)
        return signed

    def delegate(self, region: str, *, hsm: Sequence[str] = ()) -> str:
        """Give ``region`` a key that may sign its channels and nothing else; returns the key's id.

        Raises:
            RepositoryError: The name does not fit, or the region has a key already.
            SigningError: A key is missing or the HSM does not give it.
        """
        if not _REGION.fullmatch(region) or region in TOP_LEVEL_ROLE_NAMES:
            raise RepositoryError(
                f"{region!r} cannot name a region.", remedy="Use small letters, digits and hyphens, a letter first."
            )
        if region in self.regions:
            raise RepositoryError(f"Region {region} has a key already.", remedy="'edgekit repo rotate' changes it.")
        with self.changing("targets", region):
            (signer,) = _new_keys(self._keyring, region, 1, hsm)
            targets = self.targets("targets")
            if targets.delegations is None or targets.delegations.roles is None:
                targets.delegations = Delegations({}, {})
            assert targets.delegations.roles is not None
            # '*' matches no slash: a region's files are channels/REGION/CLASS.json and nothing deeper
            targets.delegations.roles[region] = DelegatedRole(
                region, [], 1, terminating=True, paths=[f"channels/{region}/*.json"]
            )
            targets.add_key(signer.public_key, region)
            first = Targets()
            first.version = 0
            self._metadata[region] = Metadata(first)
        return str(signer.public_key.keyid)

    def renew(self, *roles: str) -> None:
        """Sign the list anew before it expires, and the metadata of ``roles`` with it.

        Raises:
            RepositoryError: There is no such role.
            SigningError: A key is missing.
        """
        for role in roles:
            self._check_role(role)
        with self.changing(*roles):
            pass

    def rotate(self, role: str, *, hsm: Sequence[str] = ()) -> str | None:
        """Replace the keys of ``role`` by as many new ones; the old ones sign nothing from then on.

        A new root must be signed by enough of the old root keys and, where those change, of the new ones. What of them
        is here signs; if that is not enough, the root waits in ``draft/`` for ``sign_root``.

        Returns:
            None if it is done; otherwise which signatures are missing.

        Raises:
            RepositoryError: There is no such role, or another root waits already.
            SigningError: A key is missing or the HSM does not give it.
        """
        self._check_role(role)
        if role not in TOP_LEVEL_ROLE_NAMES:
            with self.changing("targets", role):
                self._replace_keys(self.targets("targets"), role, hsm)
            return None
        if self._draft.exists():
            raise RepositoryError(
                f"{self._draft} waits for signatures.", remedy="Finish it with 'edgekit repo sign', or remove it."
            )
        draft = copy.deepcopy(self._metadata["root"])
        self._replace_keys(draft.signed, role, hsm)
        self._restamp("root", draft)
        return self._finish_root(draft)

    def sign_root(self) -> str | None:
        """Add the signatures of the root keys that are here to the root that waits.

        Returns:
            None if it is done; otherwise which signatures are missing.

        Raises:
            RepositoryError: No root waits.
            SigningError: A key that is needed for the rest is missing.
        """
        if not self._draft.exists():
            raise RepositoryError("No root waits for signatures.", remedy="'edgekit repo rotate' makes one.")
        return self._finish_root(read_metadata(self._draft))

    @contextmanager
    def changing(self, *roles: str, new_root: Metadata[Root] | None = None) -> Iterator[None]:
        """Let the caller change what ``roles`` sign; then it is signed and written, or taken back where that fails.

        Raises:
            RepositoryError: Another command holds the lock, or a file cannot be written.
            SigningError: A key is missing.
        """
        before = copy.deepcopy(self._metadata)
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check_unchanged()
            yield
            self._write(self._signed(set(roles), new_root))
        except BaseException as error:
            self._metadata = before
            if isinstance(error, BlockingIOError):
                raise RepositoryError(f"{self.directory} is being changed by another command.") from error
            if isinstance(error, OSError):
                raise RepositoryError(f"{error.filename or self.directory}: {error.strerror}.") from error
            raise
        finally:
            os.close(descriptor)

    @property
    def _draft(self) -> Path:
        return self.directory / "draft" / ROOT_NAME

    def _check_role(self, role: str) -> None:
        if role not in self._metadata:
            raise RepositoryError(f"There is no role {role!r}; there are {_named(self._metadata)}.")

    def _check_unchanged(self) -> None:
        timestamp = self.directory / "metadata" / "timestamp.json"
        on_disk = read_metadata(timestamp).signed.version if timestamp.exists() else 0
        if on_disk != self._metadata["timestamp"].signed.version:
            raise RepositoryError(f"{self.directory} was changed by another command meanwhile.")

    def _finish_root(self, draft: Metadata[Root]) -> str | None:
        old, new = self._metadata["root"].signed, draft.signed
        if new.version == old.version:  # a power cut came after it was published and before the rest was signed
            self._publish_root(None)
            return None
        for signer in self._keyring.signers([*old.roles["root"].keyids, *new.roles["root"].keyids]):
            _sign(draft, signer)
        result = new.get_root_verification_result(old, draft.signed_bytes, draft.signatures)
        if not result:
            self._draft.parent.mkdir(exist_ok=True)
            write_durably(self._draft, draft.to_bytes())
            lacking = max(result.first.missing, result.second.missing)
            return f"{lacking} more of the root keys {_named(keyid[:16] for keyid in result.unsigned)}"
        self._publish_root(draft)
        return None

    def _publish_root(self, new_root: Metadata[Root] | None) -> None:
        root = (new_root or self._metadata["root"]).signed
        # what replaced keys signed is worth nothing under the new root: it is signed anew with the new keys
        stale = [role for role in sorted(TOP_LEVEL_ROLE_NAMES - {"root"}) if not self._is_signed_under(root, role)]
        with self.changing(*stale, new_root=new_root):
            pass
        self._draft.unlink(missing_ok=True)

    def _is_signed_under(self, root: Root, role: str) -> bool:
        metadata = self._metadata[role]
        return bool(root.get_verification_result(role, metadata.signed_bytes, metadata.signatures))

    def _replace_keys(self, delegator: Root | Targets, role: str, hsm: Sequence[str]) -> None:
        old = list(delegator.get_delegated_role(role).keyids)
        new = _new_keys(self._keyring, role, len(old), hsm)
        for keyid in old:
            delegator.revoke_key(keyid, role)
        for signer in new:
            delegator.add_key(signer.public_key, role)

    def _signed(self, roles: set[str], new_root: Metadata[Root] | None) -> list[tuple[str, bytes]]:
        """Sign ``roles`` and the list above them; returns file names and contents in the order of writing."""
        files: list[tuple[str, bytes]] = []
        if new_root is not None:
            self._metadata["root"] = new_root
            files.append((f"{new_root.signed.version}.root.json", new_root.to_bytes()))
        snapshot, timestamp = self._metadata["snapshot"].signed, self._metadata["timestamp"].signed
        for role in [*sorted(roles - {"snapshot", "timestamp"}), "snapshot", "timestamp"]:
            metadata = self._metadata[role]
            self._restamp(role, metadata)
            self._sign_with_all(role, metadata)
            data, version = metadata.to_bytes(), metadata.signed.version
            meta = MetaFile(version, len(data), {"sha256": blob_of(data).sha256})
            if role == "snapshot":
                timestamp.snapshot_meta = meta
            elif role not in ("root", "timestamp"):
                snapshot.meta[f"{role}.json"] = meta
            files.append(("timestamp.json" if role == "timestamp" else f"{version}.{role}.json", data))
        return files

    def _write(self, files: Iterable[tuple[str, bytes]]) -> None:
        for name, data in files:
            write_durably(self.directory / "metadata" / name, data)
            if name.endswith(f".{ROOT_NAME}"):
                write_durably(self.directory / ROOT_NAME, data)

    def _restamp(self, role: str, metadata: Metadata[Any]) -> None:
        metadata.signed.version += 1
        metadata.signed.expires = self.now + timedelta(days=_LIFETIME_DAYS.get(role, _REGION_LIFETIME_DAYS))
        if role == "timestamp":
            metadata.signed.unrecognized_fields[SIGNED_AT] = self.now.isoformat()
        metadata.signatures.clear()

    def _sign_with_all(self, role: str, metadata: Metadata[Any]) -> None:
        top_level = role in TOP_LEVEL_ROLE_NAMES
        delegator: Root | Targets = self._metadata["root"].signed if top_level else self.targets("targets")
        keys = delegator.get_delegated_role(role)
        for signer in self._keyring.signers(keys.keyids):
            _sign(metadata, signer)
        if len(metadata.signatures) < keys.threshold:
            raise SigningError(
                f"{role} has {len(metadata.signatures)} of {keys.threshold} signatures; its keys are "
                f"{_named(keyid[:16] for keyid in keys.keyids)}."
            )


def _new_keys(keyring: Keyring, role: str, count: int, hsm: Sequence[str]) -> list[Signer]:
    signers = [keyring.add_hsm(role, uri) for uri in hsm]
    return signers + [keyring.make(role) for _ in range(count - len(signers))]


def _sign(metadata: Metadata[Any], signer: Signer) -> None:
    try:
        metadata.sign(signer, append=True)
    except TufError as error:
        cause = error.__cause__ or error
        said = str(cause).rstrip(".") or type(cause).__name__
        raise SigningError(f"Key {signer.public_key.keyid[:16]} cannot sign: {said}.") from error


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
