"""The way to headquarters over HTTPS: one POST a call, with the device's own certificate.

The answer is bounded in size and in time. What goes wrong is said in one sentence that tells the line, headquarters,
and certificates apart: a certificate that ended while the device was cut off is the usual reason why a line that is
back does not help.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import urllib3

from devices.clock import Clock
from devices.errors import SyncError, SyncRefusedError
from edge.offline.sync_answer import ANSWER_MAX_BYTES
from edge.offline.sync_credentials import Credentials, certificate_trouble
from edge.offline.sync_message import Call, Piece

PATH = "/v1/journal"
CONTENT_TYPE = "application/vnd.edgekit.journal"
Pack = Callable[[Sequence[Piece], Call | None], bytes]

_CONNECT_S = 15.0
_SILENCE_S = 60.0  # headquarters may be writing what a thousand others sent
_WHOLE_S = 600.0
_CHUNK_BYTES = 64 * 1024
_BUSY = (429, 503)
_RETRY_AFTER_MAX_S = 3600.0  # whoever answers may not silence a device for longer


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
        if response.status == 200 or response.headers.get("Content-Type") == CONTENT_TYPE:
            return data  # a refusal is signed too
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
        if trouble := certificate_trouble(error, self._url, self._credentials(), self._clock):
            return trouble
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


def _seconds(header: str | None) -> float:
    return min(float(header), _RETRY_AFTER_MAX_S) if header and header.isdigit() else 0.0
