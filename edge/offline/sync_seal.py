"""Records on their way to headquarters: sealed so that only its sealing key opens them, whoever carries them.

HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM, from ``cryptography``. Each part is sealed by itself and
bound to device, entry, record and place, so parts can be sent again one by one and none can be put elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from devices.errors import MessageError
from edge.offline.sync_message import PART_BYTES, Piece

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)  # also of headquarters' notes
SEALED_MORE = 48  # bytes of a sealed part beyond the plain one: HPKE's encapsulated key and GCM's tag


def seal_record(key: X25519PublicKey, device: str, seq: int, hash_: str, name: str, data: bytes) -> Iterator[Piece]:
    """The sealed parts of a record, one at a time; an empty record has one part."""
    parts = parts_of(len(data))
    for part in range(parts):
        plain = data[part * PART_BYTES : (part + 1) * PART_BYTES]
        sealed = SUITE.encrypt(plain, key, info=_info(device, seq, hash_, name, part, parts))
        yield Piece(seq, hash_, name, part, parts, sealed)


def parts_of(size: int) -> int:
    """How many parts a record of so many bytes has."""
    return max(1, -(-size // PART_BYTES))


def open_record(
    key: X25519PrivateKey, device: str, seq: int, hash_: str, name: str, sealed: Mapping[int, bytes]
) -> bytes:
    """A record from its sealed parts, by their number.

    Raises:
        MessageError: A part was changed, belongs elsewhere, or is sealed for another key.
    """
    parts = len(sealed)
    try:
        return b"".join(
            SUITE.decrypt(sealed[part], key, info=_info(device, seq, hash_, name, part, parts)) for part in range(parts)
        )
    except (InvalidTag, KeyError, ValueError) as error:
        raise MessageError(
            f"The record {name} of entry {seq} of device {device} cannot be opened.",
            remedy="Check that --key is the sealing key that the device's policy names.",
        ) from error


def _info(device: str, seq: int, hash_: str, name: str, part: int, parts: int) -> bytes:
    return f"edgekit record\n{device}\n{seq}\n{hash_}\n{name}\n{part}/{parts}".encode()
