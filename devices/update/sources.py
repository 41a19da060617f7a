"""Where updates come from: a directory such as a USB stick, or an HTTPS server. Nothing here is trusted.

Both hand out pieces of files; python-tuf and ``devices.update.client`` decide how many bytes there may be and whether
they are the signed ones. A server that sends nothing, or one byte now and then, is given up on.
"""

from __future__ import annotations

import os
import queue
import ssl
import stat
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient import FetcherInterface

_CHUNK_BYTES = 256 * 1024
_NOT_FOUND = 404  # python-tuf takes it for "there is no newer root"


@dataclass(frozen=True)
class Limits:
    """How slow a server may be.

    Attributes:
        silence_s: Longest time without a byte; also for the connection and its first answer.
        patience_s: After this time of a transfer its average rate counts.
        min_bytes_per_s: Lowest average rate. The default is an eighth of a 64 kbit/s line.
    """

    silence_s: float = 30.0
    patience_s: float = 60.0
    min_bytes_per_s: float = 1024.0


class Source(FetcherInterface):
    """Files by their path in the repository. ``last`` is the path that was asked for last, for messages."""

    last = ""

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self.pieces(url)

    @abstractmethod
    def pieces(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """The file ``path`` from byte ``offset`` on.

        The first piece is empty if the source cannot skip and begins at byte 0 instead.

        Raises:
            DownloadHTTPError: There is no such file.
            SlowRetrievalError: The source is too slow.
            DownloadError: Anything else.
        """


class DirectorySource(Source):
    """An export or a repository in a directory.

    Args:
        directory: With ``metadata/`` and ``targets/``.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __str__(self) -> str:
        return str(self._directory)

    def pieces(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """As ``Source.pieces``."""
        self.last = path
        try:
            # opening a pipe would wait for ever; a link may lead anywhere
            descriptor = os.open(self._directory / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise DownloadHTTPError(f"{path} is missing", _NOT_FOUND) from error
        except OSError as error:
            raise DownloadError(f"{path}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise DownloadError(f"{path} is not a plain file")
        return self._read(descriptor, path, offset)

    def _read(self, descriptor: int, path: str, offset: int) -> Iterator[bytes]:
        with os.fdopen(descriptor, "rb") as file:
            try:
                file.seek(offset)
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
            except OSError as error:
                raise DownloadError(f"{path}: {error.strerror}") from error


class HttpsSource(Source):
    """A static file server. No redirects are followed and no proxy is used.

    Args:
        url: Of the repository, ``https://...``.
        ca_file: Certificates to trust instead of the system's.
        limits: How slow it may be.

    Raises:
        ValueError: The URL is not HTTPS.
        OSError: ``ca_file`` cannot be read.
    """

    def __init__(self, url: str, *, ca_file: Path | None = None, limits: Limits | None = None) -> None:
        if not url.startswith("https://"):
            raise ValueError(f"{url!r} is not an https:// URL")
        self._url = url.rstrip("/") + "/"
        self._limits = limits or Limits()
        context = ssl.create_default_context(cafile=ca_file)
        self._pool = urllib3.PoolManager(
            ssl_context=context,
            retries=False,  # and no redirect is followed
            timeout=urllib3.Timeout(connect=self._limits.silence_s, read=self._limits.silence_s),
            headers={"User-Agent": "edgekit", "Accept-Encoding": "identity"},
        )

    def __str__(self) -> str:
        return self._url

    def pieces(self, path: str, offset: int = 0) -> Iterator[bytes]:
        """As ``Source.pieces``."""
        self.last = path
        started = time.monotonic()
        response = self._response(self._url + path, {"Range": f"bytes={offset}-"} if offset else {})
        if response.status not in (200, 206):
            response.close()
            raise DownloadHTTPError(f"{path}: the server answers {response.status}", response.status)
        return self._read(response, path, started, skipped=response.status == 206)

    def _response(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Ask in a thread of its own: a server that trickles the head of its answer byte by byte is silent to us."""
        answer: queue.SimpleQueue[urllib3.BaseHTTPResponse | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                sent = {**self._pool.headers, **headers}
                answer.put(self._pool.request("GET", url, headers=sent, preload_content=False))
            except (urllib3.exceptions.HTTPError, OSError) as error:
                answer.put(error)

        threading.Thread(target=ask, daemon=True).start()
        try:
            got = answer.get(timeout=self._limits.silence_s)
        except queue.Empty:
            raise SlowRetrievalError(f"no answer in {self._limits.silence_s:g} s") from None
        if isinstance(got, urllib3.exceptions.NewConnectionError):  # which urllib3 counts among the timeouts
            raise DownloadError(str(got).partition("): ")[2] or str(got)) from got
        if isinstance(got, urllib3.exceptions.TimeoutError):
            raise SlowRetrievalError(f"no answer in {self._limits.silence_s:g} s") from got
        if isinstance(got, Exception):
            raise DownloadError(str(got)) from got
        return got

    def _read(self, response: urllib3.BaseHTTPResponse, path: str, started: float, *, skipped: bool) -> Iterator[bytes]:
        received = 0
        if not skipped:
            yield b""
        try:
            while chunk := response.read1(_CHUNK_BYTES):
                received += len(chunk)
                passed_s = time.monotonic() - started
                if passed_s > self._limits.patience_s and received < passed_s * self._limits.min_bytes_per_s:
                    raise SlowRetrievalError(f"{received} bytes in {passed_s:.0f} s")
                yield chunk
        except urllib3.exceptions.TimeoutError as error:
            raise SlowRetrievalError(f"no byte in {self._limits.silence_s:g} s") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise DownloadError(f"{path}: {error}") from error
        finally:
            response.close()  # not back to the pool: what a broken transfer left there would be the next one's head
