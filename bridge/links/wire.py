"""A client's side of one MQTT connection, without its socket: bytes in, messages and bytes out.

Rules (sections of MQTT 5.0)
- One `Wire` is one connection: it is never connected again, so its packet ids and handles die with it.
- Receive maximum both ways: never more of our QoS 1 publishes unanswered than the server takes [3.3.4-9]; and what we
  told the server bounds what waits for acknowledgement here, with some slack.
- Acknowledgements leave in the order in which the messages came [4.6.0-2], whatever the order they are given in.
- Any PUBACK answers its publish, whatever its code: the code is counted, not obeyed (`LinkLost` is the only failure).
- Anything else that a server may not send now ends the connection (`Broken`).
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import mqtt5
from msgspec import Struct

from tidings.protocol import limits
from tidings.protocol.link import Handle, Inbound, Outbound

RECEIVE_MAX: Final = 4_096
"""Messages that the server may have unacknowledged on their way to us."""
QUEUED_QOS_0: Final = 20_000
"""Above so many waiting messages, those of QoS 0 are dropped and counted."""
NEVER: Final = 0xFFFF_FFFF
"""A session expiry interval: the session stays [3.1.2.11.2]."""
_SLACK: Final = 4
"""How far a server may be above our receive maximum: Mosquitto 2.0 sends a resumed session's messages in flight beside
a full window of others."""
_SUBSCRIBE_ID: Final = 1
_FIRST_ID: Final = 2
_LAST_ID: Final = 0xFFFF
_QOS: Final = (mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE)
_FAILED: Final = 0x80


class Broken(Exception):
    """The server refused us, or said what it may not say: the connection is over."""


class Codec(Protocol):
    """Packets to bytes and back. `None` while a packet is incomplete."""

    def read(self, data: memoryview, at: int = 0) -> tuple[mqtt5.Packet, int] | None:
        """Read the packet that begins at `at`, and its size in bytes."""
        ...

    def write(self, packet: mqtt5.Packet) -> bytes:
        """Write a packet."""
        ...


class Codec5:
    """MQTT 5, by `mqtt5`."""

    def read(self, data: memoryview, at: int = 0) -> tuple[mqtt5.Packet, int] | None:
        """See `Codec`. Raises `ValueError` for what is no packet."""
        try:
            return mqtt5.read(data[at:])
        except IndexError:
            return None

    def write(self, packet: mqtt5.Packet) -> bytes:
        """See `Codec`."""
        return packet.write()


class Hello(Struct, frozen=True):
    """What a connection begins with. `keep_alive` and `session_expiry` in seconds."""

    client_id: str
    username: str | None = None
    password: bytes | None = None
    keep_alive: int = 30
    session_expiry: int = NEVER
    receive_max: int = RECEIVE_MAX


class Job:
    """One call of `publish`: done when `left` is 0."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


