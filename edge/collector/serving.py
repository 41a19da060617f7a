"""The collector as a process: HTTPS with the devices' certificates asked for, and the NATS consumer beside it."""

from __future__ import annotations

import re
import select
import signal
import ssl
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography import x509

from devices.errors import CollectorError
from devices.listeners import open_listeners, open_private_listener
from edge.collector.app import create_collector
from edge.collector.keys import signing_key
from edge.collector.store import Store
from edge.offline.sync_message import MESSAGE_MAX_BYTES
from edge.offline.sync_policy import check_url
from runtime.access import is_loopback
from runtime.front import Front
from runtime.server import Server, ServerLimits
from runtime.tls import load_certificate, serve_tls

_REGION = re.compile(r"[\w-]{1,64}", re.ASCII)
_THREADS = 8
# branches on thin lines take long for half a megabyte
_LIMITS = ServerLimits(body_bytes=MESSAGE_MAX_BYTES + 1024, receive_s=900.0, send_s=300.0)


@dataclass(frozen=True)
class Tls:
    """How the collector shows itself, and which devices it lets in.

    Attributes:
        certificate: PEM, with those that lead to its authority after it.
        key: Its key.
        devices: Authorities of the devices' certificates; a device without one of theirs gets no connection.
    """

    certificate: Path
    key: Path
    devices: Path


def serve_collector(
    folder: Path,
    host: str,
    port: int,
    *,
    tls: Tls | None,
    broker: str | None,
    regions: Sequence[str] = (),
    only_registered: bool = False,
    max_bytes: int | None = None,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        folder: The collector's directory.
        host: Address to listen on.
        port: 0 takes a free one.
        tls: Needed wherever other machines reach ``host``.
        broker: URL of NATS; its certificates are those of ``tls``.
        regions: JetStream domains of the leaf nodes behind it.
        only_registered: Whether a device has to be added before it may come.
        max_bytes: What the collector's file may take.
        announce: Called with the URL once it serves.

    Raises:
        CollectorError: The directory cannot be used, or other machines would reach it without TLS.
        ServeError: The address cannot be listened on.
        CertificateError: A certificate cannot be used.
    """
    if tls is None and not is_loopback(host):
        raise CollectorError(
            f"Other machines reach {host}, and the collector has no certificates.",
            remedy="Give --tls-cert, --tls-key and --device-ca, or serve on 127.0.0.1.",
        )
    for region in regions:
        if not _REGION.fullmatch(region):
            raise CollectorError(
                f"{region!r} is no name of a region.",
                remedy="Give the leaf node's JetStream domain: letters, digits, - and _.",
            )
    context = _broker_context(broker, tls)
    authorities = _authorities(tls.devices) if tls else ()
    store = Store(folder, authorities=authorities, only_registered=only_registered, max_bytes=max_bytes)
    key = signing_key(folder)
    listeners = open_listeners(host, port)
    bound, bound_port = listeners[0].getsockname()[:2]
    fronts: list[Front] = []
    stop = threading.Event()
    with ExitStack() as stack:
        stack.callback(store.close)
        if tls is not None:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekit-"))) / "collector"
            loaded = load_certificate(tls.certificate, tls.key)
            _ask_devices(loaded.context, tls.devices)
            private = open_private_listener(path)
            fronts = [Front(partial(serve_tls, listener, path, loaded)) for listener in listeners]
            for front in fronts:  # before any thread
                front.start()
                stack.callback(front.reap)
                stack.callback(front.kill, signal.SIGTERM)
            listeners = [private]
        server = Server(create_collector(store, key), listeners, threads=_THREADS, limits=_LIMITS)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop())
        consumer: threading.Thread | None = None
        if broker is not None:
            from edge.collector.nats_consumer import consume

            take = partial(consume, broker, store, key, stop, context=context, regions=regions)
            consumer = threading.Thread(target=take)
            consumer.start()
            stack.callback(consumer.join)
            stack.callback(stop.set)
        scheme = "https" if tls else "http"
        announce(f"{scheme}://{f'[{bound}]' if ':' in bound else bound}:{bound_port}")
        server.run(lambda: _check(fronts, consumer, server))


def _check(fronts: list[Front], consumer: threading.Thread | None, server: Server) -> None:
    """A collector that nobody can reach any more ends, so that whoever watches it starts it anew."""
    if (fronts and select.select(fronts, [], [], 0)[0]) or (consumer and not consumer.is_alive()):
        server.stop()


def _authorities(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CollectorError(f"{path} holds no certificates: {error}.") from error


def _ask_devices(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except OSError as error:  # SSLError is one
        raise CollectorError(f"{authorities} holds no certificates: {error}.") from error
    context.verify_mode = ssl.CERT_REQUIRED


def _broker_context(broker: str | None, tls: Tls | None) -> ssl.SSLContext | None:
    if broker is None:
        return None
    try:
        check_url(broker)
    except ValueError as error:
        raise CollectorError(f"The broker's URL cannot be used: {error}.") from error
    if not broker.startswith("tls:"):
        return None
    if tls is None:
        raise CollectorError("A broker behind TLS needs --tls-cert, --tls-key and --device-ca.")
    try:
        context = ssl.create_default_context(cafile=tls.devices)
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        raise CollectorError(f"The certificates for the broker cannot be used: {error}.") from error
    return context
