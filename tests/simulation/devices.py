"""Devices in the simulation: the client library's session with its effects carried out, and a stock client.

Rules
- A device's outbox, positions and log survive its restart; its session does not.
- A device's clock is its own: off by some seconds, and it decides nothing.
- The stock client knows no library: it publishes at QoS 1 until the PUBACK, and holds that for "stored".
"""

import asyncio
import random
from collections.abc import Sequence
from typing import assert_never

from tests.simulation.broker import Session as BrokerSession
from tests.simulation.broker import SimBroker
from tests.simulation.checker import Checker, Said
from tests.simulation.network import Connection, Network
from tidings.protocol import codec, ids, topics
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId
from tidings.protocol.link import Inbound, Outbound
from tidings.protocol.payloads import Message, SendMessage
from tidings.session import (
    Deliver,
    Effect,
    MemoryOutbox,
    Moved,
    Notice,
    Position,
    Publish,
    Session,
    State,
    Status,
    Subscribe,
)

RECONNECT = (0.05, 4.0)


class Device:
    """A client with a connection that it makes again when it is lost."""

    def __init__(
        self, broker: SimBroker, network: Network, checker: Checker, dice: random.Random, user: UserId, device: DeviceId
    ) -> None:
        self.user = user
        self.device = device
        self.on = True
        self._broker = broker
        self._network = network
        self._checker = checker
        self._dice = dice
        self._connection: Connection | None = None
        self._session: BrokerSession | None = None
        self._again: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """The MQTT client id."""
        return ids.client_id(self.user, self.device)

    def say(self, conv: ConvId, message: SendMessage) -> None:
        """Send a message."""
        raise NotImplementedError

    def switch_on(self) -> None:
        """Begin to connect."""
        self.on = True
        self._connect_later(0.0)

    def switch_off(self) -> None:
        """Vanish, as a phone without battery."""
        self.on = False
        connection, self._connection, self._session = self._connection, None, None
        if connection is not None:
            connection.cut(known_to_client=True)
        if self._again is not None:
            self._again.cancel()

    def _connect_later(self, wait: float) -> None:
        if self._again is not None:
            self._again.cancel()
        self._again = asyncio.get_running_loop().call_later(wait, self._connect)

    def _connect(self) -> None:
        connection = self._network.connect(lambda: self._lost(connection))
        self._connection = connection

        def attach() -> None:
            session = self._broker.attach(self.name, connection, self._deliver, custodian=False)
            connection.down.send(lambda: self._connected(session))

        connection.up.send(attach)

    def _lost(self, connection: Connection) -> None:
        if connection is self._connection:
            self._connection = self._session = None
            self.on_lost()
            if self.on:
                self._connect_later(self._dice.uniform(*RECONNECT))

    def _connected(self, session: BrokerSession) -> None:
        self._session = session
        self.on_connected()

    def _deliver(self, connection: Connection, messages: Sequence[Inbound]) -> None:
        session = self._session
        if connection is not self._connection or session is None:
            return
        for message in messages:
            self.on_message(message)
            if message.qos:
                self._acknowledge(connection, session, message.handle.packet)

    def _acknowledge(self, connection: Connection, session: BrokerSession, packet: int) -> None:
        connection.up.send(lambda: self._broker.acknowledged(session, packet))

    def _subscribe(self, filters: tuple[str, ...]) -> None:
        connection, session = self._connection, self._session
        if connection is not None and session is not None:
            connection.up.send(lambda: self._broker.subscribe(session, filters))

    def _publish(self, message: Outbound, said: Said | None = None) -> None:
        connection, session = self._connection, self._session
        if connection is None or session is None:
            return

        def acknowledge() -> None:
            connection.down.send(lambda: self.on_puback(said))

        connection.up.send(lambda: self._broker.publish(session, message, acknowledge))

    def on_connected(self) -> None:
        """The broker took the CONNECT."""

    def on_lost(self) -> None:
        """The connection is gone."""

    def on_message(self, message: Inbound) -> None:
        """A message came; it is acknowledged after this."""

    def on_puback(self, said: Said | None) -> None:
        """The broker acknowledged a publish."""


