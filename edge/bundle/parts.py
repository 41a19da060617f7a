"""The artifacts of a verified bundle, and each model's files and golden outputs, from memory alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devices.errors import BundleError
from edge.bundle.verify import VerifiedBundle
from runtime.artifact import ARTIFACT_NAME, Artifact, ModelEntry, parse_artifact
from runtime.choice import Golden, read_golden
from runtime.predictor import ModelFiles, model_from_bytes


@dataclass(frozen=True)
class Part:
    """One artifact of the bundle: its files by path relative to it, and its parsed ``artifact.json``."""

    folder: str
    files: Mapping[str, bytes]
    artifact: Artifact

    def within(self, directory: str) -> dict[str, bytes]:
        """The files directly in ``directory`` of the artifact, by name."""
        prefix = "" if directory == "." else f"{directory}/"
        inside = {path.removeprefix(prefix): data for path, data in self.files.items() if path.startswith(prefix)}
        return {path: data for path, data in inside.items() if "/" not in path}

    def model(self, entry: ModelEntry) -> ModelFiles:
        """A model's files.

        Raises:
            ModelError: They are missing.
        """
        origin = f"{self.folder} of the bundle"
        return model_from_bytes(self.within(entry.directory), entry.name, origin=origin, precision=entry.precision)

    def golden(self, entry: ModelEntry) -> Golden | None:
        """A model's golden inputs and outputs; None where its entry names none.

        Raises:
            BundleError: The file that the entry names is missing.
            ModelError: It is malformed.
        """
        if entry.golden is None:
            return None
        if entry.golden not in self.files:
            raise BundleError(f"{self.folder} of the bundle lacks {entry.golden}, the golden outputs of {entry.name}.")
        return read_golden(self.files[entry.golden])


def parts_of(bundle: VerifiedBundle) -> list[Part]:
    """Every artifact that the manifest lists.

    Raises:
        BundleError: One of them is not in the bundle.
        ModelError: An ``artifact.json`` is malformed.
    """
    return [_part(bundle, folder) for folder in bundle.manifest.artifacts]


def bundle_file(bundle: VerifiedBundle, path: str) -> bytes:
    """One file of the bundle.

    Raises:
        BundleError: It is not there.
    """
    if path not in bundle.files:
        raise BundleError(f"The bundle holds no {path}.", remedy="Build the bundle again with 'edgekit bundle build'.")
    return bundle.files[path]


def _part(bundle: VerifiedBundle, folder: str) -> Part:
    prefix = f"{folder}/"
    files = {path.removeprefix(prefix): data for path, data in bundle.files.items() if path.startswith(prefix)}
    if ARTIFACT_NAME not in files:
        raise BundleError(f"The bundle lists the artifact {folder}, but {folder}/{ARTIFACT_NAME} is not in it.")
    return Part(folder, files, parse_artifact(files[ARTIFACT_NAME], f"{folder}/{ARTIFACT_NAME}"))
