"""The core with everything around it faked: clients that speak packets, links, a store with a slow disk, a clock.

Nothing here does I/O. A step settles at once: time passes until everything was handed to the disk, unless the house
`lingers`; `disk` holds what is not flushed yet when it is made slow.
"""

import mqtt5

from acl.decisions import Decision, Principal
from broker.embedded import codec5, codec311
from broker.embedded.core import Core
from broker.embedded.effects import Close, Cut, Hand, Persist, Reading, Write
from broker.embedded.memory import MemoryStore
from broker.port import Limits
from tidings.protocol import ids
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId

CODECS = {4: codec311, 5: codec5}
QOS = (mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE)
USER = ids.make_user_id(bytes(11))
LIMITS = Limits(
    packet_bytes=4_096,
    connections=50,
    inflight=5,
    queue_messages=10,
    queue_bytes=20_000,
    publish_rate=100.0,
    publish_burst=1_000,
    subscriptions=5,
    will_bytes=100,
    write_buffer_bytes=50_000,
    session_expiry=1_000,
)


class Gate:
    """`acl.decisions.Gate`: the password "good" opens; topics with the level "no" are forbidden; who is in `void` must
    go."""

    def __init__(self):
        self.void = set()
        self.asked = []
        self.expires_at = 2**62

    def authenticate(self, client_id, username, password, now):
        if password == b"later":
            raise Refusal(Code.UNAVAILABLE)
        if password != b"good":
            raise Refusal(Code.UNAUTHENTICATED)
        ours = client_id.startswith("bridge-")
        return Principal(USER, DeviceId("d"), "", client_id, "u", now, self.expires_at, custodian=ours)

    def publish(self, principal, topic, *, retain, qos):
        self.asked.append((topic, qos, retain))
        return Decision("no" not in topic.split("/"), "test")

    def subscribe(self, principal, topic_filter):
        return Decision("no" not in topic_filter.split("/"), "test")

    def is_void(self, principal, now):
        return principal.client_id in self.void or now >= principal.expires_at


class House:
    """A core, its store, its clients and links. `disk` holds flushes while `slow`."""

    def __init__(self, limits=LIMITS, *, admit=True):
        self.limits = limits
        self.gate = Gate()
        self.now = 1_000_000
        self.disk = []
        self.slow = False
        self.lingers = False
        self.store = MemoryStore(self._later)
        self.clients = {}
        self.links = {}
        self.admit = admit
        self._start()

    def _start(self):
        self.core = Core(self.gate, self.limits, self.store.load(), self.now, lambda n: b"\1" * n)
        if self.admit:
            self.core.admit()

    def _later(self, seconds, callback):
        self.disk.append(callback)

    def settle(self):
        """Carry out effects until there are none."""
        while True:
            if not self.slow:
                waiting, self.disk = self.disk, []
                for callback in waiting:
                    callback()
            effects = self.core.take(self.now)
            for effect in effects:
                self._do(effect)
            if effects or (self.disk and not self.slow):
                continue
            if self.lingers or (due := self.core.due_at) is None:
                return
            self.now = max(self.now, due)

    def flush(self):
        """Let the slow disk finish what it was given, once."""
        waiting, self.disk = self.disk, []
        for callback in waiting:
            callback()
        self.settle()

    def _do(self, effect):
        match effect:
            case Write(number, data):
                if number in self.clients:
                    self.clients[number].hear(data)
                    self.core.flushed([number])
            case Close(number):
                self.clients.pop(number).is_open = False
            case Reading(number, on):
                self.clients[number].is_read = on
            case Hand(number, messages):
                if number in self.links:
                    self.links[number].got += messages
            case Cut(number):
                self.links.pop(number).is_open = False
            case Persist(operations):
                self.store.append(operations, self._written)

    def _written(self, error):
        assert error is None
        self.core.written(self.now)

    def client(self, client_id="c", *, level=4, **connect):
        """Connect a client; what it does not say is a kept session."""
        client = Client(self, level)
        kept = {"clean_start": False}
        if level == 5:
            kept["session_expiry_interval"] = 1_000
        client.send(mqtt5.ConnectPacket(client_id, **{"username": "u", "password": b"good", **kept, **connect}))
        return client

    def link(self, client_id="bridge-0", *filters, keep=True):
        """Connect a link."""
        return Link(self, client_id, filters or ("in/#",), keep)

    def pass_time(self, ms):
        """Let time pass, with ticks as the shell gives them."""
        end = self.now + ms
        while self.now < end:
            self.now = min(end, self.now + 200)
            self.core.tick(self.now)
            self.settle()

    def crash(self):
        """kill -9 and start again: what was not flushed is lost, and nobody is connected."""
        self.store = self.store.crash()
        self.disk = []
        for one in (*self.clients.values(), *self.links.values()):
            one.is_open = False
        self.clients, self.links = {}, {}
        self._start()


