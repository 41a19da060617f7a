"""The collector's end of NATS JetStream: reads what branches sent, in order, and answers their calls.

A message is acknowledged to the broker after it was committed here, so a collector or a broker that dies in between
leads to the same message again, which changes nothing.

A region's leaf node has a stream of its own in its own JetStream domain, and takes what its branches send whether or
not headquarters' broker can be reached. The collector pulls from each of them through that broker: what is in a region
leaves it when it was committed here, and nowhere lies another copy that could be lost in between.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Sequence
from dataclasses import replace

import nats
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from devices.errors import CollectorError, MessageError
from edge.collector.store import Store
from edge.offline.sync_message import Message, unpack_message
from edge.offline.sync_nats import DOWN, NONCE_HEADER, STREAM, UP, quiet_loop

log = logging.getLogger(__name__)

_DURABLE = "collector"  # in a region with its name behind: an acknowledgement reaches all consumers of one name
_COLLECTOR = "The collector"
_AT_ONCE = 256  # messages of one transaction
_FETCH_S = 1.0
_PAUSE_S = 1.0
_ACK_WAIT_S = 10.0  # then the broker gives a message again that a broken connection took along
_WINDOW_S = 600.0  # in which the broker knows a message's id again; a broken exchange is repeated sooner


def consume(
    url: str,
    store: Store,
    key: Ed25519PrivateKey,
    stop: threading.Event,
    *,
    context: ssl.SSLContext | None = None,
    regions: Sequence[str] = (),
) -> None:
    """Take messages until ``stop``. Runs an event loop: give it a thread.

    A broker or a region that is away is waited for.

    Args:
        url: Of the broker.
        store: Where entries go.
        key: Signs answers.
        stop: Ends it after the messages at hand.
        context: For ``tls://``.
        regions: JetStream domains of the leaf nodes behind the broker.
    """
    with asyncio.Runner(loop_factory=quiet_loop) as runner:
        runner.run(_Consumer(url, store, key, stop, context, regions).run())


class _Consumer:
    def __init__(
        self,
        url: str,
        store: Store,
        key: Ed25519PrivateKey,
        stop: threading.Event,
        context: ssl.SSLContext | None,
        regions: Sequence[str],
    ) -> None:
        self._url, self._store, self._key, self._stop, self._context = url, store, key, stop, context
        self._regions = regions
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        while not self._stop.is_set():
            try:
                client = await nats.connect(
                    self._url,
                    tls=self._context,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    error_cb=_quiet,
                    name="edgekit collector",
                )
                consuming = asyncio.create_task(self._consume(client))
                await asyncio.wait([consuming])
                await client.close()
                if not consuming.cancelled():  # nats-py cancels whoever waits for a message when it closes
                    consuming.result()
            except CollectorError as error:
                self._say(_COLLECTOR, f"takes nothing from brokers, and what they hold stays there: {error}")
                await asyncio.sleep(_PAUSE_S)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                self._say(f"The broker at {self._url}", f"is away: {type(error).__name__}: {error}")
                await asyncio.sleep(_PAUSE_S)

    async def _consume(self, client: Client) -> None:
        """The broker's own stream and those of the regions, until the first of these ends."""
        streams = [self._pull(client, client.jetstream(), _DURABLE, f"The broker at {self._url}")]
        streams += [self._pull_region(client, region) for region in self._regions]
        tasks = [asyncio.create_task(each) for each in streams]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _pull_region(self, client: Client, region: str) -> None:
        """One region; while its line is down nobody else waits."""
        while not self._stop.is_set() and not client.is_closed:
            try:
                stream = client.jetstream(domain=region)
                await self._pull(client, stream, f"{_DURABLE}-{region}", f"The region {region}")
            except (nats.errors.Error, TimeoutError) as error:
                self._say(f"The region {region}", f"is away: {type(error).__name__}: {error}")
                await asyncio.sleep(_PAUSE_S)

    async def _pull(self, client: Client, stream: JetStreamContext, durable: str, who: str) -> None:
        await _ensure_stream(stream)
        config = ConsumerConfig(ack_wait=_ACK_WAIT_S, max_ack_pending=4 * _AT_ONCE)
        pulled = await stream.pull_subscribe(f"{UP}.*", durable=durable, stream=STREAM, config=config)
        self._say(who, "")
        while not self._stop.is_set() and not client.is_closed:
            try:
                messages = await pulled.fetch(_AT_ONCE, timeout=_FETCH_S)
            except nats.errors.TimeoutError:
                continue
            await self._take(client, messages)

    async def _take(self, client: Client, arrived: Sequence[Msg]) -> None:
        readable: list[Message] = []
        for each in arrived:
            try:
                readable.append(replace(unpack_message(each.data), taken=each.metadata.timestamp))
            except MessageError as error:  # it will not be better the next time
                log.warning("A message on %s is thrown away: %s", each.subject, error)
        for message, reply in zip(readable, self._store.receive(readable, self._key), strict=True):
            if reply is not None and message.call is not None:
                headers = {NONCE_HEADER: message.call.nonce}
                await client.publish(f"{DOWN}.{message.device}", reply.data, headers=headers)
        for each in arrived:
            await each.ack()
        await client.flush()
        self._say(_COLLECTOR, "")

    def _say(self, who: str, problem: str) -> None:
        if problem and problem != self._said.get(who):  # once, not every second
            log.warning("%s %s", who, problem)
        self._said[who] = problem


async def _ensure_stream(stream: JetStreamContext) -> None:
    """Make the stream; one that is there, made by the bank with replicas and bounds of its own, is taken as it is."""
    try:
        await stream.stream_info(STREAM)
    except nats.js.errors.NotFoundError:
        await stream.add_stream(
            StreamConfig(
                name=STREAM,
                subjects=[f"{UP}.*"],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,  # a full broker refuses; it never drops what it took
                duplicate_window=_WINDOW_S,
            )
        )


async def _quiet(error: Exception) -> None:
    """What fails says it."""
