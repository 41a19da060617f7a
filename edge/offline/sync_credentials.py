"""The certificates between a device and headquarters, and what to say when one of them is the trouble.

A certificate that ended while the device was cut off is the usual reason why a line that is back does not help.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from devices.clock import Clock
from devices.errors import SyncCertificateError, SyncSettingsError

_BY_DATE = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True)
class Credentials:
    """The files by which device and headquarters know each other on the line.

    Attributes:
        ca: Certificates to trust instead of the system's; None trusts the system's.
        certificate: The device's own, PEM, with those that lead to its authority after it; None shows none.
        key: Its key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def in_folder(cls, folder: Path) -> Credentials:
        """``ca.pem``, ``device.pem`` and ``device-key.pem`` of ``STATE/keys/sync``, each where it is there."""
        ca, certificate, key = (
            path if path.exists() else None
            for path in (folder / "ca.pem", folder / "device.pem", folder / "device-key.pem")
        )
        return cls(ca, certificate, key)

    def context(self) -> ssl.SSLContext:
        """For a connection to headquarters.

        Raises:
            SyncSettingsError: A file cannot be read, or certificate and key do not belong together.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key, password="")  # or OpenSSL would ask the terminal
        except (OSError, ValueError) as error:  # SSLError is one
            raise SyncSettingsError(f"The certificates for headquarters cannot be used: {error}.") from error
        return context

    def ends(self) -> datetime | None:
        """Until when the device's own certificate is good; None without one, or where it cannot be read."""
        try:
            data = self.certificate.read_bytes() if self.certificate else b""
            return x509.load_pem_x509_certificates(data)[0].not_valid_after_utc
        except (OSError, ValueError, IndexError):
            return None


def certificate_trouble(
    error: BaseException, url: str, credentials: Credentials, clock: Clock
) -> SyncCertificateError | None:
    """What a failed connection to ``url`` has to do with certificates; None where nothing shows that.

    A server that refuses the device's certificate closes the line without a word, so the device looks at the date of
    its own unless nobody answered at all.
    """
    refused = _find(error, ssl.SSLCertVerificationError)
    if isinstance(refused, ssl.SSLCertVerificationError):
        problem = f"Headquarters' certificate at {url} is not accepted: {refused.verify_message}."
        if refused.verify_code in _BY_DATE:
            remedy = "Set this machine's clock if it is wrong; otherwise report it to headquarters."
            return SyncCertificateError(f"{problem} {clock.read().sentence}", remedy=remedy)
        return SyncCertificateError(
            problem, remedy="Put the bank's authority into keys/sync/ca.pem of the state directory, or report it."
        )
    ends = credentials.ends()
    if ends and ends < clock.now() and not _find(error, ConnectionRefusedError):
        return SyncCertificateError(
            f"This device's certificate ended on {ends:%Y-%m-%d}, and headquarters at {url} closes the line.",
            remedy=f"Ask headquarters for a new one and put it into {credentials.certificate}.",
        )
    return None


def _find(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The error of that kind behind ``error``."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__ or _inner(error)
    return error


def _inner(error: BaseException) -> BaseException | None:
    """What urllib3 keeps as an argument instead of a cause."""
    return next((each for each in error.args if isinstance(each, BaseException) and each is not error), None)
