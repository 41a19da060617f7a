"""Keys that sign updates: files for development, an HSM through PKCS#11 for a bank.

A key directory holds one file a key: ``ROLE-KEYID.pem`` is an Ed25519 private key (mode 0600), ``ROLE-KEYID.hsm.json``
says where in an HSM a key is, and holds its public half. The HSM's key never leaves it.

An HSM key is named by its PKCS#11 URI (RFC 7512), of which these parts count::

    pkcs11:token=bank-updates;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/pin

``token`` is the token's label and ``id`` the key's; the key is on the curve P-256 or P-384. Without ``pin-source`` the
PIN is taken from ``EDGEKIT_HSM_PIN``, or asked for. A PIN in the URI is refused: shells keep it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import CryptoSigner, HSMSigner, Key, Signer, SSlibKey

from devices.durable import write_durably
from devices.errors import SigningError

PIN_VARIABLE = "EDGEKIT_HSM_PIN"
_MODULE_VARIABLE = "PYKCS11LIB"  # where securesystemslib looks for the HSM's library


def pin_from_environment(token: str) -> str:
    """The PIN of ``token`` out of ``EDGEKIT_HSM_PIN``.

    Raises:
        SigningError: It is not set.
    """
    pin = os.environ.get(PIN_VARIABLE)
    if not pin:
        raise SigningError(
            f"The PIN of the token {token!r} is not known.",
            remedy=f"Name a file with it as pin-source in the key's URI, or set {PIN_VARIABLE}.",
        )
    return pin


class Keyring:
    """The signing keys within reach.

    Args:
        directories: Key directories, for example two people's USB sticks; new keys go into the first.
        pin: Called with a token's label where neither its URI names a file with the PIN.
    """

    def __init__(self, directories: Sequence[Path], pin: Callable[[str], str] = pin_from_environment) -> None:
        if not directories:
            raise ValueError("a keyring needs a directory")
        self._directories = tuple(directories)
        self._pin = pin

    def make(self, role: str) -> Signer:
        """A new Ed25519 key in a file, readable for this user alone.

        Raises:
            SigningError: The file cannot be written.
        """
        signer = CryptoSigner.generate_ed25519()
        self._write(f"{role}-{signer.public_key.keyid[:16]}.pem", signer.private_bytes)
        return signer

    def add_hsm(self, role: str, uri: str) -> Signer:
        """Remember the HSM's key at ``uri``; its public half is read out of the token.

        Raises:
            SigningError: The URI is malformed, the token or key is not there, or the file cannot be written.
        """
        signer = _hsm_signer(uri, None, self._pin)
        document = {"uri": uri, "keyid": signer.public_key.keyid, "key": signer.public_key.to_dict()}
        self._write(f"{role}-{signer.public_key.keyid[:16]}.hsm.json", json.dumps(document, indent=1).encode() + b"\n")
        return signer

    def signers(self, keyids: Iterable[str]) -> list[Signer]:
        """Those of the keys ``keyids`` that are here.

        Raises:
            SigningError: A key file is damaged or cannot be read.
        """
        wanted = set(keyids)
        found = {signer.public_key.keyid: signer for signer in self._all() if signer.public_key.keyid in wanted}
        return [found[keyid] for keyid in sorted(found)]

    def _all(self) -> Iterator[Signer]:
        for directory in self._directories:
            for path in sorted(directory.glob("*")):
                if path.name.endswith(".pem"):
                    yield _file_signer(path)
                elif path.name.endswith(".hsm.json"):
                    yield self._kept_hsm_signer(path)

    def _kept_hsm_signer(self, path: Path) -> Signer:
        try:
            document = json.loads(path.read_bytes())
            key = Key.from_dict(str(document["keyid"]), dict(document["key"]))
            uri = str(document["uri"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SigningError(f"{path} does not name an HSM's key: {error}.") from error
        return _hsm_signer(uri, key, self._pin)

    def _write(self, name: str, data: bytes) -> None:
        directory = self._directories[0]
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_durably(directory / name, data, mode=0o600)
        except OSError as error:
            raise SigningError(f"{directory / name} cannot be written: {error.strerror}.") from error


def _file_signer(path: Path) -> Signer:
    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), password=None))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningError(f"{path} is not a private key in PEM form without a password: {error}.") from error


def _hsm_signer(uri: str, key: Key | None, pin: Callable[[str], str]) -> HSMSigner:
    token, key_id, module, pin_file = _parse(uri)
    if module:
        os.environ[_MODULE_VARIABLE] = module

    def read_pin(_: str) -> str:
        return pin_file.read_text(encoding="utf-8").strip() if pin_file else pin(token)

    try:
        if key is None:
            key = HSMSigner.import_(key_id, token, read_pin)[1]
        if not isinstance(key, SSlibKey):
            raise SigningError(f"The key at {uri} is of a kind that cannot sign here.")
        signer = HSMSigner.from_priv_key_uri(f"hsm:{key_id}?{urlencode({'label': token})}", key, read_pin)
    except UnsupportedLibraryError as error:
        raise SigningError(
            "This machine has no library for HSMs (python-pkcs11).",
            remedy="Install the set for signing: pip install 'branch-edgekit[repo]'.",
        ) from error
    except OSError as error:
        raise SigningError(f"The PIN cannot be read from {pin_file}: {error.strerror}.") from error
    except _hsm_errors() as error:
        raise SigningError(f"The HSM does not give the key at {uri}: {_said(error)}.") from error
    return signer


def _parse(uri: str) -> tuple[str, int, str | None, Path | None]:
    """Token label, key id, module and PIN file out of a PKCS#11 URI."""
    scheme, _, rest = uri.partition(":")
    path, _, query = rest.partition("?")
    attributes = dict(part.partition("=")[::2] for part in path.split(";"))
    options = dict(parse_qsl(query))
    if "pin-value" in options or "pin-value" in attributes:
        raise SigningError(
            "The URI of the HSM's key holds its PIN, which would stay in logs and in the shell's history.",
            remedy="Name a file that holds the PIN with pin-source instead, and change the PIN.",
        )
    token, key_id = unquote(attributes.get("token", "")), unquote_to_bytes(attributes.get("id", ""))
    if scheme != "pkcs11" or not token or not key_id:
        raise SigningError(
            f"{uri!r} does not name a key in an HSM.",
            remedy="Give it as pkcs11:token=LABEL;id=%01?module-path=FILE&pin-source=FILE (RFC 7512).",
        )
    source = options.get("pin-source")
    pin_file = Path(unquote(source.removeprefix("file:"))) if source else None
    return token, int.from_bytes(key_id, "big"), options.get("module-path"), pin_file


def _hsm_errors() -> tuple[type[Exception], ...]:
    try:
        from pkcs11.exceptions import PKCS11Error  # only the machine that signs has it
    except ImportError:
        return (ValueError,)
    return (ValueError, PKCS11Error)


def _said(error: BaseException) -> str:
    """What an HSM's library says; many of its errors are a name and nothing else."""
    return str(error).rstrip(".") or type(error).__name__
