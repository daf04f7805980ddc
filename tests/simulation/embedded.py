"""The embedded broker's real core on the simulated network: devices speak MQTT 5 to it, byte for byte.

Rules
- The core is the one that ships; its store is the one in memory, whose flushes take time and are lost in a crash.
- What the core wants done is done as its shell does it: once a turn of the loop, in order.
- It stands behind the simulated broker's methods, so that devices, links and faults are the same for both.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Final, assert_never

import mqtt5

from acl.decisions import Decision, Principal
from broker.embedded.core import Core
from broker.embedded.effects import Close, Cut, Effect, Hand, Persist, Reading, Write
from broker.embedded.memory import MemoryStore
from broker.port import Limits
from tests.simulation.broker import RECEIVE_MAXIMUM, Deliver, Session, SimBroker, Watch
from tests.simulation.network import Connection, Network
from tidings.protocol.ids import DeviceId, UserId
from tidings.protocol.link import Handle, Inbound, Outbound

_TICK: Final = 1.0
_EXPIRY: Final = 30 * 86_400
_PACKETS: Final = 65_535


class OpenGate:
    """Lets everybody do everything: who may what is tried elsewhere."""

    def authenticate(self, client_id: str, username: str | None, password: bytes | None, now: int) -> Principal:
        """Take a client id at its word."""
        user, _, device = client_id.partition(":")
        return Principal(UserId(user), DeviceId(device), "device", client_id, user, 0, now + 10**12)

    def publish(self, principal: Principal, topic: str, *, retain: bool, qos: int) -> Decision:
        """Allow."""
        return Decision(True, "simulated")

    def subscribe(self, principal: Principal, topic_filter: str) -> Decision:
        """Allow."""
        return Decision(True, "simulated")

    def is_void(self, principal: Principal, now: int) -> bool:
        """Keep everybody connected."""
        return False


class Client(Session):
    """A client's end: its number in the core, and whose acknowledgements it waits for."""

    def __init__(self, client_id: str, connection: Connection, deliver: Deliver, *, custodian: bool) -> None:
        super().__init__(client_id, custodian=custodian)
        self.connection = connection
        self.deliver = deliver
        self.link = connection
        self.number = 0
        self.bytes = b""
        self.last = 0
        self.waiting: dict[int, Callable[[], None]] = {}

    def packet(self) -> int:
        """Name the next packet."""
        self.last = self.last % _PACKETS + 1
        return self.last


