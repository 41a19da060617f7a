"""Records of an entry, encrypted: AES-256-GCM with a key of the entry's own, which the device key wraps.

Destroying the wrapped key is what erases a person. Nonce (12 random bytes) and ciphertext stand together; a record is
bound to its entry's number and kind and to its name, so that it opens nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.journal.entry import RecordRef
from edge.journal.keys import DeviceKeys

_NONCE_BYTES = 12


@dataclass(frozen=True)
class Sealed:
    """The records of one entry, encrypted.

    Attributes:
        refs: What the entry says of them, in the order of their names.
        ciphertexts: By name.
        day: From which they age, in days since 1970.
        wrapped: The key that opens them, wrapped; None without records.
    """

    refs: tuple[RecordRef, ...]
    ciphertexts: Mapping[str, bytes]
    day: int
    wrapped: bytes | None

    @property
    def key(self) -> str | None:
        """What the entry says of the key."""
        return None if self.wrapped is None else key_hash(self.day, self.wrapped)


def key_hash(day: int, wrapped: bytes) -> str:
    """SHA-256 of the day from which records age, in decimal, a space, and their wrapped key."""
    return hashlib.sha256(b"%d " % day + wrapped).hexdigest()


def seal(records: Mapping[str, bytes], keys: DeviceKeys, seq: int, kind: str, *, day: int) -> Sealed:
    """Encrypt the records of entry ``seq`` with a fresh key."""
    if not records:
        return Sealed((), {}, day, None)
    key = AESGCM.generate_key(bit_length=256)
    cipher, refs, ciphertexts = AESGCM(key), list[RecordRef](), dict[str, bytes]()
    for name, plain in sorted(records.items()):
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ciphertexts[name] = nonce + cipher.encrypt(nonce, plain, _record_bound_to(seq, kind, name))
        refs.append(RecordRef(name, hashlib.sha256(ciphertexts[name]).hexdigest(), len(plain)))
    return Sealed(tuple(refs), ciphertexts, day, keys.wrap(key, _key_bound_to(seq)))


def unseal(ciphertext: bytes, wrapped: bytes, keys: DeviceKeys, seq: int, kind: str, name: str) -> bytes:
    """A record of entry ``seq``, decrypted.

    Raises:
        DeviceKeyError: The key was wrapped by another device key, or changed.
        ValueError: The record was changed, or belongs elsewhere.
    """
    key = keys.unwrap(wrapped, _key_bound_to(seq))
    try:
        bound_to = _record_bound_to(seq, kind, name)
        return AESGCM(key).decrypt(ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], bound_to)
    except InvalidTag as error:
        raise ValueError("the record does not open with its key") from error


def _key_bound_to(seq: int) -> bytes:
    return f"edgekit record key 1 {seq}".encode()


def _record_bound_to(seq: int, kind: str, name: str) -> bytes:
    return json.dumps(["edgekit record 1", seq, kind, name]).encode()
