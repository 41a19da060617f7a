"""The metadata files of a repository, as they lie there: which count, and what they hold. Nothing is verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import Metadata

from devices.errors import RepositoryError
from devices.update.layout import ROOT_NAME


def latest_metadata(directory: Path) -> dict[str, Path]:
    """The metadata file of every role that counts now; empty where there is no repository.

    That is the newest root, and what ``timestamp.json`` leads to: a version that a power cut kept from being announced
    does not count.

    Raises:
        RepositoryError: A file is missing or damaged.
    """
    metadata = directory / "metadata"
    timestamp = metadata / "timestamp.json"
    roots = {int(path.name.split(".")[0]): path for path in metadata.glob(f"*.{ROOT_NAME}")}
    if not timestamp.is_file() or not roots:
        return {}
    snapshot = metadata / f"{read_metadata(timestamp).signed.snapshot_meta.version}.snapshot.json"
    others = read_metadata(snapshot).signed.meta.items()
    return {
        "root": roots[max(roots)],
        "timestamp": timestamp,
        "snapshot": snapshot,
        **{name.removesuffix(".json"): metadata / f"{meta.version}.{name}" for name, meta in others},
    }


def read_metadata(path: Path) -> Metadata[Any]:
    """The metadata in the file ``path``, not verified.

    Raises:
        RepositoryError: It cannot be read or is no metadata.
    """
    try:
        return Metadata.from_bytes(path.read_bytes())
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read: {error.strerror}.") from error
    except TufError as error:
        raise RepositoryError(f"{path} is damaged: it is no TUF metadata.") from error
