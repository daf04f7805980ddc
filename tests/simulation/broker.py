"""A broker that keeps exactly what brokers promise, and no more.

Rules
- Sessions are persistent. QoS 1 in flight comes again after a reconnect, in order, and before what is queued.
- A device's publish that a custodian's session takes is acknowledged only when the custodian has acknowledged it.
- A new connection of a client id cuts the old one. Handles name their connection; others are dropped.
- A restart loses what custodians have not acknowledged (its senders were told nothing), and, if it is `forgetful`, the
  ends of devices' queues as well: brokers do that, and gap repair must find it.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from acl.filters import matcher
from tests.simulation.network import Connection, Network
from tidings.protocol.errors import LinkLost
from tidings.protocol.link import Handle, Inbound, Lost, Outbound, Receive

RECEIVE_MAXIMUM: Final = 16

Deliver = Callable[[Connection, Sequence[Inbound]], None]
Watch = Callable[[str, Outbound], None]


class Debt:
    """A publisher's acknowledgement that waits for custodians."""

    def __init__(self, pay: Callable[[], None]) -> None:
        self._pay = pay
        self.open = 0

    def settle(self) -> None:
        """One custodian has acknowledged."""
        self.open -= 1
        if not self.open:
            self._pay()


class Queued(NamedTuple):
    """A message for one session."""

    message: Outbound
    debt: Debt | None


class Session:
    """What the broker keeps of a client id."""

    def __init__(self, client_id: str, *, custodian: bool) -> None:
        self.client_id = client_id
        self.custodian = custodian
        self.matchers: tuple[Callable[[str], bool], ...] = ()
        self.queue: deque[Queued] = deque()
        self.flying: dict[int, Queued] = {}
        self.packets = 0
        self.connection: Connection | None = None
        self.deliver: Deliver = lambda _connection, _messages: None

    def wants(self, topic: str) -> bool:
        """Whether a subscription matches."""
        return any(matches(topic) for matches in self.matchers)


class SimBroker:
    """See the module's rules. `watch` is shown every publish, with the client id, as it reaches the broker."""

    def __init__(self, network: Network, dice: random.Random, *, forgetful: bool, watch: Watch) -> None:
        self._network = network
        self._dice = dice
        self._forgetful = forgetful
        self._watch = watch
        self._sessions: dict[str, Session] = {}

    def attach(self, client_id: str, connection: Connection, deliver: Deliver, *, custodian: bool) -> Session:
        """Take a CONNECT: resume the session, cut its predecessor's connection. No device before the bridge's session
        exists: there would be nobody to wait for."""
        if not custodian and not self.admits:
            connection.cut(known_to_broker=True)
            return Session(client_id, custodian=False)
        session = self._sessions.setdefault(client_id, Session(client_id, custodian=custodian))
        if session.connection is not None:
            session.connection.cut(known_to_broker=True)
            self._detach(session)
        session.connection = connection
        session.deliver = deliver
        connection.broker_lost = lambda: self._lost(session, connection)
        return session

    @property
    def admits(self) -> bool:
        """Whether a bridge has subscribed."""
        return any(name.startswith("bridge-") and session.matchers for name, session in self._sessions.items())

    def subscribe(self, session: Session, filters: Iterable[str]) -> None:
        """Replace the session's subscriptions, and let what waits go out."""
        session.matchers = tuple(matcher(pattern) for pattern in filters)
        self._flush(session)

    def publish(self, session: Session, message: Outbound, acknowledge: Callable[[], None]) -> None:
        """Take a publish and route it; `acknowledge` is called when its PUBACK may go."""
        self._watch(session.client_id, message)
        debt = Debt(acknowledge) if message.qos and not session.custodian else None
        for other in self._sessions.values():
            if not other.wants(message.topic) or (not message.qos and other.connection is None):
                continue
            waits = debt if other.custodian else None
            if waits is not None:
                waits.open += 1
            other.queue.append(Queued(message, waits))
            self._flush(other)
        if message.qos and (debt is None or not debt.open):
            acknowledge()

    def acknowledged(self, session: Session, packet: int) -> None:
        """Take a client's PUBACK."""
        queued = session.flying.pop(packet, None)
        if queued is not None and queued.debt is not None:
            queued.debt.settle()
        self._flush(session)

    def restart(self) -> None:
        """Crash and come back."""
        for session in self._sessions.values():
            if session.connection is not None:
                session.connection.cut(known_to_broker=True)
                self._detach(session)
            if session.custodian:
                session.queue.clear()
            elif self._forgetful and session.queue:
                for _ in range(self._dice.randint(0, len(session.queue))):
                    session.queue.pop()

    def _lost(self, session: Session, connection: Connection) -> None:
        if session.connection is connection:
            self._detach(session)

    def _detach(self, session: Session) -> None:
        session.connection = None
        session.packets = 0
        session.queue.extendleft(queued for queued in reversed(session.flying.values()) if queued.message.qos)
        session.flying.clear()

    def _flush(self, session: Session) -> None:
        connection = session.connection
        if connection is None or not session.matchers:
            return
        sent: list[Inbound] = []
        while session.queue and len(session.flying) < RECEIVE_MAXIMUM:
            queued = session.queue.popleft()
            packet = 0
            if queued.message.qos:
                session.packets += 1
                packet = session.packets
                session.flying[packet] = queued
            handle = Handle(connection.number, packet)
            sent.append(Inbound(queued.message.topic, queued.message.payload, queued.message.qos, handle))
        if sent:
            deliver = session.deliver
            connection.down.send(lambda: deliver(connection, sent))


