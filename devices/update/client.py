"""The device's side of updates: python-tuf's client, on a clock that cannot be set back, with a grace period.

What ``check`` and ``fetch`` hand over was verified from the device's trust root down. They write into the trust
directory and the download directory and nowhere else: no slot is touched, whatever a source sends.

What was verified once is kept in the trust directory, and older metadata is refused by it (rollback). One process at
a time may use a trust directory.

Expired metadata is a refusal (freeze attack), except that a device which was cut off may use it for ``grace`` more.
That is said in the result. All other rules stay in force meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from tuf.api import exceptions
from tuf.api.metadata import TargetFile
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater

from devices.clock import Clock
from devices.durable import sync_directory, write_durably
from devices.errors import (
    UpdateContentError,
    UpdateEndlessError,
    UpdateError,
    UpdateFreezeError,
    UpdateMixError,
    UpdateRollbackError,
    UpdateSignerError,
    UpdateSlowError,
    UpdateThresholdError,
)
from devices.update.files import blob_of_file
from devices.update.layout import SIGNED_AT, blob_path, channel_path, target_file
from devices.update.release import (
    CHANNEL_MAX_BYTES,
    RELEASE_MAX_BYTES,
    Channel,
    Release,
    read_channel,
    read_release,
)
from devices.update.sources import DirectorySource, HttpsSource, Limits, Source
from devices.update.trust import Freshness, pinned_root

_SIGNED_BY = re.compile(r"signed by (\d+)/(\d+) keys")


@dataclass(frozen=True)
class Offer:
    """What a channel says that this device shall run.

    Attributes:
        channel: The region's choice.
        release: The release of headquarters that it chose.
        freshness: Whether the metadata is valid or within its grace period.
    """

    channel: Channel
    release: Release
    freshness: Freshness


class UpdateClient:
    """Verified releases from a source that nobody needs to trust.

    Args:
        trust_dir: With ``root.json``, see ``pin_root``.
        source: An ``https://`` URL, or a directory such as a USB stick.
        clock: The device's clock.
        grace: How long expired metadata may be used; from the signed bundle's policy.
        ca_file: For HTTPS: certificates to trust instead of the system's.
        limits: For HTTPS: how slow the server may be.

    Raises:
        UpdateTrustError: There is no trust root, or it is damaged.
        UpdateError: The source is neither, or ``ca_file`` cannot be read.
    """

    def __init__(
        self,
        trust_dir: Path,
        source: str | Path,
        *,
        clock: Clock,
        grace: timedelta,
        ca_file: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._metadata_dir = trust_dir / "metadata"
        self._root = pinned_root(trust_dir)
        self._clock = clock
        self._grace = grace
        self._source = _source(source, ca_file, limits)

    def check(self, region: str, device_class: str) -> Offer:
        """Verify the source's metadata and read what the channel of ``device_class`` in ``region`` offers.

        Raises:
            UpdateError: One of its subclasses for each attack and fault; the device is as it was.
        """
        with self._translated():
            now = self._clock.now()
            try:
                return self._check(region, device_class, now, now)
            except exceptions.ExpiredMetadataError:
                if not self._grace:
                    raise
            return self._check(region, device_class, now, now - self._grace)

    def fetch(self, blobs: Mapping[str, int], into: Path, have: Mapping[str, Path] | None = None) -> dict[str, Path]:
        """Bring the files ``blobs`` (size in bytes by SHA-256), each verified.

        What lies in ``into`` already is used, a part of a file too: call again after a broken line. A file of ``have``
        is used where its bytes are right, and left where it is.

        Args:
            blobs: From a verified release.
            into: Download directory; made if need be.
            have: Files that are here, by SHA-256: the active slot's.

        Returns:
            A local file for each blob.

        Raises:
            UpdateContentError: A file is damaged at the source; the message names it.
            UpdateEndlessError: The source sends more than the signed size.
            UpdateSlowError: It sends too little.
            UpdateError: It cannot be read, or ``into`` not be written.
        """
        known = have or {}
        files: dict[str, Path] = {}
        with self._translated():
            into.mkdir(parents=True, exist_ok=True)
            for sha256, size in sorted(blobs.items()):
                here = [path for path in (known.get(sha256), into / sha256) if path and _is(path, sha256, size)]
                files[sha256] = here[0] if here else self._download(sha256, size, into)
        return files

    def _check(self, region: str, device_class: str, now: datetime, reference: datetime) -> Offer:
        self._metadata_dir.mkdir(parents=True, exist_ok=True)
        updater = _Updater(self._metadata_dir, self._source, self._root, reference)
        updater.refresh()
        channel_data = self._document(updater, channel_path(region, device_class), CHANNEL_MAX_BYTES)
        channel = read_channel(channel_data, channel_path(region, device_class))
        release_data = self._document(updater, channel.release, RELEASE_MAX_BYTES)
        if hashlib.sha256(release_data).hexdigest() != channel.release_sha256:
            raise UpdateMixError(
                f"{channel.path} chose another {channel.release} than the one that headquarters signed."
            )
        release = read_release(release_data, channel.release)
        if signed_at := updater.signed_at():
            self._clock.saw(signed_at)
        return Offer(channel, release, Freshness(updater.expires(), now, self._grace))

    def _document(self, updater: _Updater, path: str, limit: int) -> bytes:
        target = updater.get_targetinfo(path)
        if target is None:
            raise UpdateError(
                f"{self._source} has no {path}.",
                remedy="Check the region and the class of this device, or ask headquarters for a copy that has them.",
            )
        if target.length > limit:
            raise UpdateContentError(f"{path} has {target.length} bytes; such a document has {limit} at most.")
        file_name = target_file(path, target.hashes["sha256"])
        data = self._source.download_bytes(file_name, target.length)
        self._verify(target, data, file_name)
        return data

    def _verify(self, target: TargetFile, data: bytes, file_name: str) -> None:
        try:
            target.verify_length_and_hashes(data)
        except exceptions.LengthOrHashMismatchError as error:
            raise UpdateContentError(f"{file_name} is damaged: its bytes are not the signed ones.") from error

    def _download(self, sha256: str, size: int, into: Path) -> Path:
        """One blob, going on where an earlier try stopped."""
        file_name, part = target_file(blob_path(sha256), sha256), into / f"{sha256}.part"
        with part.open("ab") as file:
            offset = file.tell() if file.tell() <= size else file.truncate(0)
            if offset < size:
                self._append(file, file_name, offset, size)
            file.flush()
            os.fsync(file.fileno())
        blob = blob_of_file(part)
        if (blob.sha256, blob.size) != (sha256, size):
            part.unlink()
            if offset:  # what an earlier try left was wrong, as after a power cut
                return self._download(sha256, size, into)
            raise UpdateContentError(f"{file_name} is damaged: its bytes are not the signed ones.")
        part.replace(into / sha256)
        sync_directory(into)
        return into / sha256

    def _append(self, file: BinaryIO, file_name: str, offset: int, size: int) -> None:
        for chunk in self._source.pieces(file_name, offset):
            if not chunk:  # the source begins at the beginning
                offset = file.truncate(0)
            offset += len(chunk)
            if offset > size:
                file.truncate(0)
                raise exceptions.DownloadLengthMismatchError(f"more than {size} bytes")
            file.write(chunk)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Every error of python-tuf as one of ours; the file in question is the one that was asked for last."""
        try:
            yield
        except exceptions.SlowRetrievalError as error:
            raise UpdateSlowError(f"{self._source} is too slow: {error} ({self._source.last}).") from error
        except exceptions.DownloadLengthMismatchError as error:
            raise UpdateEndlessError(f"{self._source.last} is larger than what was signed: {error}.") from error
        except exceptions.DownloadError as error:
            # a certificate is "not yet valid" to a clock at 1970
            raise UpdateError(f"{self._source} cannot be read: {error}.{self._doubtful_clock()}") from error
        except exceptions.ExpiredMetadataError as error:
            raise self._freeze(error) from error
        except exceptions.UnsignedMetadataError as error:
            raise self._unsigned(error) from error
        except exceptions.BadVersionNumberError as error:
            raise UpdateRollbackError(
                f"{self._source.last} is older than what this device has seen already: {error}."
            ) from error
        except exceptions.LengthOrHashMismatchError as error:
            raise UpdateMixError(
                f"{self._source.last} does not belong to the signed list: it was changed, or is of another version."
            ) from error
        except DeserializationError as error:
            raise UpdateContentError(f"{self._source.last} is damaged: it is no signed document.") from error
        except exceptions.RepositoryError as error:
            raise UpdateMixError(f"{self._source.last} does not fit the rest: {error}.") from error
        except OSError as error:
            raise UpdateError(f"{error.filename or self._metadata_dir}: {error.strerror}.") from error

    def _freeze(self, error: exceptions.ExpiredMetadataError) -> UpdateFreezeError:
        return UpdateFreezeError(
            f"What {self._source} holds is past its date ({error}), and the grace period of {self._grace.days} days "
            f"is over; this device's date is {self._clock.now():%Y-%m-%d}.{self._doubtful_clock()}"
        )

    def _doubtful_clock(self) -> str:
        reading = self._clock.read()
        return "" if reading.state == "ok" else f" {reading.sentence}"

    def _unsigned(self, error: exceptions.UnsignedMetadataError) -> UpdateSignerError | UpdateThresholdError:
        match = _SIGNED_BY.search(str(error))
        signed, threshold = map(int, match.groups()) if match else (0, 1)
        if signed:
            return UpdateThresholdError(f"{self._source.last} has {signed} of {threshold} signatures.")
        return UpdateSignerError(
            f"{self._source.last} has no signature by a key that this device trusts: it was changed, or is another's."
        )


