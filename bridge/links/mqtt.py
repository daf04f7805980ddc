"""A link over a socket: an asyncio protocol around `Wire`, to any MQTT broker.

Rules
- Many packets a read, one write a call. A slow socket stops the queue, never the reading.
- A connection is numbered; when it ends, every unfinished `publish` raises `LinkLost` and `lost` is called, once.
  Connecting again is the caller's business.
- Keep-alive: a ping after half of the interval; a server that is silent for one and a half of it is gone.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Final, cast

from msgspec import Struct

from bridge import metrics
from bridge.links.wire import NEVER, RECEIVE_MAX, Broken, Codec, Codec5, Hello, Job, Wire
from tidings.protocol.errors import LinkLost
from tidings.protocol.link import Handle, Inbound, Lost, Outbound, Receive

log = logging.getLogger(__name__)

_GOODBYE: Final = 1.0
"""How long (s) a server may take to end the connection after our DISCONNECT."""
_HIGH_WATER: Final = 1024 * 1024


class Address(Struct, frozen=True):
    """Where a broker listens, and how we are known there. `password` is asked for at each connect, since tokens expire.
    Times in seconds."""

    host: str
    port: int
    client_id: str
    username: str | None = None
    password: Callable[[], bytes] | None = None
    tls: ssl.SSLContext | None = None
    keep_alive: int = 30
    session_expiry: int = NEVER
    receive_max: int = RECEIVE_MAX
    timeout: float = 10.0


class MqttLink:
    """A `tidings.protocol.link.Link` to a broker by TCP or TLS. `codec` speaks MQTT 5 unless another is given."""

    def __init__(self, address: Address, codec: Codec | None = None) -> None:
        self._address = address
        self._codec = codec or Codec5()
        self._numbers = 0
        self._connection: _Connection | None = None

    async def connect(self, filters: Sequence[str], receive: Receive, lost: Lost) -> None:
        """See `Link`. What the server sends before it has confirmed the subscriptions is handed over at once."""
        await self.close()
        self._numbers += 1
        wire = Wire(self._numbers, self._hello(), filters, self._codec)
        connection = _Connection(wire, receive, lost, self._address.keep_alive)
        address = self._address
        self._connection = connection  # at once: what comes before `connect` returns can be acknowledged
        try:
            async with asyncio.timeout(address.timeout):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: connection, address.host, address.port, ssl=address.tls)
                await connection.ready
        except (OSError, TimeoutError) as error:
            self._connection = None
            connection.abort()
            raise LinkLost(f"cannot connect to {address.host}:{address.port}: {error or 'no answer'}") from error
        connection.announce_loss = True
        if connection.over:
            raise LinkLost("lost while connecting")

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """See `Link`."""
        if self._connection is None or self._connection.over:
            raise LinkLost("not connected")
        if messages:
            await self._connection.publish(messages)

    def ack(self, handles: Iterable[Handle]) -> None:
        """See `Link`."""
        if self._connection is not None:
            self._connection.ack(handles)

    async def close(self) -> None:
        """See `Link`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _hello(self) -> Hello:
        address = self._address
        return Hello(
            address.client_id,
            address.username,
            address.password() if address.password else None,
            address.keep_alive,
            address.session_expiry,
            address.receive_max,
        )


class _Connection(asyncio.Protocol):
    """One connection. `ready` resolves when the subscriptions are confirmed, or raises `LinkLost`."""

    def __init__(self, wire: Wire, receive: Receive, lost: Lost, keep_alive: int) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.over = False
        self.announce_loss = False
        """Whether `lost` is to be called: `connect` itself raises before."""
        self._leaving = False
        self._ended = asyncio.Event()
        self._wire = wire
        self._receive = receive
        self._lost = lost
        self._keep_alive = keep_alive
        self._transport: asyncio.Transport | None = None
        self._futures: dict[Job, asyncio.Future[None]] = {}
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # asyncio's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        # uvloop's transports have the interface, but not asyncio's class.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._heard_at = asyncio.get_running_loop().time()
        self._flush()
        self._beat()

    def data_received(self, data: bytes) -> None:
        """Take all packets in, and hand the messages over in one call."""
        self._heard_at = asyncio.get_running_loop().time()
        if self._leaving:
            return  # nothing may be written any more; what comes now comes again
        try:
            inbound, done = self._wire.feed(data)
        except Broken as error:
            log.warning("MQTT connection %d: %s", self._wire.number, error)
            self._fail(str(error))
            return
        self._finish(done)
        self._count()
        if self._wire.ready and not self.ready.done():
            self.ready.set_result(None)
        if inbound:
            self._hand_over(inbound)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._end(str(exc) if exc else "closed")

    def pause_writing(self) -> None:
        """Stop the queue."""
        self._wire.paused = True

    def resume_writing(self) -> None:
        """Let the queue go on."""
        self._wire.paused = False
        self._finish(self._wire.pump())
        self._flush()

    # The link's calls.

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Publish all and wait for all answers."""
        job = Job(len(messages))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures[job] = future
        self._finish(self._wire.publish(messages, job))
        self._flush()
        self._count()
        await future

    def ack(self, handles: Iterable[Handle]) -> None:
        """Acknowledge."""
        if not self.over:
            self._wire.ack(handles)
            self._flush()

    async def close(self) -> None:
        """Disconnect cleanly: say so, and let the server end the connection, so that it has read all we wrote."""
        self.announce_loss = False
        self._leaving = True
        if self._transport is not None and not self.over:
            self._wire.goodbye()
            self._flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._ended.wait()
        self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()
        self._end("aborted")

    # Inner steps.

    def _count(self) -> None:
        refused, dropped = self._wire.count()
        if refused:
            metrics.REFUSED_PUBLISHES.inc(refused)
        if dropped:
            metrics.DROPPED.labels("the broker is slow").inc(dropped)

    def _hand_over(self, inbound: list[Inbound]) -> None:
        try:
            self._receive(inbound)
        except Exception:  # a bug of the receiver: without this, asyncio would cut the connection without a word
            log.exception("a receiver failed; the connection is cut so that its messages come again")
            self._fail("the receiver failed")

    def _flush(self) -> None:
        data = self._wire.take()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _finish(self, done: list[Job]) -> None:
        for job in done:
            future = self._futures.pop(job, None)
            if future is not None and not future.done():
                future.set_result(None)

    def _fail(self, why: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._end(why)

    def _end(self, why: str) -> None:
        if self.over:
            return
        self.over = True
        self._ended.set()
        if self._timer is not None:
            self._timer.cancel()
        if not self.ready.done():
            self.ready.set_exception(LinkLost(why))
            self.ready.exception()  # heard, even if nobody waits any more
        futures, self._futures = self._futures, {}
        for future in futures.values():
            if not future.done():
                future.set_exception(LinkLost(why))
        if self.announce_loss:
            self._lost()

    def _beat(self) -> None:
        """Ping, and notice a silent server."""
        loop = asyncio.get_running_loop()
        if not self._keep_alive or self.over or self._leaving:
            return
        if loop.time() - self._heard_at > 1.5 * self._keep_alive:
            self._fail("the server is silent")
            return
        if self._wire.ready:
            self._wire.ping()
            self._flush()
        self._timer = loop.call_later(self._keep_alive / 2, self._beat)