class SimLink:
    """A custodian's `Link` to the simulated broker."""

    def __init__(self, broker: SimBroker, network: Network, client_id: str) -> None:
        self._broker = broker
        self._network = network
        self._client_id = client_id
        self._session: Session | None = None
        self.connection: Connection | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._lost: Lost = lambda: None
        self._up = False

    async def connect(self, filters: Sequence[str], receive: Receive, lost: Lost) -> None:
        """Connect, cut the predecessor, subscribe."""
        loop = asyncio.get_running_loop()
        connection = self._network.connect(lambda: self._on_lost(connection))
        self.connection, self._lost = connection, lost
        answered: asyncio.Future[None] = loop.create_future()
        self._waiting.add(answered)

        def attach() -> None:
            session = self._broker.attach(self._client_id, connection, deliver, custodian=True)
            self._session = session
            connection.down.send(lambda: _resolve(answered))
            self._broker.subscribe(session, filters)

        def deliver(_: Connection, messages: Sequence[Inbound]) -> None:
            if connection is self.connection:
                receive(messages)

        connection.up.send(attach)
        try:
            await answered
            self._up = True
        finally:
            self._waiting.discard(answered)

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Publish all, in order, and wait for all answers."""
        connection, session = self._living()
        left = sum(1 for message in messages if message.qos)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def one_less() -> None:
            nonlocal left
            left -= 1
            if not left:
                _resolve(answered)

        for message in messages:
            connection.up.send(self._arrival(session, connection, message, one_less))
        if not left:
            return
        self._waiting.add(answered)
        try:
            await answered
        finally:
            self._waiting.discard(answered)

    def ack(self, handles: Iterable[Handle]) -> None:
        """Acknowledge; handles of other connections are dropped."""
        connection, session = self.connection, self._session
        if connection is None or session is None or connection.is_cut:
            return
        for handle in handles:
            if handle.connection == connection.number:
                self._send_ack(connection, session, handle.packet)

    async def close(self) -> None:
        """Disconnect; the session stays."""
        self.abandon()

    def abandon(self) -> None:
        """Disconnect without a word: a crash."""
        connection, self.connection = self.connection, None
        self._up = False
        if connection is not None:
            connection.cut(known_to_client=True)
        self._fail()

    def _send_ack(self, connection: Connection, session: Session, packet: int) -> None:
        connection.up.send(lambda: self._broker.acknowledged(session, packet))

    def _arrival(
        self, session: Session, connection: Connection, message: Outbound, answer: Callable[[], None]
    ) -> Callable[[], None]:
        return lambda: self._broker.publish(session, message, lambda: connection.down.send(answer))

    def _living(self) -> tuple[Connection, Session]:
        if self.connection is None or self._session is None:
            raise LinkLost("not connected")
        return self.connection, self._session

    def _on_lost(self, connection: Connection) -> None:
        if connection is not self.connection:
            return
        self.connection = None
        was_up, self._up = self._up, False
        self._fail()
        if was_up:
            self._lost()

    def _fail(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_exception(LinkLost("the connection is gone"))


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