class Wire:
    """See the module's rules. What is to be written gathers until `take`."""

    def __init__(self, number: int, hello: Hello, filters: Sequence[str], codec: Codec) -> None:
        self.number = number
        self.ready = False
        """Whether the server has accepted us and all our subscriptions."""
        self.paused = False
        """Whether the socket is slow: nothing of the queue is written then."""
        self.refused_publishes = 0
        self.dropped = 0
        """Messages of QoS 0 that were dropped because the socket was slow."""
        self._codec = codec
        self._filters = tuple(filters)
        self._hello = hello
        self._out: list[bytes] = []
        self._rest = b""
        self._accepted = False
        self._window = 0
        self._largest = limits.PACKET_BYTES * 4
        self._queue: deque[tuple[Outbound, Job]] = deque()
        self._unanswered: dict[int, Job] = {}
        self._next_id = _FIRST_ID
        self._came: deque[int] = deque()
        self._acked: set[int] = set()
        self._write(
            mqtt5.ConnectPacket(
                hello.client_id,
                username=hello.username,
                password=hello.password,
                clean_start=False,
                keep_alive=hello.keep_alive,
                session_expiry_interval=hello.session_expiry,
                receive_max=hello.receive_max,
            )
        )

    def take(self) -> bytes:
        """Take what is to be written."""
        if not self._out:
            return b""
        out, self._out = self._out, []
        return b"".join(out)

    def feed(self, data: bytes) -> tuple[list[Inbound], list[Job]]:
        """Take bytes in: tells the messages that came, and the jobs that are done. Raises `Broken`."""
        data = self._rest + data if self._rest else data
        inbound: list[Inbound] = []
        done: list[Job] = []
        view = memoryview(data)
        at = 0
        while (found := self._read(view, at)) is not None:
            packet, size = found
            at += size
            self._packet(packet, inbound, done)
        self._rest = bytes(view[at:])
        if len(self._rest) > self._largest:
            raise Broken("a packet above the limit")
        done += self.pump()
        return inbound, done

    def publish(self, messages: Iterable[Outbound], job: Job) -> list[Job]:
        """Take messages to publish; tells the jobs that are done by it (QoS 0 alone)."""
        dropped: list[Job] = []
        for message in messages:
            if not message.qos and len(self._queue) >= QUEUED_QOS_0:
                self.dropped += 1
                _count(job, dropped)
            else:
                self._queue.append((message, job))
        return dropped + self.pump()

    def pump(self) -> list[Job]:
        """Write as much of the queue as the server takes."""
        done: list[Job] = []
        while self.ready and self._queue and not self.paused:
            message, job = self._queue[0]
            if message.qos and len(self._unanswered) >= self._window:
                break
            self._queue.popleft()
            packet_id = self._free_id(job) if message.qos else None
            self._write(mqtt5.PublishPacket(message.topic, message.payload, qos=_QOS[message.qos], packet_id=packet_id))
            if not message.qos:
                _count(job, done)
        return done

    def ack(self, handles: Iterable[Handle]) -> None:
        """Acknowledge; handles of other connections are dropped."""
        self._acked.update(handle.packet for handle in handles if handle.connection == self.number)
        while self._came and self._came[0] in self._acked:
            packet = self._came.popleft()
            self._acked.discard(packet)
            self._write(mqtt5.PubAckPacket(packet))

    def count(self) -> tuple[int, int]:
        """Take how many publishes the server refused, and how many messages of QoS 0 were dropped here, since last
        asked."""
        counted, self.refused_publishes, self.dropped = (self.refused_publishes, self.dropped), 0, 0
        return counted

    def ping(self) -> None:
        """Say that we live."""
        self._write(mqtt5.PingReqPacket())

    def goodbye(self) -> None:
        """End the connection; the session stays."""
        self._write(mqtt5.DisconnectPacket())

    @property
    def unacknowledged(self) -> int:
        """How many messages wait for acknowledgement here."""
        return len(self._came)

    @property
    def queued(self) -> int:
        """How many messages wait to be written, or for their answer."""
        return len(self._queue) + len(self._unanswered)

    def _read(self, view: memoryview, at: int) -> tuple[mqtt5.Packet, int] | None:
        if at >= len(view):
            return None
        try:
            return self._codec.read(view, at)
        except Exception as error:  # each codec has its own kinds; all of them end the connection
            raise Broken(f"not MQTT: {error}") from error

    def _packet(self, packet: mqtt5.Packet, inbound: list[Inbound], done: list[Job]) -> None:
        if isinstance(packet, mqtt5.PublishPacket):
            inbound.append(self._came_in(packet))
        elif isinstance(packet, mqtt5.PubAckPacket):
            self._answered(packet, done)
        elif isinstance(packet, mqtt5.ConnAckPacket):
            self._connected(packet)
        elif isinstance(packet, mqtt5.SubAckPacket):
            self._subscribed(packet)
        elif isinstance(packet, mqtt5.DisconnectPacket):
            raise Broken(f"the server disconnected us: {packet.reason_code.name}")
        elif not isinstance(packet, mqtt5.PingRespPacket):
            raise Broken(f"unexpected {type(packet).__name__}")

    def _connected(self, packet: mqtt5.ConnAckPacket) -> None:
        if self._accepted or packet.reason_code.value >= _FAILED:
            raise Broken(f"not accepted: {packet.reason_code.name}")
        self._accepted = True
        self._window = min(packet.receive_max, _LAST_ID - _FIRST_ID)
        wanted = [mqtt5.TopicFilter(pattern, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for pattern in self._filters]
        if wanted:
            self._write(mqtt5.SubscribePacket(_SUBSCRIBE_ID, wanted))
        else:
            self.ready = True

    def _subscribed(self, packet: mqtt5.SubAckPacket) -> None:
        refused = [code.name for code in packet.reason_codes if code.value >= _FAILED]
        if refused or len(packet.reason_codes) != len(self._filters):
            raise Broken(f"subscriptions refused: {', '.join(refused) or 'not all answered'}")
        self.ready = True

    def _came_in(self, packet: mqtt5.PublishPacket) -> Inbound:
        if packet.packet_id is None:
            return Inbound(packet.topic, packet.payload, 0, Handle(self.number, 0))
        if packet.qos is not mqtt5.QoS.AT_LEAST_ONCE:
            raise Broken("QoS 2 was not asked for")
        if len(self._came) >= self._hello.receive_max * _SLACK:
            raise Broken("the server does not keep to our receive maximum at all")
        self._came.append(packet.packet_id)
        return Inbound(packet.topic, packet.payload, 1, Handle(self.number, packet.packet_id))

    def _answered(self, packet: mqtt5.PubAckPacket, done: list[Job]) -> None:
        job = self._unanswered.pop(packet.packet_id, None)
        if job is None:
            return  # some brokers answer twice; there is nothing to end
        if packet.reason_code.value >= _FAILED:
            self.refused_publishes += 1
        _count(job, done)

    def _free_id(self, job: Job) -> int:
        while self._next_id in self._unanswered:
            self._next_id = self._next_id + 1 if self._next_id < _LAST_ID else _FIRST_ID
        packet_id = self._next_id
        self._unanswered[packet_id] = job
        self._next_id = packet_id + 1 if packet_id < _LAST_ID else _FIRST_ID
        return packet_id

    def _write(self, packet: mqtt5.Packet) -> None:
        self._out.append(self._codec.write(packet))


def _count(job: Job, done: list[Job]) -> None:
    job.left -= 1
    if not job.left:
        done.append(job)
