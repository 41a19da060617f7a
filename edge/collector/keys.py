"""Headquarters' two keys: one signs answers, one opens papers. Their public halves stand in the bank's policy.

The collector needs the signing key only. The sealing key is better kept elsewhere and given with ``--sealing-key`` to
the one command that opens papers.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from devices.durable import write_durably
from devices.errors import CollectorError

SIGNING_NAME = "signing.pem"
SEALING_NAME = "sealing.pem"


def make_keys(folder: Path) -> None:
    """Make both in ``folder``, mode 0600; what is there stays.

    Raises:
        CollectorError: They cannot be written.
    """
    for name, kind in ((SIGNING_NAME, Ed25519PrivateKey), (SEALING_NAME, X25519PrivateKey)):
        path = folder / name
        if path.exists():
            continue
        pem = kind.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            write_durably(path, pem, mode=0o600)
        except OSError as error:
            raise CollectorError(f"{path} cannot be written: {error.strerror}.") from error


def signing_key(folder: Path) -> Ed25519PrivateKey:
    """The key that signs answers.

    Raises:
        CollectorError: It is not there, or no Ed25519 key.
    """
    key = _load(folder / SIGNING_NAME)
    if not isinstance(key, Ed25519PrivateKey):
        raise CollectorError(f"{folder / SIGNING_NAME} is not an Ed25519 key.")
    return key


def sealing_key(path: Path) -> X25519PrivateKey:
    """The key that opens papers.

    Raises:
        CollectorError: It is not there, or no X25519 key.
    """
    key = _load(path)
    if not isinstance(key, X25519PrivateKey):
        raise CollectorError(f"{path} is not an X25519 key.")
    return key


def policy_lines(signing: Ed25519PrivateKey, sealing: X25519PrivateKey, url: str) -> str:
    """The section ``[sync]`` for the bank's policy."""
    return (
        f'[sync]\nurl = "{url}"\n'
        f'acknowledged_by = "{signing.public_key().public_bytes_raw().hex()}"\n'
        f'sealed_for = "{sealing.public_key().public_bytes_raw().hex()}"\n'
    )


def _load(path: Path) -> object:
    try:
        return load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise CollectorError(f"The key {path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CollectorError(f"{path} is no key in PEM form without a password.") from error
