"""The way to headquarters through NATS JetStream: a leaf node per region takes what branches send and passes it on.

Every piece is a message of its own with ``Nats-Msg-Id`` DEVICE:SEQ:HASH, so the broker keeps one of those that are
sent twice within its window. The call follows when the broker has taken all pieces; headquarters' collector reads the
stream in order and answers it on the device's own subject.

What the broker took is not what headquarters holds: an entry stays unsent here until headquarters' signed answer
names it. So a broker that loses what it took, as JetStream may when the power fails before its fsync, loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import nats
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from devices.clock import Clock
from devices.errors import SyncError
from edge.offline.sync_credentials import Credentials, certificate_trouble
from edge.offline.sync_https import Pack
from edge.offline.sync_message import Call, Piece

STREAM = "EDGEKIT"
UP = "edgekit.up"  # edgekit.up.DEVICE
DOWN = "edgekit.down"
NONCE_HEADER = "Edgekit-Nonce"
MESSAGE_ID_HEADER = "Nats-Msg-Id"

_CONNECT_S = 10.0
_TAKEN_S = 20.0
_ANSWERED_S = 60.0
_LOOK_UP_S = 0.5
_AT_ONCE = 64  # pieces on their way to the broker


class NatsUplink:
    """A broker; connects with the first exchange after ``close``.

    Args:
        url: ``tls://HOST[:PORT]``; ``nats://`` on loopback only (``sync_policy.check_url``).
        device: Id of this device.
        pack: Makes the bytes of a message.
        credentials: Gives the certificates; asked anew for every connection, so one that was renewed is used at once.
        clock: To tell whether a certificate has ended.
        answered_s: How long headquarters may take to answer a call.
    """

    name = "nats"

    def __init__(
        self,
        url: str,
        device: str,
        pack: Pack,
        credentials: Callable[[], Credentials],
        clock: Clock,
        *,
        answered_s: float = _ANSWERED_S,
    ) -> None:
        self._url, self._device, self._pack, self._answered_s = url, device, pack, answered_s
        self._credentials, self._clock = credentials, clock
        self._cause: Exception | None = None  # nats-py tells it aside, and raises that no server is there
        self._runner: asyncio.Runner | None = None
        self._client: Client | None = None

    def exchange(self, pieces: Sequence[Piece], call: Call) -> bytes:
        """As ``Uplink.exchange``."""
        self._cause = None
        self._runner = self._runner or asyncio.Runner(loop_factory=quiet_loop)
        try:
            return self._runner.run(self._exchange(pieces, call))
        except (nats.errors.Error, OSError, TimeoutError) as error:  # SSLError is an OSError
            cause = self._cause or error
            if trouble := certificate_trouble(cause, self._url, self._credentials(), self._clock):
                raise trouble from error
            what = str(cause) or type(cause).__name__
            raise SyncError(f"Headquarters' broker at {self._url} cannot be reached: {what}.") from error

    def close(self) -> None:
        """As ``Uplink.close``."""
        if self._runner is None:
            return
        if self._client is not None:
            self._runner.run(self._client.close())
        self._runner.close()
        self._runner = self._client = None

    async def _exchange(self, pieces: Sequence[Piece], call: Call) -> bytes:
        """``_talk``, and an end to it when the connection breaks: nats-py would wait for its timeouts."""
        client = await self._connected()
        talk = asyncio.create_task(self._talk(client, pieces, call))
        while not (talk.done() or client.is_closed):
            await asyncio.wait([talk], timeout=_LOOK_UP_S)
        if not talk.done():
            talk.cancel()
            await asyncio.wait([talk])
        if talk.cancelled():  # by nats-py too, when it closes
            raise nats.errors.ConnectionClosedError
        return talk.result()

    async def _talk(self, client: Client, pieces: Sequence[Piece], call: Call) -> bytes:
        stream = client.jetstream(timeout=_TAKEN_S)
        subject = f"{UP}.{self._device}"
        answers = await client.subscribe(f"{DOWN}.{self._device}")
        places = asyncio.Semaphore(_AT_ONCE)

        async def send(name: str, data: bytes) -> None:
            async with places:
                await stream.publish(
                    subject, data, stream=STREAM, headers={MESSAGE_ID_HEADER: f"{self._device}:{name}"}
                )

        try:
            sent = [send(piece.id, self._pack([piece], None)) for piece in pieces]
            for error in await asyncio.gather(*sent, return_exceptions=True):
                if error is not None:
                    raise error
            await send(call.nonce, self._pack([], call))
            return await self._answer(answers, call)
        finally:
            if not client.is_closed:
                await answers.unsubscribe()

    async def _answer(self, answers: Subscription, call: Call) -> bytes:
        """The answer to ``call``; those to calls before it are passed over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._answered_s
        while (left := until - loop.time()) > 0:
            try:
                message = await answers.next_msg(timeout=left)
            except nats.errors.TimeoutError:
                break
            if (message.headers or {}).get(NONCE_HEADER) == call.nonce:
                return message.data
        raise SyncError(
            f"The broker at {self._url} took {len(call.pieces)} pieces, but headquarters did not answer within "
            f"{self._answered_s:g} s."
        )

    async def _keep(self, error: Exception) -> None:
        self._cause = error

    async def _connected(self) -> Client:
        if self._client is None or self._client.is_closed:
            self._client = await nats.connect(
                self._url,
                tls=self._credentials().context() if self._url.startswith("tls:") else None,
                connect_timeout=_CONNECT_S,
                allow_reconnect=False,  # the next session is the next try
                max_reconnect_attempts=1,  # also of the first connection, unless told so sixty
                reconnect_time_wait=0.2,
                error_cb=self._keep,
                name=f"edgekit {self._device}",
            )
        return self._client


def quiet_loop() -> asyncio.AbstractEventLoop:
    """An event loop that does not log what nats-py's own tasks meet when a connection breaks; the exchange says it."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    return loop
