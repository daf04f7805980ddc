"""MQTT 5 bytes to and from the packet classes of `mqtt5`, strictly.

Rules
- `mqtt5` reads and writes; this module first walks a packet's bytes and refuses what `mqtt5` would let pass or crash
  on: texts that are not UTF-8 or hold U+0000, packet id 0, topics with wildcards, broken filters, reserved bits,
  properties that are unknown, doubled or in a packet where they do not belong. Section numbers are those of the OASIS
  standard "MQTT Version 5.0".
- `PROPERTIES` is the table of properties: what follows the number, and the packets that may have it.
- A packet's bytes are walked only when it has come whole.
"""

from typing import Any, Final

import mqtt5
from mqtt5 import Packet

from broker.embedded.codec311 import check_filter, check_topic, header
from broker.embedded.packets import MalformedPacket, ProtocolViolation

LEVEL: Final = 5
"""The protocol level of MQTT 5 in CONNECT [3.1.2.2]."""

_WILL: Final = 0
"""Stands for the will's properties among packet types: type 0 is no packet's."""
_CONNECT, _CONNACK, _PUBLISH, _SUBSCRIBE, _SUBACK, _UNSUBSCRIBE, _UNSUBACK = 1, 2, 3, 8, 9, 10, 11
_ACKS: Final = frozenset({4, 5, 6, 7})
_DISCONNECT, _AUTH = 14, 15
_PING: Final = frozenset({12, 13})

_PROBLEM: Final = frozenset({_CONNACK, *_ACKS, _SUBACK, _UNSUBACK, _DISCONNECT, _AUTH})
_MESSAGE: Final = frozenset({_PUBLISH, _WILL})
_ALL: Final = frozenset({_WILL, *range(1, 12), _DISCONNECT, _AUTH})

PROPERTIES: Final[dict[int, tuple[str, frozenset[int]]]] = {
    0x01: ("1", _MESSAGE),  # payload format indicator
    0x02: ("4", _MESSAGE),  # message expiry interval
    0x03: ("text", _MESSAGE),  # content type
    0x08: ("topic", _MESSAGE),  # response topic
    0x09: ("binary", _MESSAGE),  # correlation data
    0x0B: ("number", frozenset({_PUBLISH, _SUBSCRIBE})),  # subscription identifier
    0x11: ("4", frozenset({_CONNECT, _CONNACK, _DISCONNECT})),  # session expiry interval
    0x12: ("text", frozenset({_CONNACK})),  # assigned client identifier
    0x13: ("2", frozenset({_CONNACK})),  # server keep alive
    0x15: ("text", frozenset({_CONNECT, _CONNACK, _AUTH})),  # authentication method
    0x16: ("binary", frozenset({_CONNECT, _CONNACK, _AUTH})),  # authentication data
    0x17: ("1", frozenset({_CONNECT})),  # request problem information
    0x18: ("4", frozenset({_WILL})),  # will delay interval
    0x19: ("1", frozenset({_CONNECT})),  # request response information
    0x1A: ("text", frozenset({_CONNACK})),  # response information
    0x1C: ("text", frozenset({_CONNACK, _DISCONNECT})),  # server reference
    0x1F: ("text", _PROBLEM),  # reason string
    0x21: ("2", frozenset({_CONNECT, _CONNACK})),  # receive maximum
    0x22: ("2", frozenset({_CONNECT, _CONNACK})),  # topic alias maximum
    0x23: ("2", frozenset({_PUBLISH})),  # topic alias
    0x24: ("1", frozenset({_CONNACK})),  # maximum QoS
    0x25: ("1", frozenset({_CONNACK})),  # retain available
    0x26: ("pair", _ALL),  # user property
    0x27: ("4", frozenset({_CONNECT, _CONNACK})),  # maximum packet size
    0x28: ("1", frozenset({_CONNACK})),  # wildcard subscription available
    0x29: ("1", frozenset({_CONNACK})),  # subscription identifier available
    0x2A: ("1", frozenset({_CONNACK})),  # shared subscription available
}
_MANY: Final = frozenset({0x0B, 0x26})


def read(data: memoryview, at: int = 0) -> tuple[Packet, int] | None:
    """Read the packet that begins at `at`, and its size in bytes; None while it is incomplete. Raises
    `MalformedPacket` or `ProtocolViolation`."""
    head = header(data, at)
    if head is None or len(data) < head.body + head.length:
        return None
    end = head.body + head.length
    _check(data, head.first, head.body, end)
    try:
        packet, _ = mqtt5.read(data[at:end])
    except (ValueError, IndexError) as error:
        raise MalformedPacket(str(error)) from None
    return packet, end - at


def write(packet: Packet) -> bytes:
    """Write a packet."""
    return packet.write()


def _check(data: memoryview, first: int, at: int, end: int) -> None:
    kind = first >> 4
    if kind == _PUBLISH:
        _check_publish(data, first, at, end)
        return
    walk = _Walk(data, at, end)
    if kind in _ACKS:
        walk.packet_id()
    if kind in _ACKS or kind in (_DISCONNECT, _AUTH):
        walk.reason(kind)
    elif kind == _CONNECT:
        _check_connect(walk)
    elif kind == _CONNACK:
        walk.skip(2)
        walk.properties(kind)
    elif kind in (_SUBSCRIBE, _SUBACK, _UNSUBSCRIBE, _UNSUBACK):
        walk.packet_id()
        walk.properties(kind)
        _check_list(walk, kind)
    elif kind not in _PING:
        raise MalformedPacket(f"packet type {kind}")


