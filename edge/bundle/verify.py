"""Nothing of a bundle is used before every byte of it is accounted for.

The rules, in this order; the first that fails raises, and nothing is loaded:
 1. manifest.json and manifest.sig are there.
 2. The signature is by a trusted key and fits the bytes of manifest.json. The manifest is parsed only after this.
 3. Every file that it lists is there, is a plain file, and has the listed size and SHA-256.
 4. No other file is there.

What is verified is what is used: the bytes are kept, and models are loaded from them, not from the disk again.

A bundle that decided before is known by the SHA-256 of its manifest instead of by a signature (``reopen_bundle``): the
journal names it, and was written when the signature had been checked.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices.errors import BundleError, BundleFileError, BundleSignatureError
from edge.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME, FileEntry, Manifest, read_manifest, sha256_hex

_SIGNATURE_MAX_BYTES = 4096
_MANIFEST_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle whose every byte was checked.

    Attributes:
        manifest: Parsed after its signature was found good.
        sha256: Of manifest.json, which names the hash of everything else: one number for the whole bundle.
        key_id: The trusted key that signed it; empty where it was known by its hash.
        files: Contents by path.
    """

    manifest: Manifest
    sha256: str
    key_id: str
    files: Mapping[str, bytes]


def verify_bundle(directory: Path, trusted: Mapping[str, Ed25519PublicKey]) -> VerifiedBundle:
    """Read and check the bundle in ``directory`` against the rules above.

    Raises:
        BundleError: It is no bundle.
        BundleSignatureError: The signature is missing, malformed, wrong, or by a key that is not trusted.
        BundleFileError: A file was changed, is missing, is extra, or is not a plain file; the message names it.
    """
    present, manifest_bytes = _present(directory)
    signer = verify_signature(manifest_bytes, _read_limited(directory / SIGNATURE_NAME, _SIGNATURE_MAX_BYTES), trusted)
    return _checked_bundle(directory, present, manifest_bytes, signer)


def reopen_bundle(directory: Path, sha256: str) -> VerifiedBundle:
    """Read and check the bundle whose manifest has this SHA-256; rule 2 aside, as ``verify_bundle``.

    Raises:
        BundleError: It is no bundle.
        BundleFileError: It is another one, or a file was changed, is missing, is extra, or is not a plain file.
    """
    present, manifest_bytes = _present(directory)
    if sha256_hex(manifest_bytes) != sha256:
        raise BundleFileError(f"{directory} holds another bundle than {sha256[:12]}...")
    return _checked_bundle(directory, present, manifest_bytes, "")


def _present(directory: Path) -> tuple[set[str], bytes]:
    if not directory.is_dir():
        raise BundleError(f"{directory} is not a directory.")
    present = _plain_files(directory)
    for name in (MANIFEST_NAME, SIGNATURE_NAME):
        if name not in present:
            raise BundleFileError(f"{name} is missing from {directory}.")
    return present, _read_limited(directory / MANIFEST_NAME, _MANIFEST_MAX_BYTES)


def _checked_bundle(directory: Path, present: set[str], manifest_bytes: bytes, signer: str) -> VerifiedBundle:
    manifest = read_manifest(manifest_bytes)
    files: dict[str, bytes] = {}
    for path, entry in sorted(manifest.files.items()):
        if path not in present:
            raise BundleFileError(f"{path} is listed in the manifest but missing from the bundle.")
        files[path] = _checked(directory / path, path, entry)
    if extra := sorted(present - set(files) - {MANIFEST_NAME, SIGNATURE_NAME}):
        raise BundleFileError(f"{extra[0]} is in the bundle but not in its manifest.")
    return VerifiedBundle(manifest, sha256_hex(manifest_bytes), signer, files)


def verify_signature(manifest: bytes, signature: bytes, trusted: Mapping[str, Ed25519PublicKey]) -> str:
    """Check ``manifest.sig`` over ``manifest.json``; returns the id of the key that signed.

    Raises:
        BundleSignatureError: It is malformed, by a key that is not trusted, or does not fit.
    """
    try:
        document = json.loads(signature)
        signer = str(document["key_id"])
        raw = base64.b64decode(document["signature"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise BundleSignatureError(f"{SIGNATURE_NAME} is not a signature: it is damaged or empty.") from error
    # base64 and JSON each have several spellings of the same value; only ours counts, so that no byte may change
    if signature_bytes(signer, raw) != signature:
        raise BundleSignatureError(f"{SIGNATURE_NAME} was changed: it is not in the form that 'bundle build' writes.")
    if signer not in trusted:
        known = ", ".join(sorted(trusted)) or "none"
        raise BundleSignatureError(
            f"The bundle is signed by key {signer}, which this device does not trust (trusted: {known}).",
            remedy="If the key is the bank's, copy its public key here and run 'edgekit bundle trust FILE'.",
        )
    try:
        trusted[signer].verify(raw, manifest)
    except InvalidSignature as error:
        raise BundleSignatureError(
            f"{MANIFEST_NAME} is not what key {signer} signed: one of the two was changed."
        ) from error
    return signer


def signature_bytes(signer: str, raw: bytes) -> bytes:
    """The contents of ``manifest.sig``: the signing key's id and the 64 raw bytes of the signature."""
    return json.dumps({"key_id": signer, "signature": base64.b64encode(raw).decode()}).encode() + b"\n"


def _plain_files(directory: Path) -> set[str]:
    found = set()
    for path in directory.rglob("*"):
        relative = path.relative_to(directory).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BundleFileError(f"{relative} is a link or a special file; a bundle holds plain files only.")
        if path.is_file():
            found.add(relative)
    return found


def _read_limited(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BundleFileError(f"{path.name} is larger than {limit} bytes.")
    return data


def _checked(location: Path, path: str, entry: FileEntry) -> bytes:
    # size first: a swapped-in file of many gigabytes must not be read to learn that it is wrong
    size = location.stat().st_size
    if size != entry.size:
        raise BundleFileError(f"{path} was changed: it has {size} bytes, the manifest says {entry.size}.")
    data = location.read_bytes()
    digest = sha256_hex(data)
    if digest != entry.sha256:
        raise BundleFileError(
            f"{path} was changed: its SHA-256 begins with {digest[:12]}, the manifest says {entry.sha256[:12]}."
        )
    return data
