"""What ties a device's certificate to its journal: the certificate's key signs the key that signs the journal.

On the line a device shows a certificate of the bank, and in every message it signs with its journal's key. Only the
first process of headquarters that it meets, a proxy or a broker, sees the certificate. So it goes along in each call,
with a signature by its key over the journal's key, and whoever reads the message can tell whose journal it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from devices.errors import SyncSettingsError
from edge.offline.sync_credentials import Credentials

_VOUCHED = b"edgekit voucher 1\n"
_PADDING = PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH)


@dataclass(frozen=True)
class Voucher:
    """A certificate that speaks for a journal.

    Attributes:
        chain: The device's certificate and those that lead to its authority, PEM.
        signature: By the certificate's key, over the public key of the journal, hexadecimal.
    """

    chain: str
    signature: str


def vouch(credentials: Credentials, public_key: bytes) -> Voucher | None:
    """Let the device's certificate speak for the journal of ``public_key``; None without a certificate.

    Raises:
        SyncSettingsError: Certificate or key cannot be read, or the key is of no kind that signs here.
    """
    if credentials.certificate is None or credentials.key is None:
        return None
    try:
        key = load_pem_private_key(credentials.key.read_bytes(), password=None)
        chain = credentials.certificate.read_text(encoding="ascii")
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SyncSettingsError(f"The certificates for headquarters cannot be used: {error}.") from error
    signed = _VOUCHED + public_key
    if isinstance(key, EllipticCurvePrivateKey):
        signature = key.sign(signed, ECDSA(SHA256()))
    elif isinstance(key, RSAPrivateKey):
        signature = key.sign(signed, _PADDING, SHA256())
    elif isinstance(key, Ed25519PrivateKey):
        signature = key.sign(signed)
    else:
        raise SyncSettingsError(f"The key {credentials.key} is neither of an elliptic curve nor RSA nor Ed25519.")
    return Voucher(chain, signature.hex())


def speaks_for(certificate_key: object, signature: bytes, public_key: bytes) -> bool:
    """Whether ``signature`` is by the certificate's key, over the journal's ``public_key``."""
    signed = _VOUCHED + public_key
    try:
        if isinstance(certificate_key, EllipticCurvePublicKey):
            certificate_key.verify(signature, signed, ECDSA(SHA256()))
        elif isinstance(certificate_key, RSAPublicKey):
            certificate_key.verify(signature, signed, _PADDING, SHA256())
        elif isinstance(certificate_key, Ed25519PublicKey):
            certificate_key.verify(signature, signed)
        else:
            return False
    except InvalidSignature:
        return False
    return True
