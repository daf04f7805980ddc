"""The embedded broker as a `broker.port.Broker`: the core, driven by asyncio.

Rules
- One loop, no threads here: the store has its own. Without ports it needs no sockets either, and runs under a loop on
  virtual time.
- What comes in one turn of the loop is taken out at its end: one write a connection, one batch to the store.
- A batch that the store refuses comes again until it is taken; meanwhile nothing that depends on it is acknowledged.
"""

import asyncio
import secrets
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Final, assert_never

import structlog

from acl.decisions import Gate
from broker.embedded.core import Core
from broker.embedded.counts import Counts
from broker.embedded.effects import Close, Cut, Effect, Hand, Persist, Reading, Write
from broker.embedded.link import InProcessLink
from broker.embedded.listeners import TcpProtocol, Wire
from broker.embedded.records import Operation, SessionStore
from broker.embedded.websocket import PATH, WebSocketProtocol
from broker.port import Endpoints, Health, Limits
from tidings.protocol.errors import LinkLost
from tidings.protocol.link import Handle, Outbound

_TICK: Final = 0.2
"""Seconds between two looks at the time."""
_AGAIN: Final = 0.5
"""Seconds until a refused batch comes again."""
_FLUSH: Final = 4.0
"""Seconds that a stop waits for the store."""
_CLOCK: Final = 0.0005
"""Seconds by which a timer comes later, so that the clock of whole milliseconds has surely reached what it is for."""
_BACKLOG: Final = 1024
_AT_THE_DOOR: Final = 1_000
"""Connections beyond the limit that may stand there until they are refused in MQTT; more are closed at once."""
_HANDSHAKE: Final = 10.0
"""Seconds for a TLS handshake."""

_log = structlog.get_logger("broker.embedded")