class Client:
    """A client that does nothing by itself. `got` is what it has heard and not yet taken."""

    def __init__(self, house, level):
        self.house = house
        self.codec = CODECS[level]
        self.level = level
        self.got = []
        self.is_open = self.is_read = True
        self._rest = b""
        self.number = house.core.opened(house.now)
        house.clients[self.number] = self

    def send(self, *packets):
        """Send packets in one piece."""
        return self.send_bytes(b"".join(self.codec.write(packet) for packet in packets))

    def send_bytes(self, data):
        """Send bytes."""
        self.house.core.received(self.number, data, self.house.now)
        self.house.settle()
        return self

    def cut(self):
        """Break the connection."""
        self.is_open = False
        self.house.clients.pop(self.number, None)
        self.house.core.closed(self.number, self.house.now)
        self.house.settle()

    def hear(self, data):
        """Take what the core writes."""
        self._rest += data
        while (found := self.codec.read(memoryview(self._rest))) is not None:
            packet, size = found
            self._rest = self._rest[size:]
            self.got.append(packet)

    def take(self, kind=None):
        """Take what was heard: all, or of one kind."""
        taken = [one for one in self.got if kind is None or isinstance(one, kind)]
        self.got = [one for one in self.got if one not in taken] if kind is not None else []
        return taken

    def subscribe(self, *patterns, qos=1, **options):
        """Subscribe, and give the codes."""
        filters = [mqtt5.TopicFilter(one, max_qos=QOS[qos], **options) for one in patterns]
        self.send(mqtt5.SubscribePacket(1, filters))
        return [code.value for packet in self.take(mqtt5.SubAckPacket) for code in packet.reason_codes]

    def publish(self, topic, payload=b"x", *, qos=1, packet_id=1, **fields):
        """Publish."""
        number = packet_id if qos else None
        return self.send(mqtt5.PublishPacket(topic, payload, qos=QOS[qos], packet_id=number, **fields))

    def acks(self):
        """Take the packet ids of the PUBACKs that have come."""
        return [packet.packet_id for packet in self.take(mqtt5.PubAckPacket)]

    def messages(self, *, ack=True):
        """Take the messages that have come, and acknowledge them, again and again until none comes."""
        taken = []
        while got := self.take(mqtt5.PublishPacket):
            taken += got
            if ack:
                self.send(*(mqtt5.PubAckPacket(one.packet_id) for one in got if one.qos == QOS[1]))
        return taken

    def payloads(self, **options):
        """The same, as payloads."""
        return [message.payload for message in self.messages(**options)]


class Link:
    """A link of ours that does nothing by itself."""

    def __init__(self, house, client_id, filters, keep):
        self.house = house
        self.client_id = client_id
        self.got = []
        self.answered = []
        self.is_open = True
        self.number = house.core.link_opened(client_id, filters, house.now, keep=keep)
        house.links[self.number] = self
        house.settle()

    def publish(self, *messages):
        """Publish; `answered` grows by their payloads when the broker has answered."""
        payloads = [message.payload for message in messages]
        core, now = self.house.core, self.house.now
        taken = core.link_publish(self.client_id, self.number, messages, lambda: self.answered.append(payloads), now)
        self.house.settle()
        return taken

    def ack(self, *inbound):
        """Acknowledge; all that has come, unless some are named."""
        self.ack_these(inbound or self.got)

    def ack_these(self, inbound):
        """Acknowledge some, or none."""
        for one in inbound:
            self.house.core.link_acknowledge(self.client_id, [one.handle], self.house.now)
        self.house.settle()

    def close(self):
        """Disconnect."""
        self.house.links.pop(self.number, None)
        self.house.core.link_closed(self.client_id, self.number, self.house.now)
        self.house.settle()