def _check_publish(data: memoryview, first: int, at: int, end: int) -> None:
    if first & 0x0E == 0x08:
        raise ProtocolViolation("DUP with QoS 0 [MQTT-3.3.1-2]")
    walk = _Walk(data, at, end)
    topic = walk.text()
    if topic:
        check_topic(topic)
    if first & 0x06:
        walk.packet_id()
    if walk.at < end and data[walk.at] == 0:
        return
    walk.properties(_PUBLISH)


def _check_connect(walk: "_Walk") -> None:
    walk.text()
    walk.skip(1)
    flags = walk.byte()
    if flags & 0x01:
        raise MalformedPacket("CONNECT with its reserved flag [MQTT-3.1.2-3]")
    walk.skip(2)
    walk.properties(_CONNECT)
    walk.text()
    if flags & 0x04:
        walk.properties(_WILL)
        check_topic(walk.text())
        walk.binary()
    elif flags & 0x38:
        raise MalformedPacket("QoS or retain of a will that is not there [MQTT-3.1.2-11]")
    if flags & 0x80:
        walk.text()
    if flags & 0x40:
        walk.binary()


def _check_list(walk: "_Walk", kind: int) -> None:
    if walk.at == walk.end:
        raise ProtocolViolation("a list of nothing [MQTT-3.8.3-2]")
    while walk.at < walk.end:
        if kind in (_SUBACK, _UNSUBACK):
            walk.skip(1)
            continue
        pattern = check_filter(walk.text())
        if kind == _SUBSCRIBE:
            _check_options(pattern, walk.byte())


def _check_options(pattern: str, options: int) -> None:
    if options & 0xC0 or options & 0x30 == 0x30 or options & 0x03 == 0x03:
        raise MalformedPacket("reserved subscription options [MQTT-3.8.3-5]")
    if options & 0x04 and pattern.startswith("$share/"):
        raise ProtocolViolation("no local on a shared subscription [MQTT-3.8.3-4]")


class _Walk:
    """A packet's bytes, and how far they are walked."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: memoryview, at: int, end: int) -> None:
        self.data = data
        self.at = at
        self.end = end

    def skip(self, size: int) -> int:
        """Step over bytes; tell where they began."""
        start = self.at
        self.at = start + size
        if self.at > self.end:
            raise MalformedPacket("a field reaches beyond its packet")
        return start

    def byte(self) -> int:
        """Take one byte."""
        return self.data[self.skip(1)]

    def packet_id(self) -> None:
        """Step over a packet id, which is never 0 [MQTT-2.2.1-3]."""
        start = self.skip(2)
        if not self.data[start] and not self.data[start + 1]:
            raise ProtocolViolation("packet id 0")

    def binary(self) -> memoryview:
        """Take bytes with their length before them."""
        start = self.skip(2)
        size = self.data[start] << 8 | self.data[start + 1]
        start = self.skip(size)
        return self.data[start : self.at]

    def text(self) -> str:
        """Take a UTF-8 text [MQTT-1.5.4-1] without U+0000 [MQTT-1.5.4-2]."""
        try:
            text = str(self.binary(), "utf-8")
        except UnicodeDecodeError:
            raise MalformedPacket("not UTF-8") from None
        if "\0" in text:
            raise MalformedPacket("U+0000 in a text")
        return text

    def number(self) -> int:
        """Take a variable byte integer [1.5.5]."""
        value = shift = 0
        for _ in range(4):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
        raise MalformedPacket("a number of more than four bytes")

    def reason(self, kind: int) -> None:
        """Step over what may follow in a packet whose reason code and properties may be left out."""
        if self.at < self.end:
            self.skip(1)
        if self.at < self.end:
            self.properties(kind)

    def properties(self, kind: int) -> None:
        """Step over the properties of a packet of this type."""
        size = self.number()
        end = self.at + size
        if end > self.end:
            raise MalformedPacket("properties reach beyond their packet")
        seen: set[int] = set()
        while self.at < end:
            name = self.number()
            form = PROPERTIES.get(name)
            if form is None or kind not in form[1]:
                raise MalformedPacket(f"property {name} in packet type {kind}")
            if name in seen and name not in _MANY:
                raise ProtocolViolation(f"property {name} twice")
            seen.add(name)
            _WALKS[form[0]](self)
        if self.at != end:
            raise MalformedPacket("a property reaches beyond the properties")

    def pair(self) -> None:
        """Step over a user property."""
        self.text()
        self.text()


_WALKS: Final[dict[str, Any]] = {
    "1": lambda walk: walk.skip(1),
    "2": lambda walk: walk.skip(2),
    "4": lambda walk: walk.skip(4),
    "number": _Walk.number,
    "text": _Walk.text,
    "topic": lambda walk: check_topic(walk.text()),
    "binary": _Walk.binary,
    "pair": _Walk.pair,
}