class EmbeddedBroker:
    """The broker. A port of None is not opened, 0 is one that the system chooses. `clock` gives ms UTC; `tls` needs
    `tls_context`, whose versions below 1.2 are turned off."""

    def __init__(
        self,
        gate: Gate,
        store: SessionStore,
        clock: Callable[[], int],
        *,
        host: str = "127.0.0.1",
        mqtt: int | None = None,
        websocket: int | None = None,
        tls: int | None = None,
        tls_context: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.limits = limits or Limits()
        self._gate = gate
        self._store = store
        self._clock = clock
        self._host = host
        self._ports = {"mqtt": mqtt, "websocket": websocket, "tls": tls}
        self._tls_context = tls_context
        self._entropy = entropy
        self._core: Core | None = None
        self._servers: list[asyncio.Server] = []
        self._wires: dict[int, Wire] = {}
        self._links: dict[int, InProcessLink] = {}
        self._turn_due = False
        self._ticking: asyncio.TimerHandle | None = None
        self._flush_at = 0
        self._failing = ""

    @property
    def core(self) -> Core:
        """The core. Raises `LinkLost` while the broker does not run."""
        if self._core is None:
            raise LinkLost("the broker is not running")
        return self._core

    @property
    def counts(self) -> Counts:
        """What was counted since the start."""
        return self._core.counts if self._core is not None else Counts()

    # The port.

    async def start(self) -> Endpoints:
        """Read the store and listen. Raises `OSError` when a port is taken, `StoreUnavailable`."""
        self._core = Core(self._gate, self.limits, self._store.load(), self._clock(), self._entropy)
        try:
            ports = {name: await self._listen(name, port) for name, port in self._ports.items() if port is not None}
        except BaseException:
            await self._stop_listening()
            self._core = None
            self._store.close()
            raise
        self._tick()
        return Endpoints(self._host, ports.get("mqtt", 0), ports.get("websocket", 0), ports.get("tls", 0), PATH)

    def admit(self) -> None:
        """Let devices in."""
        self.core.admit()

    async def kick(self, client_id: str, *, forget: bool = False) -> None:
        """Disconnect a client; with `forget` its session and queue are durably gone on return."""
        core = self.core
        core.kick(client_id, self._clock(), forget=forget)
        await self._durable(core)

    def health(self) -> Health:
        """Tell the state now."""
        core = self._core
        if core is None:
            return Health(False, ("the broker is not running",))
        reasons = []
        if not core.is_admitting:
            reasons.append("devices are not admitted: not every bridge session exists")
        if self._failing:
            reasons.append(f"the broker's store does not take what must be kept: {self._failing}")
        if core.counts.dropped:
            reasons.append(f"{core.counts.dropped} messages were dropped from full queues")
        sessions = core.exchange.sessions
        return Health(
            not reasons,
            tuple(reasons),
            len(core.connections) + len(core.locals),
            len(sessions),
            sum(session.count for session in sessions.values()),
            core.counts.dropped,
            core.exchange.queued_bytes,
            core.exchange.retained.count,
        )

    async def stop(self) -> None:
        """Stop cleanly: clients are told, and everything is written. Idempotent."""
        core = self._core
        if core is None:
            return
        await self._stop_listening()
        core.shut_down(self._clock())
        self._turn()
        try:
            async with asyncio.timeout(_FLUSH):
                while not core.is_durable:
                    await self._durable(core)
        except TimeoutError:
            _log.error("stopped without writing everything", why=self._failing)
        self._core = None
        if self._ticking is not None:
            self._ticking.cancel()
        self._store.close()

    # What sockets tell (`listeners.Ears`).

    @property
    def write_buffer(self) -> int:
        """Bytes that a transport may hold before it is congested."""
        return self.limits.write_buffer_bytes

    def opened(self, wire: Wire) -> int:
        """A connection has come."""
        if self._core is None or len(self._core.connections) >= self.limits.connections + _AT_THE_DOOR:
            wire.close()
            return 0
        number = self._core.opened(self._clock())
        self._wires[number] = wire
        return number

    def received(self, number: int, data: bytes) -> None:
        """Bytes have come."""
        if self._core is not None:
            self._core.received(number, data, self._clock())
            self._soon()

    def congested(self, number: int, on: bool) -> None:
        """A write buffer is full, or has room again."""
        if self._core is not None:
            self._core.congested(number, on, self._clock())
            self._soon()

    def closed(self, number: int) -> None:
        """A connection has ended."""
        self._wires.pop(number, None)
        if self._core is not None:
            self._core.closed(number, self._clock())
            self._soon()

    # What links ask.

    def link_opened(self, link: InProcessLink, filters: Sequence[str], *, keep: bool) -> int:
        """A link connects; give its number. Raises `LinkLost`."""
        number = self.core.link_opened(link.client_id, filters, self._clock(), keep=keep)
        self._links[number] = link
        self._soon()
        return number

    def link_publish(
        self, link: InProcessLink, number: int, messages: Iterable[Outbound], then: Callable[[], None]
    ) -> bool:
        """A link publishes. False if it is cut."""
        if self._core is None:
            return False
        published = self._core.link_publish(link.client_id, number, messages, then, self._clock())
        self._soon()
        return published

    def link_acknowledge(self, link: InProcessLink, handles: Iterable[Handle]) -> None:
        """A link acknowledges."""
        if self._core is not None:
            self._core.link_acknowledge(link.client_id, handles, self._clock())
            self._soon()

    def link_closed(self, link: InProcessLink, number: int) -> None:
        """A link closes."""
        if self._links.pop(number, None) is not None and self._core is not None:
            self._core.link_closed(link.client_id, number, self._clock())
            self._soon()

    # Turns.

    def _soon(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        core = self._core
        if core is None:
            return
        now = self._clock()
        written = []
        for effect in core.take(now):
            self._do(effect)
            if isinstance(effect, Write):
                written.append(effect.number)
        core.flushed(written)
        if core.has_effects:
            self._soon()
        elif (due := core.due_at) is not None and due != self._flush_at:
            self._flush_at = due
            asyncio.get_running_loop().call_later((due - now) / 1000 + _CLOCK, self._soon)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Write(number, data):
                if (wire := self._wires.get(number)) is not None:
                    wire.write(data)
            case Hand(number, messages):
                if (link := self._links.get(number)) is not None:
                    link.hand(messages)
            case Persist(operations):
                self._persist(operations)
            case Reading(number, on):
                if (wire := self._wires.get(number)) is not None:
                    wire.reading(on)
            case Close(number):
                if (wire := self._wires.pop(number, None)) is not None:
                    wire.close()
            case Cut(number):
                if (link := self._links.pop(number, None)) is not None:
                    link.cut()
            case _:
                assert_never(effect)

    def _persist(self, operations: tuple[Operation, ...]) -> None:
        def done(error: Exception | None) -> None:
            if self._core is None:
                return
            if error is not None:
                if not self._failing:
                    _log.error("the store refused a batch; it comes again", why=str(error), size=len(operations))
                self._failing = str(error)
                asyncio.get_running_loop().call_later(_AGAIN, self._store.append, operations, done)
                return
            self._failing = ""
            self._core.counts.persisted += len(operations)
            self._core.written(self._clock())
            self._soon()

        self._store.append(operations, done)

    def _tick(self) -> None:
        if self._core is not None:
            self._core.tick(self._clock())
            self._soon()
            self._ticking = asyncio.get_running_loop().call_later(_TICK, self._tick)

    async def _durable(self, core: Core) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        core.when_durable(lambda: None if done.done() else done.set_result(None))
        self._soon()
        await done

    # Listening.

    async def _listen(self, name: str, port: int) -> int:
        kind = WebSocketProtocol if name == "websocket" else TcpProtocol
        context = None
        if name == "tls":
            if self._tls_context is None:
                raise ValueError("a TLS port needs a TLS context")
            context = self._tls_context
            context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        server = await asyncio.get_running_loop().create_server(
            lambda: kind(self),
            self._host,
            port,
            ssl=context,
            backlog=_BACKLOG,
            ssl_handshake_timeout=None if context is None else _HANDSHAKE,
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
