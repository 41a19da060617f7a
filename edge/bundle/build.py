"""Build a bundle from artifacts, a policy and a profile, and sign it. A bundle appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.errors import BundleError, ModelError
from devices.profile import Profile
from edge.bundle.keys import key_id
from edge.bundle.manifest import (
    MANIFEST_NAME,
    POLICY_NAME,
    PROFILE_NAME,
    SIGNATURE_NAME,
    FileEntry,
    Manifest,
    is_plain_path,
    sha256_hex,
)
from edge.bundle.sample import copy_sample
from edge.bundle.verify import signature_bytes
from edge.further_score import check_section
from edge.policy import load_policy
from runtime.artifact import ARTIFACT_NAME, ModelEntry, read_artifact
from runtime.choice import Golden, read_golden


def build_bundle(
    artifacts: Sequence[Path],
    *,
    profile: Profile,
    profile_toml: bytes,
    policy: Path,
    out: Path,
    key: Ed25519PrivateKey,
    name: str,
    version: str,
    created: datetime,
    sample: Path | None = None,
) -> Manifest:
    """Write the bundle to ``out``, replacing an earlier bundle there.

    ``sample`` is an application directory on which devices try themselves (``edge.bundle.sample``).

    Raises:
        BundleError: ``out`` holds something else, an artifact is there twice or its directory's name cannot be in a
            manifest, two models have one name, or a text model labels tokens.
        ModelError: An artifact is none, or golden outputs that a score is compared with are missing.
        PolicyError: The policy cannot be read or is malformed, or a section of ``scores`` does not fit its model.
        ApplicationError: The sample is no complete application.
    """
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST_NAME).is_file():
        raise BundleError(f"{out} holds files that are no bundle.", remedy="Name an empty or new directory with --out.")
    sections = load_policy(policy).scores
    models: dict[str, tuple[Path, ModelEntry]] = {}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        draft = Path(scratch) / "bundle"
        draft.mkdir()
        for artifact in artifacts:
            read = read_artifact(artifact)
            if read.text is not None and read.text.head != "sequence":
                raise BundleError(
                    f"{artifact} labels tokens; the text model of a bundle labels whole texts.",
                    remedy="Give the artifact of a classifier of texts; use this one with 'edgekit predict text'.",
                )
            target = draft / (_FOLDERS.get(read.kind) or artifact.resolve().name)
            if not is_plain_path(target.name):
                raise BundleError(
                    f"The artifact's directory {target.name!r} cannot be in a bundle.",
                    remedy="Give it a name of letters, digits, '.', '_' and '-'.",
                )
            if target.exists():
                raise BundleError(f"Two artifacts would both be {target.name} in the bundle: {artifact} is the second.")
            shutil.copytree(artifact, target)
            for entry in read.models:
                if entry.name in models:
                    raise BundleError(
                        f"Two models of the bundle would be called {entry.name}: {artifact} has the second.",
                        remedy="Compress it again from a file or directory of another name, after which it is called.",
                    )
                models[entry.name] = artifact, entry
        for score, section in sections.items():
            known = {each: _golden(*where) if each == section.model else None for each, where in models.items()}
            check_section(score, section, known)
        shutil.copyfile(policy, draft / POLICY_NAME)
        (draft / PROFILE_NAME).write_bytes(profile_toml)
        if sample is not None:
            copy_sample(sample, draft)
        manifest = Manifest(
            name=name,
            version=version,
            created=created,
            profile=profile.name,
            artifacts=tuple(sorted(path.parent.name for path in draft.glob(f"*/{ARTIFACT_NAME}"))),
            files={
                path.relative_to(draft).as_posix(): _entry(path) for path in sorted(draft.rglob("*")) if path.is_file()
            },
        )
        data = manifest.to_bytes()
        (draft / MANIFEST_NAME).write_bytes(data)
        (draft / SIGNATURE_NAME).write_bytes(signature_bytes(key_id(key.public_key()), key.sign(data)))
        for path in _files(draft):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if out.exists():
            out.replace(Path(scratch) / "replaced")
        draft.replace(out)
    return manifest


# one folder a part of the decision, whatever directory it was compressed into; "model" keeps its own name
_FOLDERS = {"ocr": "ocr", "text": "text-risk", "behaviour": "behaviour"}


def _golden(artifact: Path, entry: ModelEntry) -> Golden | None:
    if entry.golden is None:
        return None
    path = artifact / entry.golden
    if not path.is_file():
        raise ModelError(f"{artifact} lacks {entry.golden}, the golden outputs of {entry.name}.")
    return read_golden(path.read_bytes())


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _entry(path: Path) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(sha256=sha256_hex(data), size=len(data))
