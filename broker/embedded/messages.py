"""Application messages, and their bytes on the wire.

Rules
- A message is immutable and shared by every queue that it stands in.
- Its bytes are made once for each form (version, QoS, retain) and patched with a packet id and DUP; a message with an
  expiry or subscription ids is written anew each time, for its bytes change.
"""

from typing import Any, Final

import mqtt5
from msgspec import Struct, field

from broker.embedded import codec5, codec311

QOS: Final = (mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE)
NEVER: Final = 0
"""`expires_at` of a message that does not expire."""
_PAIR: Final = 100
"""Bytes that a user property is reckoned to take beside its texts: an object each, and one for the two."""
_OVERHEAD: Final = 64
"""Bytes that a queued message is reckoned to take beside topic and payload."""


class Properties(Struct, frozen=True, omit_defaults=True):
    """What MQTT 5 hands on unchanged from sender to receiver [3.3.2.3]."""

    payload_format: int = 0
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """Bytes that they are reckoned to take."""
        texts = len(self.content_type or "") + len(self.response_topic or "") + len(self.correlation_data or b"")
        return texts + sum(len(name) + len(value) + _PAIR for name, value in self.user)


class Message(Struct, frozen=True, eq=False):
    """A message. `qos` is the publisher's, `expires_at` in ms or `NEVER`."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    expires_at: int = NEVER
    properties: Properties | None = None
    forms: dict[tuple[int, int, bool], tuple[bytes, bytes]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes that it is reckoned to take in a queue."""
        more = self.properties.size if self.properties is not None else 0
        return len(self.payload) + len(self.topic) + _OVERHEAD + more

    def is_expired(self, now: int) -> bool:
        """Tell whether it is too late to hand it over."""
        return self.expires_at != NEVER and now >= self.expires_at


class Delivery(Struct, frozen=True):
    """How a message goes to one receiver: with which QoS, retain flag and subscription ids."""

    qos: int
    retain: bool = False
    subscription_ids: tuple[int, ...] = ()


def from_packet(packet: mqtt5.PublishPacket, topic: str, now: int) -> Message:
    """Make the message of a PUBLISH; `topic` is the packet's or its alias'."""
    lasts = packet.message_expiry_interval
    return Message(
        topic,
        packet.payload,
        packet.qos.value,
        packet.retain,
        NEVER if lasts is None else now + lasts * 1000,
        _properties(packet),
    )


def from_will(will: mqtt5.Will, now: int) -> Message:
    """Make the message of a will that is sent now."""
    lasts = will.message_expiry_interval
    return Message(
        will.topic,
        will.payload or b"",
        will.qos.value,
        will.retain,
        NEVER if lasts is None else now + lasts * 1000,
        _properties(will),
    )


def _properties(source: mqtt5.PublishPacket | mqtt5.Will) -> Properties | None:
    user = source.user_properties
    if not (
        user
        or source.payload_format_indicator
        or source.content_type is not None
        or source.response_topic is not None
        or source.correlation_data is not None
    ):
        return None
    return Properties(
        source.payload_format_indicator,
        source.content_type,
        source.response_topic,
        source.correlation_data,
        tuple(user),
    )


def write(message: Message, way: Delivery, level: int, packet_id: int, now: int, *, dup: bool = False) -> bytes:
    """Write the PUBLISH of a message for a client of a protocol level. `packet_id` is ignored for QoS 0."""
    qos = way.qos
    if level == codec5.LEVEL and (way.subscription_ids or message.expires_at):
        return _packet(message, way, packet_id, now, dup).write()
    form = (level, qos, way.retain)
    parts = message.forms.get(form)
    if parts is None:
        parts = message.forms[form] = _parts(message, way, level, now)
    head, tail = parts
    if not qos:
        return head
    if dup:
        head = bytes((head[0] | 0x08,)) + head[1:]
    return b"%b%c%c%b" % (head, packet_id >> 8, packet_id & 0xFF, tail)


def _parts(message: Message, way: Delivery, level: int, now: int) -> tuple[bytes, bytes]:
    """Write a PUBLISH and split it where its packet id stands."""
    packet = _packet(message, way, 1, now, False)
    raw = packet.write() if level == codec5.LEVEL else codec311.write(packet)
    if not way.qos:
        return raw, b""
    body = 2
    while raw[body - 1] & 0x80:  # the length's bytes but the last have the high bit [2.2.3]
        body += 1
    place = body + 2 + (raw[body] << 8 | raw[body + 1])
    return raw[:place], raw[place + 2 :]


def _packet(message: Message, way: Delivery, packet_id: int, now: int, dup: bool) -> mqtt5.PublishPacket:
    more: dict[str, Any] = {}
    if message.expires_at:
        more["message_expiry_interval"] = max(1, -(-(message.expires_at - now) // 1000))
    if way.subscription_ids:
        more["subscription_ids"] = list(way.subscription_ids)
    if (given := message.properties) is not None:
        more["payload_format_indicator"] = given.payload_format
        more["content_type"] = given.content_type
        more["response_topic"] = given.response_topic
        more["correlation_data"] = given.correlation_data
        more["user_properties"] = list(given.user)
    return mqtt5.PublishPacket(
        message.topic,
        message.payload,
        qos=QOS[way.qos],
        retain=way.retain,
        packet_id=packet_id if way.qos else None,
        duplicate=dup and way.qos > 0,
        **more,
    )
