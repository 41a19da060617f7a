"""Ed25519 keys: one that signs, and the public ones that this device trusts.

A key's id is the first 16 hexadecimal digits of the SHA-256 of its 32 raw public bytes.
Both live in the state directory: ``keys/signing.pem`` (mode 0600) and ``keys/trusted/*.pem``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from devices.durable import write_durably
from devices.errors import BundleSignatureError
from devices.state import ensure_state_dir, state_dir
from edge.bundle.manifest import sha256_hex


def key_id(key: Ed25519PublicKey) -> str:
    """The short name by which people and signatures refer to a key."""
    return sha256_hex(key.public_bytes(Encoding.Raw, PublicFormat.Raw))[:16]


def signing_key() -> Ed25519PrivateKey:
    """This machine's signing key, made on first use and trusted on this machine from then on.

    A bank signs elsewhere and gives its devices the public key; this one serves demonstration and development.

    Raises:
        BundleSignatureError: The key file is there but cannot be read.
    """
    path = ensure_state_dir("keys") / "signing.pem"
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_durably(path, pem, mode=0o600)
    try:
        key_read = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleSignatureError(f"{path} is not a private key in PEM form.", remedy=f"Move {path} away.") from error
    if not isinstance(key_read, Ed25519PrivateKey):
        raise BundleSignatureError(f"{path} is not an Ed25519 key.", remedy=f"Move {path} away.")
    trust(key_read.public_key())
    return key_read


def trust(key: Ed25519PublicKey) -> Path:
    """Trust ``key`` on this device from now on; returns where it is kept."""
    path = ensure_state_dir("keys", "trusted") / f"{key_id(key)}.pem"
    if not path.exists():
        write_durably(path, public_pem(key).encode("ascii"))
    return path


def public_pem(key: Ed25519PublicKey) -> str:
    """A public key as text, in PEM form."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read one public key in PEM form.

    Raises:
        BundleSignatureError: It is not an Ed25519 public key.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleSignatureError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_public_key(data, str(path))


def parse_public_key(pem: bytes, origin: str) -> Ed25519PublicKey:
    """One public key from its PEM form; ``origin`` names it in messages.

    Raises:
        BundleSignatureError: It is not an Ed25519 public key.
    """
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleSignatureError(
            f"{origin} is not a public key in PEM form.", remedy="Copy the key file again from the bank's key holder."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise BundleSignatureError(f"{origin} is not an Ed25519 key.", remedy="Ask the key holder for the Ed25519 key.")
    return key


def trusted_keys() -> Mapping[str, Ed25519PublicKey]:
    """The keys that this device trusts, by id; empty on a new device."""
    folder = state_dir() / "keys" / "trusted"
    keys = [read_public_key(path) for path in sorted(folder.glob("*.pem"))]
    return {key_id(key): key for key in keys}
