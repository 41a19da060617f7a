"""The sample application of a bundle: what a device tries itself on before it serves.

It lies under ``sample/`` as any application directory. A release in trial has to score it, and a worker rehearses with
it, so pages of the sizes that a branch takes are met before the first customer's.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from devices.errors import BundleError
from edge.application import APPLICATION_NAME, read_directory
from edge.bundle.manifest import is_plain_path
from edge.bundle.verify import VerifiedBundle

SAMPLE_FOLDER = "sample"


@dataclass(frozen=True)
class Sample:
    """The bytes of ``application.json`` and of the files that it names."""

    application: bytes
    files: dict[str, bytes]


def sample_of(bundle: VerifiedBundle) -> Sample | None:
    """The sample of ``bundle``, if it has one."""
    prefix = f"{SAMPLE_FOLDER}/"
    files = {path.removeprefix(prefix): data for path, data in bundle.files.items() if path.startswith(prefix)}
    application = files.pop(APPLICATION_NAME, None)
    return None if application is None else Sample(application, files)


def copy_sample(source: Path, draft: Path) -> None:
    """Copy the application directory ``source`` into a bundle that is being built: what it names, nothing else.

    Raises:
        ApplicationError: It is no complete application.
        BundleError: A file's name cannot be in a manifest.
    """
    for name in (APPLICATION_NAME, *read_directory(source).files):
        if not is_plain_path(name):
            raise BundleError(
                f"The sample's file {name!r} cannot be in a bundle.",
                remedy="Give it a name of letters, digits, '.', '_' and '-', in application.json too.",
            )
        target = draft / SAMPLE_FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
