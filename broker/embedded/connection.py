"""One client's connection: what is known of it, what goes out on it, and why it is not read from now and then.

Rules
- It is read only while it has no `holds`. A hold is back-pressure: nothing that came is dropped for it.
- Answers to publishes leave in the order in which the publishes came [MQTT-4.6.0-2]; one that is withheld withholds
  those behind it.
- It takes messages only when it is live (CONNACK has left) and its write buffer has room.
"""

import enum
from collections import deque
from collections.abc import Callable
from typing import Final

import mqtt5
from mqtt5 import Packet

from acl.decisions import Principal
from broker.embedded import codec5, codec311, messages
from broker.embedded.effects import Close, Effect, Reading, Write
from broker.embedded.inbox import CODECS, Inbox
from broker.embedded.messages import Delivery, Message
from broker.embedded.rates import Bucket
from broker.embedded.sessions import Queued, Session
from broker.embedded.tickets import Answer

_PUBACK: Final = 0x40
_PUBREC: Final = 0x50


class Hold(enum.Enum):
    """Why a connection is not read from."""

    CONNECT = enum.auto()
    """Its session is being written; CONNACK waits."""
    RATE = enum.auto()
    """It publishes faster than it may."""
    CUSTODY = enum.auto()
    """The queue of one of ours, where its message must go, is full."""
    ANSWERS = enum.auto()
    """As many of its publishes, or changes of its subscriptions, are unanswered as may be."""
    CONGESTED = enum.auto()
    """It does not take what it is sent."""


class Connection:
    """A connection and its state. Times in ms."""

    def __init__(self, number: int, now: int, inbox: Inbox, bucket: Bucket, buffer: int) -> None:
        self.number = number
        self.inbox = inbox
        self.bucket = bucket
        self.opened_at = now
        self.seen_at = now
        self.congested_at = 0
        self.keep_alive = 0
        self.window = 0
        self.most_bytes = 0
        self.live = False
        self.closed = False
        self.goodbye = False
        self.principal: Principal | None = None
        self.session: Session | None = None
        self.will: mqtt5.Will | None = None
        self.stalled: mqtt5.PublishPacket | None = None
        self.aliases: dict[int, str] = {}
        self.allowed: dict[tuple[str, int, bool], bool] = {}
        self.holds: set[Hold] = set()
        self.awaiting: deque[Answer] = deque()
        self.unanswered = 0
        self.pending = 0
        self.on_answer: Callable[[Connection], None] = lambda _: None
        self._reading = True
        self._told = False
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._buffer = buffer

    @property
    def level(self) -> int:
        """Protocol level: 4, 5, or 0 while unknown."""
        return self.inbox.level

    @property
    def is_ready(self) -> bool:
        """Tell whether it takes messages now."""
        return self.live and not self.closed and self._out_bytes < self._buffer and Hold.CONGESTED not in self.holds

    def next_packet(self) -> Packet | None:
        """Take the packet that was held up, or the next that has come. Raises as `Inbox.next` does."""
        if self.stalled is not None:
            packet, self.stalled = self.stalled, None
            return packet
        return self.inbox.next()

    def write(self, packet: Packet) -> None:
        """Send a packet."""
        self.write_bytes(CODECS.get(self.level, codec311).write(packet))

    def write_bytes(self, data: bytes) -> None:
        """Send bytes."""
        if data and not self.closed:
            self._out.append(data)
            self._out_bytes += len(data)

    def send(self, queued: Queued, now: int, *, again: bool) -> bool:
        """Send a message with its packet id; False if it is longer than the client takes [MQTT-3.1.2-24]."""
        data = messages.write(queued.message, queued.way, self.level, queued.packet_id, now, dup=again)
        if self.most_bytes and len(data) > self.most_bytes:
            return False
        self.write_bytes(data)
        return True

    def send_plain(self, message: Message, way: Delivery, now: int) -> bool:
        """Send a QoS 0 message; False if it was dropped, for there is no room or it is longer than the client takes."""
        if not self.is_ready:
            return False
        data = messages.write(message, way, self.level, 0, now)
        if self.most_bytes and len(data) > self.most_bytes:
            return False
        self.write_bytes(data)
        return True

    def release(self, packet_id: int) -> None:
        """Send PUBREL."""
        self.write(mqtt5.PubRelPacket(packet_id))

    def expect(self, packet_id: int, qos: int) -> Answer:
        """Begin an answer to a publish, behind those that are awaited."""
        answer = Answer(self, packet_id, qos)
        self.awaiting.append(answer)
        if qos == 1:
            self.unanswered += 1
        return answer

    def answer(self) -> None:
        """Send the answers that are ready, up to the first that is not."""
        while self.awaiting and not self.awaiting[0].holds:
            answer = self.awaiting.popleft()
            answer.connection = None
            if answer.qos == 1:
                self.unanswered -= 1
            self._write_answer(answer)
        self.on_answer(self)

    def _write_answer(self, answer: Answer) -> None:
        code = answer.code
        if code is None or self.level != codec5.LEVEL:
            first = _PUBACK if answer.qos == 1 else _PUBREC
            self.write_bytes(b"%c\2%c%c" % (first, answer.packet_id >> 8, answer.packet_id & 0xFF))
        elif answer.qos == 1:
            self.write(mqtt5.PubAckPacket(answer.packet_id, reason_code=code))
        else:
            self.write(mqtt5.PubRecPacket(answer.packet_id, reason_code=mqtt5.PubRecReasonCode(code.value)))

    def set_back(self, back: int) -> None:
        """The clock was set back by so many ms."""
        self.opened_at -= back
        self.seen_at -= back
        self.congested_at -= back

    def end(self) -> None:
        """Send nothing more but what was written, and let nobody wait for it."""
        for answer in self.awaiting:
            answer.connection = None
        self.awaiting.clear()
        self.closed = True
        self.live = False

    def take(self, effects: list[Effect]) -> None:
        """Hand over what is to be done for this connection."""
        if self._out:
            effects.append(Write(self.number, b"".join(self._out) if len(self._out) > 1 else self._out[0]))
            self._out.clear()
            self._out_bytes = 0
        if self.closed:
            if not self._told:
                self._told = True
                effects.append(Close(self.number))
        elif self._reading == bool(self.holds):
            self._reading = not self.holds
            effects.append(Reading(self.number, self._reading))
