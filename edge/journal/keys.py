"""The device key: one secret of 32 bytes, from which come the key that wraps, the key that signs, and pseudonyms.

It is made once, durably, in ``device-key.json`` in ``STATE/keys``, mode 0600: as it is, or sealed in the TPM where the
device has one (edge.journal.tpm). It is never made again where a journal was begun: a lost key is said, and never leads
to a new journal in silence.

The three keys are derived with HKDF-SHA256 (RFC 5869), so that one secret has to be sealed and kept.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import logging
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from devices.durable import locked, write_durably
from devices.errors import DeviceKeyError, JournalFullError
from devices.state import ensure_state_dir
from edge.journal import tpm
from edge.journal.entry import Head, head_bytes, signed_bytes

log = logging.getLogger(__name__)

KEY_NAME = "device-key.json"
ANCHOR_NAME = "journal-head.json"  # written by edge.journal.anchor; where it is, there was a journal
_SECRET_BYTES = 32
_NONCE_BYTES = 12


class DeviceKeys:
    """The keys of this device.

    Args:
        folder: Where they are kept, and the journal's head beside them.
        secret: 32 bytes.
        protection: ``file`` or ``tpm``.
    """

    def __init__(self, folder: Path, secret: bytes, *, protection: str = "file") -> None:
        if len(secret) != _SECRET_BYTES:
            raise ValueError(f"a device key has {_SECRET_BYTES} bytes, not {len(secret)}")
        self.folder, self.protection = folder, protection
        self._wrapping = AESGCM(_derived(secret, b"wrapping"))
        self._signing = Ed25519PrivateKey.from_private_bytes(_derived(secret, b"signing"))
        self._naming = _derived(secret, b"pseudonyms")
        self.public = self._signing.public_key()

    def __repr__(self) -> str:
        return f"DeviceKeys({str(self.folder)!r}, protection={self.protection!r})"

    @property
    def public_bytes(self) -> bytes:
        """The key that verifies this device's signatures, 32 bytes."""
        return self.public.public_bytes_raw()

    def sign(self, digest: str) -> bytes:
        """The signature of the entry with this hash, 64 bytes."""
        return self._signing.sign(signed_bytes(digest))

    def sign_head(self, seq: int, digest: str) -> Head:
        """The head, signed."""
        return Head(seq, digest, self._signing.sign(head_bytes(seq, digest)))

    def wrap(self, key: bytes, bound_to: bytes) -> bytes:
        """Encrypt a record key; only with the same ``bound_to`` does it open again."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, key, bound_to)

    def unwrap(self, wrapped: bytes, bound_to: bytes) -> bytes:
        """The record key.

        Raises:
            DeviceKeyError: It was wrapped by another device key, or changed since.
        """
        try:
            return self._wrapping.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], bound_to)
        except (InvalidTag, ValueError) as error:
            raise DeviceKeyError(
                "A record's key does not open with this device's key.", state="The record was not read."
            ) from error

    def pseudonym(self, text: str) -> str:
        """A name for ``text`` that only this device can make or check: HMAC-SHA256, hexadecimal."""
        return hmac.new(self._naming, text.encode("utf-8"), hashlib.sha256).hexdigest()


def verifies(public: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    """Whether ``signature`` is by that key, over ``signed``."""
    try:
        public.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def open_keys(folder: Path | None = None) -> DeviceKeys:
    """The keys in ``folder``, by default ``STATE/keys``; made there the first time.

    Raises:
        DeviceKeyError: They are lost though a journal was begun, or cannot be read or made.
        JournalFullError: The disk has no room to make them.
    """
    folder = folder or ensure_state_dir("keys")
    path = folder / KEY_NAME
    try:
        with locked(folder):
            if not path.exists():
                if (folder / ANCHOR_NAME).exists():
                    raise DeviceKeyError(f"The device key {path} is missing, though this device has begun a journal.")
                _make(path)
            document = json.loads(path.read_bytes())
            protection = document["protection"]
            expected = b64decode(document["public"], validate=True)
            keys = DeviceKeys(folder, _secret(document), protection=protection)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # there was no key yet
            raise JournalFullError(f"The device key {path} cannot be made: {error.strerror}.") from error
        raise DeviceKeyError(f"The device key {path} cannot be read or made: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceKeyError(f"The device key {path} is damaged.") from error
    if keys.public_bytes != expected:
        raise DeviceKeyError(f"The device key {path} is damaged: its two halves do not fit.")
    return keys


def _secret(document: Mapping[str, str]) -> bytes:
    if document["protection"] == "file":
        return b64decode(document["secret"], validate=True)
    if document["protection"] != "tpm":
        raise ValueError("it is protected in a way that this kit does not know")
    if not tpm.usable():
        raise DeviceKeyError(
            f"The device key is sealed in the TPM, and this user reaches none: {tpm.DEVICE} is missing or closed to "
            "it, or tpm2-tools are not installed.",
            remedy=f"Install tpm2-tools, and let this user open {tpm.DEVICE} (group tss).",
        )
    return tpm.unseal(b64decode(document["sealed_public"]), b64decode(document["sealed_private"]))


def _make(path: Path) -> None:
    secret = secrets.token_bytes(_SECRET_BYTES)
    document = {"version": "1", "public": b64encode(DeviceKeys(path.parent, secret).public_bytes).decode()}
    document |= _sealed(secret) or {"protection": "file", "secret": b64encode(secret).decode()}
    write_durably(path, json.dumps(document, indent=1).encode() + b"\n", mode=0o600)


def _sealed(secret: bytes) -> dict[str, str] | None:
    """The secret as the TPM sealed it; None where there is no TPM, or it refuses, which is said in the log."""
    if not tpm.usable():
        return None
    try:
        public, private = tpm.seal(secret)
    except DeviceKeyError as error:
        log.warning("The device key is kept in a file and not in the TPM. %s", error.problem)
        return None
    return {
        "protection": "tpm",
        "sealed_public": b64encode(public).decode(),
        "sealed_private": b64encode(private).decode(),
    }


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"edgekit device key 1 " + purpose).derive(secret)
