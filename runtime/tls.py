"""The TLS end in front of the WSGI server, which speaks plain HTTP only.

A process of its own accepts connections, does the handshake, and carries bytes to and from a Unix socket at which the
worker listens, in a directory of this user alone. It looks at no byte: what one connection sends goes to one
connection. The number of connections is bounded, and one that does not finish its handshake, or does not take what is
sent to it, is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from devices.errors import CertificateError

log = logging.getLogger(__name__)

_CONNECTIONS = 256  # two descriptors each, and many systems allow 1024
_HANDSHAKE_S = 10.0
_STALLED_S = 60.0  # as long as the WSGI server waits for an idle connection
_SHUTDOWN_S = 2.0  # for the other side's goodbye
_CHUNK_BYTES = 64 * 1024
_EXPIRY_WARNING = timedelta(days=30)


@dataclass(frozen=True)
class Certificate:
    """A certificate ready to serve, and the host names and addresses that it is for, in lower case."""

    context: ssl.SSLContext
    names: frozenset[str]


def load_certificate(certificate: Path, key: Path) -> Certificate:
    """Read a certificate, with those that lead to its authority after it, and its key; both PEM.

    One that has run out is served all the same, with a warning in the log: the clock of a box in a branch may be
    wrong, and whether to trust it is the caller's to judge.

    Raises:
        CertificateError: A file is missing or not PEM, the key has a password, the two do not belong together, or
            the certificate names no host.
    """
    from cryptography import x509  # here: who serves on loopback does not wait for it

    def refuse_password() -> str:
        raise CertificateError(f"The key {key} is protected by a password.")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=refuse_password)
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        subject = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise CertificateError(f"The certificate {certificate} names no host (subjectAltName).") from error
    except ssl.SSLError as error:
        reason = (error.reason or "not PEM").replace("_", " ").lower()
        raise CertificateError(f"The certificate {certificate} cannot be used with the key {key}: {reason}.") from error
    except (OSError, ValueError) as error:
        raise CertificateError(f"The certificate {certificate} or its key {key} cannot be read: {error}.") from error
    end = leaf.not_valid_after_utc
    if end - datetime.now(UTC) < _EXPIRY_WARNING:
        log.warning("The TLS certificate is good until %s by its own date.", end.isoformat())
    addresses = {str(address) for address in subject.get_values_for_type(x509.IPAddress)}
    return Certificate(
        context, frozenset(addresses | {name.lower() for name in subject.get_values_for_type(x509.DNSName)})
    )


def serve_tls(listener: socket.socket, upstream: Path, certificate: Certificate, *, grace_s: float = 10.0) -> None:
    """Carry connections until SIGTERM or SIGINT. Runs an event loop: call it in a process of its own.

    After the signal nothing new is accepted; open connections end when the worker closes them.

    Args:
        listener: Bound to the public address and listening.
        upstream: The Unix socket at which the worker listens.
        certificate: To show to callers.
        grace_s: Seconds after the signal until connections that are still open are cut off.
    """
    asyncio.run(_TlsEnd(upstream, certificate.context).run(listener, grace_s))


class _TlsEnd:
    def __init__(self, upstream: Path, context: ssl.SSLContext) -> None:
        self._upstream = upstream
        self._context = context
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._open: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket, grace_s: float) -> None:
        loop = asyncio.get_running_loop()
        accepting = asyncio.create_task(self._accept(listener))
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, accepting.cancel)
        await asyncio.wait([accepting])
        listener.close()
        if self._open:
            await asyncio.wait(self._open, timeout=grace_s)
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    async def _accept(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            # a place first: what the kernel queues costs this process nothing
            await self._places.acquire()
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:  # the caller went away between knocking and our opening, or descriptors ran out
                log.warning("A connection could not be accepted: %s", error.strerror)
                self._places.release()
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._serve(connection))
            self._open.add(task)
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        self._places.release()

    async def _serve(self, connection: socket.socket) -> None:
        """One connection, from handshake to goodbye. Its failures are the network's and end it, nothing else."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=_HANDSHAKE_S,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except OSError:  # no TLS, no common version, too slow: scanners do this all day
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            worker_reader, worker_writer = await asyncio.open_unix_connection(self._upstream, limit=_CHUNK_BYTES)
        except OSError as error:
            log.error("The worker does not take connections: %s", error.strerror)
            transport.abort()
            return
        directions = [
            asyncio.create_task(_copy(reader, worker_writer)),
            asyncio.create_task(_copy(worker_reader, writer)),
        ]
        try:
            # either side's end is the end: HTTP closes whole connections
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the grace is over
            writer.transport.abort()
            raise
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.wait(directions)
            worker_writer.transport.abort()
        await _close(writer)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK_BYTES):
            target.write(data)
            async with asyncio.timeout(_STALLED_S):
                await target.drain()
    except OSError:  # reset, cut off, or stalled (TimeoutError is one): the connection is over
        target.transport.abort()


async def _close(writer: asyncio.StreamWriter) -> None:
    """Send what is still buffered, say goodbye, and wait for neither longer than a stalled client may take."""
    writer.close()
    try:
        async with asyncio.timeout(_STALLED_S):
            await writer.wait_closed()
    except OSError:
        writer.transport.abort()