class SdkDevice(Device):
    """The client library's session on virtual time. `log` is what it was given, by conversation."""

    def __init__(
        self, broker: SimBroker, network: Network, checker: Checker, dice: random.Random, user: UserId, device: DeviceId
    ) -> None:
        super().__init__(broker, network, checker, dice, user, device)
        self.log: dict[ConvId, list[Message]] = {}
        self.failed: list[Status] = []
        self._skew = dice.randint(-5_000, 5_000)
        self._outbox = MemoryOutbox()
        self._positions: dict[ConvId, Position] = {}
        self._said: dict[tuple[ConvId, MessageId], Said] = {}
        self._marks: dict[tuple[ConvId, UserId, str], int] = {}
        self._boots = 0
        self._timer: asyncio.TimerHandle | None = None
        self.session = self._boot()

    @property
    def settled(self) -> bool:
        """Whether nothing is unsent, and nothing is known to be missing."""
        return self.session.settled and not self.session.unsent

    def say(self, conv: ConvId, message: SendMessage) -> None:
        self._said[conv, message.id] = Said(conv, self.user, self.device, message.id, message.body)
        self._carry_out(self.session.send(conv, message, self._now()))

    def read_all(self) -> None:
        """Read everything that was given."""
        for conv, entries in self.log.items():
            self._carry_out(self.session.mark_read(conv, entries[-1].seq, self._now()))

    def compare(self) -> None:
        """Look for what was missed."""
        self._carry_out(self.session.compare_heads(self._now()))

    def restart(self) -> None:
        """Crash and begin again with what is on disk."""
        self.switch_off()
        self._positions = self.session.positions()
        self.session = self._boot()
        self._marks.clear()
        self.switch_on()

    def on_connected(self) -> None:
        self._carry_out(self.session.connected(self._now()))

    def on_lost(self) -> None:
        self._carry_out(self.session.disconnected(self._now()))

    def on_message(self, message: Inbound) -> None:
        self._carry_out(self.session.received(message.topic, message.payload, self._now()))

    def _boot(self) -> Session:
        self._boots += 1
        return Session(
            self.user,
            self.device,
            boot=f"b{self._boots}",
            jitter=self._dice.random,
            outbox=self._outbox,
            positions=self._positions,
        )

    def _now(self) -> int:
        return max(0, int(asyncio.get_running_loop().time() * 1000) + 1_700_000_000_000 + self._skew)

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._do(effect)
        if self._timer is not None:
            self._timer.cancel()
        wake = self.session.wake_at
        if wake is not None:
            wait = max(0, wake - self._now()) / 1000 + 0.001
            self._timer = asyncio.get_running_loop().call_later(wait, self._tick, self.session)

    def _tick(self, session: Session) -> None:
        if session is self.session:
            self._carry_out(session.tick(self._now()))

    def _do(self, effect: Effect) -> None:
        match effect:
            case Subscribe():
                self._subscribe(effect.filters)
            case Publish():
                self._publish(Outbound(effect.topic, effect.payload, effect.qos))
            case Deliver(entry=entry):
                log = self.log.setdefault(entry.conv, [])
                self._checker.delivered(self.user, log[-1].seq if log else None, entry)
                log.append(entry)
            case Status():
                self._status(effect)
            case Moved():
                key = (effect.conv, effect.user, effect.kind)
                self._checker.moved(self._marks.get(key, 0), effect.to, effect.conv)
                self._marks[key] = effect.to
            case Notice():
                pass
            case _:
                assert_never(effect)

    def _status(self, status: Status) -> None:
        if status.state is State.SENT and (said := self._said.get((status.conv, status.id))) is not None:
            self._checker.acknowledged(said, status.seq)
        elif status.state is State.FAILED:
            self.failed.append(status)


class StockDevice(Device):
    """A client that knows MQTT alone. `unacked` is what it will publish again."""

    def __init__(
        self, broker: SimBroker, network: Network, checker: Checker, dice: random.Random, user: UserId, device: DeviceId
    ) -> None:
        super().__init__(broker, network, checker, dice, user, device)
        self.unacked: dict[Said, Outbound] = {}

    def say(self, conv: ConvId, message: SendMessage) -> None:
        said = Said(conv, self.user, self.device, message.id, message.body)
        topic = topics.build(topics.Out(self.user, self.device, ids.lane_of(conv), conv, "msg"))
        self.unacked[said] = Outbound(topic, codec.encode(message))
        self._publish(self.unacked[said], said)

    def on_connected(self) -> None:
        self._subscribe(topics.device_subscriptions(self.user, self.device))
        for said, message in self.unacked.items():
            self._publish(message, said)

    def on_puback(self, said: Said | None) -> None:
        if said is not None and self.unacked.pop(said, None) is not None:
            self._checker.acknowledged(said)