class _Updater(Updater):
    """python-tuf's client with a clock of ours, and metadata that survives a power cut.

    The two names with an underscore that are used here are python-tuf's own; tests/devices/update/test_client.py
    fails where a new version of it no longer has them.
    """

    def __init__(self, metadata_dir: Path, source: Source, root: bytes, reference: datetime) -> None:
        super().__init__(str(metadata_dir), "metadata/", fetcher=source, bootstrap=root)
        self._trusted_set.reference_time = reference

    def _persist_file(self, filename: str, data: bytes) -> None:
        write_durably(Path(filename), data)

    def expires(self) -> datetime:
        """When the first part of the metadata that was used expires."""
        expiries: list[datetime] = [signed.expires for signed in self._trusted_set]
        return min(expiries)

    def signed_at(self) -> datetime | None:
        """When the timestamp was signed, as it says itself."""
        said = self._trusted_set.timestamp.unrecognized_fields.get(SIGNED_AT)
        try:
            return datetime.fromisoformat(str(said)).astimezone(UTC)
        except ValueError:
            return None


def _source(source: str | Path, ca_file: Path | None, limits: Limits | None) -> Source:
    if isinstance(source, Path):
        return DirectorySource(source)
    try:
        return HttpsSource(source, ca_file=ca_file, limits=limits)
    except ValueError as error:
        raise UpdateError(f"{error}.", remedy="Give an https:// URL, or the directory of a USB stick.") from error
    except OSError as error:
        raise UpdateError(f"The certificates in {ca_file} cannot be read: {error.strerror}.") from error


def _is(path: Path, sha256: str, size: int) -> bool:
    try:
        return path.stat().st_size == size and blob_of_file(path).sha256 == sha256
    except OSError:
        return False