class EmbeddedSim(SimBroker):
    """The embedded broker's core behind the simulated broker's methods."""

    def __init__(self, network: Network, dice: random.Random, *, forgetful: bool, watch: Watch) -> None:
        super().__init__(network, dice, forgetful=forgetful, watch=watch)
        loop = asyncio.get_running_loop()
        self._store = MemoryStore(loop.call_later, latency=0.005)
        self._clients: dict[int, Client] = {}
        self._due = False
        self._core = self._start()
        self._tick()

    @property
    def admits(self) -> bool:
        return self._core.is_admitting

    def attach(self, client_id: str, connection: Connection, deliver: Deliver, *, custodian: bool) -> Session:
        client = Client(client_id, connection, deliver, custodian=custodian)
        if custodian:
            return client  # it comes to the core with its filters
        client.number = self._core.opened(self._now())
        self._clients[client.number] = client
        connection.broker_lost = lambda: self._closed(client)
        hello = mqtt5.ConnectPacket(client_id, session_expiry_interval=_EXPIRY, receive_max=RECEIVE_MAXIMUM)
        self._feed(client, hello.write())
        return client

    def subscribe(self, session: Session, filters: Iterable[str]) -> None:
        client = _client(session)
        if client.custodian:
            keep = client.client_id.startswith("bridge-")
            client.number = self._core.link_opened(client.client_id, list(filters), self._now(), keep=keep)
            self._clients[client.number] = client
            client.link.broker_lost = lambda: self._link_closed(client)
            if keep:
                self._core.admit()
        else:
            wanted = [mqtt5.TopicFilter(text, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for text in filters]
            self._feed(client, mqtt5.SubscribePacket(client.packet(), wanted).write())
        self._soon()

    def publish(self, session: Session, message: Outbound, acknowledge: Callable[[], None]) -> None:
        client = _client(session)
        self._watch(client.client_id, message)
        if client.custodian:
            self._core.link_publish(client.client_id, client.number, [message], acknowledge, self._now())
        elif message.qos:
            packet = client.packet()
            client.waiting[packet] = acknowledge
            said = mqtt5.PublishPacket(message.topic, message.payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet)
            self._feed(client, said.write())
        else:
            self._feed(client, mqtt5.PublishPacket(message.topic, message.payload).write())
        self._soon()

    def acknowledged(self, session: Session, packet: int) -> None:
        client = _client(session)
        if client.custodian:
            self._core.link_acknowledge(client.client_id, [Handle(client.number, packet)], self._now())
        else:
            self._feed(client, mqtt5.PubAckPacket(packet).write())
        self._soon()

    def restart(self) -> None:
        clients, self._clients = self._clients, {}
        self._store = self._store.crash()
        self._core = self._start()
        for client in clients.values():
            client.link.cut(known_to_broker=True)

    def _start(self) -> Core:
        return Core(OpenGate(), Limits(), self._store.load(), self._now(), self._dice.randbytes)

    def _now(self) -> int:
        return 1_700_000_000_000 + int(asyncio.get_running_loop().time() * 1000)

    def _tick(self) -> None:
        self._core.tick(self._now())
        self._soon()
        asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _feed(self, client: Client, data: bytes) -> None:
        self._core.received(client.number, data, self._now())
        self._soon()

    def _closed(self, client: Client) -> None:
        if self._left(client):
            self._core.closed(client.number, self._now())
            self._soon()

    def _link_closed(self, client: Client) -> None:
        if self._left(client):
            self._core.link_closed(client.client_id, client.number, self._now())
            self._soon()

    def _left(self, client: Client) -> bool:
        """Forget a client, unless it is of a core that crashed: the next one gives its numbers again."""
        if self._clients.get(client.number) is not client:
            return False
        del self._clients[client.number]
        return True

    # What the core wants done.

    def _soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._due = False
        core = self._core
        effects = core.take()
        for effect in effects:
            self._do(core, effect)
        core.flushed([effect.number for effect in effects if isinstance(effect, Write)])
        if core.has_effects:
            self._soon()

    def _do(self, core: Core, effect: Effect) -> None:
        match effect:
            case Write(number, data):
                if (client := self._clients.get(number)) is not None:
                    self._hear(client, data)
            case Hand(number, messages):
                if (client := self._clients.get(number)) is not None:
                    self._hand(client, messages)
            case Persist(operations):
                self._store.append(operations, lambda _: self._written(core))
            case Close(number) | Cut(number):
                if (client := self._clients.pop(number, None)) is not None:
                    client.link.cut(known_to_broker=True)
            case Reading():
                pass
            case _:
                assert_never(effect)

    def _written(self, core: Core) -> None:
        if core is self._core:
            core.written(self._now())
            self._soon()

    def _hear(self, client: Client, data: bytes) -> None:
        """Read what the core sent to a device."""
        client.bytes += data
        came: list[Inbound] = []
        while client.bytes:
            try:
                packet, size = mqtt5.read(memoryview(client.bytes))
            except IndexError:
                break
            client.bytes = client.bytes[size:]
            if isinstance(packet, mqtt5.PublishPacket):
                came.append(Inbound(packet.topic, packet.payload, packet.qos.value, Handle(0, packet.packet_id or 0)))
            elif isinstance(packet, mqtt5.PubAckPacket):
                client.waiting.pop(packet.packet_id, lambda: None)()
        if came:
            self._hand(client, came)

    def _hand(self, client: Client, messages: list[Inbound]) -> None:
        connection, deliver = client.link, client.deliver
        named = [each._replace(handle=Handle(connection.number, each.handle.packet)) for each in messages]
        connection.down.send(lambda: deliver(connection, named))


def _client(session: Session) -> Client:
    assert isinstance(session, Client)
    return session
