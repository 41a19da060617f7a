"""The way to headquarters over HTTPS: one POST a call, with the device's own certificate.

The answer is bounded in size and in time. What goes wrong is said in one sentence that tells the line, headquarters,
and certificates apart: a certificate that ended while the device was cut off is the usual reason why a line that is
back does not help.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import urllib3
from cryptography import x509

from devices.clock import Clock
from devices.errors import SyncCertificateError, SyncError, SyncRefusedError, SyncSettingsError
from edge.offline.sync_message import ANSWER_MAX_BYTES, Call, Piece

PATH = "/v1/journal"
CONTENT_TYPE = "application/vnd.edgekit.journal"
Pack = Callable[[Sequence[Piece], Call | None], bytes]

_CONNECT_S = 15.0
_SILENCE_S = 60.0  # headquarters may be writing what a thousand others sent
_WHOLE_S = 600.0
_CHUNK_BYTES = 64 * 1024
_BUSY = (429, 503)
_BY_DATE = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_RETRY_AFTER_MAX_S = 3600.0  # whoever answers may not silence a device for longer


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


class HttpsUplink:
    """A collector behind HTTPS; no redirect is followed and no proxy used.

    Args:
        url: ``https://HOST[:PORT]``; plain HTTP on loopback only (``sync_policy.check_url``).
        pack: Makes the bytes of a message.
        credentials: Gives the certificates; asked anew for every connection, so one that was renewed is used at once.
        clock: To tell whether a certificate has ended.
    """

    name = "https"

    def __init__(self, url: str, pack: Pack, credentials: Callable[[], Credentials], clock: Clock) -> None:
        self._url, self._pack, self._credentials, self._clock = url.rstrip("/"), pack, credentials, clock
        self._pool: urllib3.PoolManager | None = None

    def exchange(self, pieces: Sequence[Piece], call: Call) -> bytes:
        """As ``Uplink.exchange``."""
        body, pool = self._pack(pieces, call), self._connected()
        try:
            response = pool.request("POST", self._url + PATH, body=body, preload_content=False)
            try:
                data = _read(response)
            finally:
                response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._told(error) from error
        if response.status == 200:
            return data
        if response.status in _BUSY or response.status >= 500:
            raise SyncError(
                f"Headquarters answers {response.status} at {self._url}.",
                retry_after_s=_seconds(response.headers.get("Retry-After")),
            )
        raise SyncRefusedError(f"Headquarters refuses this device's message ({response.status} at {self._url}).")

    def close(self) -> None:
        """As ``Uplink.close``."""
        if self._pool is not None:
            self._pool.clear()
            self._pool = None

    def _connected(self) -> urllib3.PoolManager:
        self._pool = self._pool or urllib3.PoolManager(
            ssl_context=self._credentials().context() if self._url.startswith("https:") else None,
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_SILENCE_S),
            headers={"User-Agent": "edgekit", "Content-Type": CONTENT_TYPE, "Accept-Encoding": "identity"},
        )
        return self._pool

    def _told(self, error: Exception) -> SyncError:
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, ssl.SSLCertVerificationError):
            reason = reason.__cause__ or reason.__context__ or _inner(reason)
        if reason is not None:
            problem = f"Headquarters' certificate at {self._url} is not accepted: {reason.verify_message}."
            if reason.verify_code in _BY_DATE:
                remedy = "Set this machine's clock if it is wrong; otherwise report it to headquarters."
                return SyncCertificateError(f"{problem} {self._clock.read().sentence}", remedy=remedy)
            return SyncCertificateError(
                problem, remedy="Put the bank's authority into keys/sync/ca.pem of the state directory, or report it."
            )
        credentials = self._credentials()
        ends, now = credentials.ends(), self._clock.now()
        if ends and ends < now and not isinstance(error, urllib3.exceptions.NewConnectionError):
            return SyncCertificateError(
                f"This device's certificate ended on {ends:%Y-%m-%d}, and headquarters at {self._url} closes the line.",
                remedy=f"Ask headquarters for a new one and put it into {credentials.certificate}.",
            )
        what = str(error).partition("): ")[2] or str(error)
        return SyncError(f"Headquarters at {self._url} cannot be reached: {what.rstrip('.')}.")


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """The whole answer, within its bounds; urllib3 raises where it ends too early."""
    data, started = bytearray(), time.monotonic()
    while chunk := response.read1(_CHUNK_BYTES):
        data += chunk
        if len(data) > ANSWER_MAX_BYTES or time.monotonic() - started > _WHOLE_S:
            raise urllib3.exceptions.HTTPError("the answer does not end")
    return bytes(data)


def _inner(error: BaseException) -> BaseException | None:
    """What urllib3 keeps as an argument instead of a cause."""
    return next((each for each in error.args if isinstance(each, BaseException) and each is not error), None)


def _seconds(header: str | None) -> float:
    return min(float(header), _RETRY_AFTER_MAX_S) if header and header.isdigit() else 0.0
