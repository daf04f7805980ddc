"""MQTT 3.1.1 bytes to and from the packet classes of `mqtt5`, so that the broker and the links know one model.

Rules
- `FORMS` is the whole of it: a packet type's number, its fixed flags, its length where that is fixed, a reader and a
  writer. Section numbers in brackets are those of the OASIS standard "MQTT Version 3.1.1".
- Both directions of every packet are here: a broker reads CONNECT and writes CONNACK, a link does the reverse.
- Any bytes give a packet, None (incomplete) or one of two errors: `MalformedPacket` (not the bytes of a packet) and
  `ProtocolViolation` (a packet that nobody may send). Either ends the connection.
- What 3.1.1 cannot say is written as no bytes at all: a refusal without a return code [3.2.2-6], a server's
  DISCONNECT, a client's "disconnect, and send my will", AUTH. The caller closes after it, and has said it so.
- What version 5 has and 3.1.1 has not is read as this version behaves: a session is clean and ends with its
  connection, or is kept for good; retained messages are sent at every SUBSCRIBE, and forwarded ones lose the flag.
- A negative PUBACK or PUBREC has no form either; it is written as a plain one, for otherwise the sender would repeat
  the same packet for ever. A broker that wants none of it closes.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import mqtt5
from mqtt5 import Packet

from broker.embedded.packets import MalformedPacket, ProtocolViolation

LEVEL: Final = 4
"""The protocol level of MQTT 3.1.1 in CONNECT [3.1.2.2]."""
NEVER: Final = 0xFFFF_FFFF
"""The session expiry interval of a session that is not clean: it does not expire by itself."""

_QOS: Final = (mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE)

_RETURN_CODES: Final = (
    mqtt5.ConnAckReasonCode.SUCCESS,
    mqtt5.ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    mqtt5.ConnAckReasonCode.CLIENT_ID_NOT_VALID,
    mqtt5.ConnAckReasonCode.SERVER_UNAVAILABLE,
    mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD,
    mqtt5.ConnAckReasonCode.NOT_AUTHORIZED,
)
"""CONNACK's return codes 0 to 5 [3.2.2.3], by the reason that version 5 calls the same."""

_RETURN_CODE: Final = {
    **{reason.value: code for code, reason in enumerate(_RETURN_CODES)},
    mqtt5.ConnAckReasonCode.SERVER_BUSY.value: 3,
    mqtt5.ConnAckReasonCode.QUOTA_EXCEEDED.value: 3,
    mqtt5.ConnAckReasonCode.CONNECTION_RATE_EXCEEDED.value: 3,
    mqtt5.ConnAckReasonCode.USE_ANOTHER_SERVER.value: 3,
    mqtt5.ConnAckReasonCode.SERVER_MOVED.value: 3,
    mqtt5.ConnAckReasonCode.BAD_AUTHENTICATION_METHOD.value: 4,
    mqtt5.ConnAckReasonCode.BANNED.value: 5,
}

_SUBSCRIBED: Final = {
    0x00: mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE,
    0x01: mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE,
    0x02: mqtt5.SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE,
    0x80: mqtt5.SubAckReasonCode.UNSPECIFIED_ERROR,
}


class Header(NamedTuple):
    """A fixed header: the first byte, where the rest of the packet begins, and how many bytes that is."""

    first: int
    body: int
    length: int


def header(data: memoryview, at: int = 0) -> Header | None:
    """Read a fixed header [2.2], which versions 3.1.1 and 5 share, so that a packet's size can be refused before it
    has come. None while incomplete. Raises `MalformedPacket` for a length of more than four bytes."""
    length = shift = 0
    for place in range(at + 1, min(at + 5, len(data))):
        length |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return Header(data[at], place + 1, length)
        shift += 7
    if len(data) >= at + 5:
        raise MalformedPacket("remaining length of more than four bytes")
    return None


def protocol_level(data: memoryview, at: int = 0) -> int | None:
    """Tell which protocol level a connection's first packet asks for (3.1.1 is 4, version 5 is 5), so that the codec
    can be chosen. None while incomplete. Raises `ProtocolViolation` if it is no CONNECT of MQTT."""
    if at < len(data) and data[at] != 0x10:
        raise ProtocolViolation("the first packet is not CONNECT")
    head = header(data, at)
    if head is None or len(data) < head.body + min(head.length, 7):
        return None
    if bytes(data[head.body : head.body + 6]) != b"\0\4MQTT" or head.length < 7:
        raise ProtocolViolation("not the protocol MQTT")
    return data[head.body + 6]


def read(data: memoryview, at: int = 0) -> tuple[Packet, int] | None:
    """Read the packet that begins at `at`, and its size in bytes; None while it is incomplete.

    Raises `MalformedPacket` or `ProtocolViolation`, as soon as the fixed header shows it.
    """
    head = header(data, at)
    if head is None:
        return None
    form = FORMS.get(head.first >> 4)
    if form is None:
        raise MalformedPacket(f"packet type {head.first >> 4}")
    if form.flags is not None and form.flags != head.first & 0x0F:
        raise MalformedPacket(f"{form.name} with flags {head.first & 0x0F:#x}")
    if form.length is not None and form.length != head.length:
        raise MalformedPacket(f"{form.name} of length {head.length}")
    end = head.body + head.length
    if len(data) < end:
        return None
    body = Body(data[head.body : end])
    packet = form.read(body, head.first & 0x0F)
    if body.at != head.length:
        raise MalformedPacket(f"{form.name} with {head.length - body.at} bytes too many")
    return packet, end - at


def write(packet: Packet) -> bytes:
    """Write a packet; no bytes where 3.1.1 has none for it (see the rules). Raises `ValueError` for packet id 0 and for
    a password without a user name; `mqtt5`'s classes themselves refuse texts over 65,535 bytes."""
    form = _FORM_OF.get(type(packet))
    return form.write(packet) if form is not None else b""


class Body:
    """A packet's bytes after the fixed header, and how far they are read. What is short is malformed."""

    __slots__ = ("at", "data")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> memoryview:
        """Take the next bytes."""
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise MalformedPacket("a field reaches beyond the packet")
        return self.data[start : self.at]

    def byte(self) -> int:
        """Take one byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """Take a two-byte integer [1.5.2]."""
        high, low = self.take(2)
        return high << 8 | low

    def packet_id(self) -> int:
        """Take a packet id, which is never 0 [2.3.1-1]."""
        number = self.number()
        if number == 0:
            raise ProtocolViolation("packet id 0")
        return number

    def binary(self) -> bytes:
        """Take bytes with their length before them."""
        return bytes(self.take(self.number()))

    def text(self) -> str:
        """Take a UTF-8 text: no surrogates [1.5.3-1], no U+0000 [1.5.3-2]; a byte order mark stays [1.5.3-3]."""
        try:
            text = str(self.take(self.number()), "utf-8")
        except UnicodeDecodeError as error:
            raise MalformedPacket("not UTF-8") from error
        if "\0" in text:
            raise MalformedPacket("U+0000 in a text")
        return text

    def rest(self) -> bytes:
        """Take all that is left."""
        return bytes(self.take(len(self.data) - self.at))

    def more(self) -> bool:
        """Tell whether anything is left."""
        return self.at < len(self.data)


def check_topic(topic: str) -> str:
    """Let a topic name pass: at least one character [4.7.3-1], no wildcard [3.3.2-2]."""
    if not topic or "#" in topic or "+" in topic:
        raise ProtocolViolation("not a topic name")
    return topic


def check_filter(pattern: str) -> str:
    """Let a topic filter pass: at least one character [4.7.3-1]; `#` is a whole level and the last one [4.7.1-2], `+`
    a whole level [4.7.1-3]."""
    if not pattern:
        raise ProtocolViolation("an empty topic filter")
    if "#" in pattern or "+" in pattern:
        levels = pattern.split("/")
        if any(len(level) > 1 and ("#" in level or "+" in level) for level in levels) or "#" in levels[:-1]:
            raise ProtocolViolation("not a topic filter")
    return pattern


# Readers: the body and the fixed header's flags, to a packet.


def _read_connect(body: Body, _flags: int) -> mqtt5.ConnectPacket:
    if bytes(body.take(body.number())) != b"MQTT":
        raise ProtocolViolation("not the protocol MQTT")
    if (level := body.byte()) != LEVEL:
        raise ProtocolViolation(f"protocol level {level}")
    flags = body.byte()
    if flags & 0x01:
        raise MalformedPacket("CONNECT with its reserved flag [3.1.2-3]")
    clean = bool(flags & 0x02)
    keep_alive = body.number()
    client_id = body.text()
    will = _read_will(body, flags)
    if flags & 0xC0 == 0x40:
        raise ProtocolViolation("a password without a user name [3.1.2-22]")
    return mqtt5.ConnectPacket(
        client_id,
        clean_start=clean,
        session_expiry_interval=0 if clean else NEVER,
        keep_alive=keep_alive,
        will=will,
        username=body.text() if flags & 0x80 else None,
        password=body.binary() if flags & 0x40 else None,
    )


def _read_will(body: Body, flags: int) -> mqtt5.Will | None:
    qos = flags >> 3 & 0x03
    if not flags & 0x04:
        if flags & 0x38:
            raise MalformedPacket("QoS or retain of a will that is not there [3.1.2-13] [3.1.2-15]")
        return None
    if qos == 3:
        raise MalformedPacket("a will of QoS 3 [3.1.2-14]")
    topic = check_topic(body.text())
    return mqtt5.Will(topic, payload=body.binary(), qos=_QOS[qos], retain=bool(flags & 0x20))


def _read_connack(body: Body, _flags: int) -> mqtt5.ConnAckPacket:
    flags, code = body.take(2)
    if flags > 1 or code >= len(_RETURN_CODES):
        raise MalformedPacket("CONNACK with reserved values [3.2.2.1] [3.2.2.3]")
    if flags and code:
        raise ProtocolViolation("a refusal with a session [3.2.2-4]")
    return mqtt5.ConnAckPacket(session_present=bool(flags), reason_code=_RETURN_CODES[code])


def _read_publish(body: Body, flags: int) -> mqtt5.PublishPacket:
    qos = flags >> 1 & 0x03
    if qos == 3:
        raise MalformedPacket("PUBLISH of QoS 3 [3.3.1-4]")
    duplicate = bool(flags & 0x08)
    if duplicate and qos == 0:
        raise ProtocolViolation("DUP with QoS 0 [3.3.1-2]")
    topic = check_topic(body.text())
    packet_id = body.packet_id() if qos else None
    return mqtt5.PublishPacket(
        topic, body.rest(), qos=_QOS[qos], retain=bool(flags & 0x01), duplicate=duplicate, packet_id=packet_id
    )


def _read_subscribe(body: Body, _flags: int) -> mqtt5.SubscribePacket:
    packet_id = body.packet_id()
    filters = []
    while body.more():
        pattern = check_filter(body.text())
        if (qos := body.byte()) > 2:
            raise MalformedPacket("SUBSCRIBE with reserved bits or QoS 3 [3-8.3-4]")
        filters.append(mqtt5.TopicFilter(pattern, max_qos=_QOS[qos], retain_as_published=False))
    if not filters:
        raise ProtocolViolation("SUBSCRIBE to nothing [3.8.3-3]")
    return mqtt5.SubscribePacket(packet_id, filters)


def _read_suback(body: Body, _flags: int) -> mqtt5.SubAckPacket:
    packet_id = body.packet_id()
    codes = body.rest()
    if not codes or any(code not in _SUBSCRIBED for code in codes):
        raise MalformedPacket("SUBACK with reserved codes [3.9.3-2]")
    return mqtt5.SubAckPacket(packet_id, [_SUBSCRIBED[code] for code in codes])


def _read_unsubscribe(body: Body, _flags: int) -> mqtt5.UnsubscribePacket:
    packet_id = body.packet_id()
    patterns = []
    while body.more():
        patterns.append(check_filter(body.text()))
    if not patterns:
        raise ProtocolViolation("UNSUBSCRIBE from nothing [3.10.3-2]")
    return mqtt5.UnsubscribePacket(packet_id, patterns)


# Writers: a packet, to all of its bytes.


def _write_connect(packet: mqtt5.ConnectPacket) -> bytes:
    if packet.password is not None and packet.username is None:
        raise ValueError("a password without a user name [3.1.2-22]")
    will = packet.will
    flags = packet.clean_start << 1 | (packet.username is not None) << 7 | (packet.password is not None) << 6
    fields = [_text(packet.client_id)]
    if will is not None:
        flags |= 0x04 | int(will.qos) << 3 | will.retain << 5
        fields += _text(will.topic), _binary(will.payload or b"")
    if packet.username is not None:
        fields.append(_text(packet.username))
    if packet.password is not None:
        fields.append(_binary(packet.password))
    return _packet(0x10, b"\0\4MQTT\4", bytes((flags,)), _number(packet.keep_alive), *fields)


def _write_connack(packet: mqtt5.ConnAckPacket) -> bytes:
    code = _RETURN_CODE.get(packet.reason_code.value)
    if code is None:
        return b""
    return bytes((0x20, 2, packet.session_present and code == 0, code))


def _write_publish(packet: mqtt5.PublishPacket) -> bytes:
    qos = int(packet.qos)
    first = 0x30 | packet.duplicate << 3 | qos << 1 | packet.retain
    if qos:
        return _packet(first, _text(packet.topic), _packet_id(packet.packet_id), packet.payload)
    return _packet(first, _text(packet.topic), packet.payload)


def _write_subscribe(packet: mqtt5.SubscribePacket) -> bytes:
    filters = [_text(topic.pattern) + bytes((int(topic.max_qos),)) for topic in packet.topic_filters]
    return _packet(0x82, _packet_id(packet.packet_id), *filters)


def _write_suback(packet: mqtt5.SubAckPacket) -> bytes:
    codes = bytes(min(code.value, 0x80) for code in packet.reason_codes)
    return _packet(0x90, _packet_id(packet.packet_id), codes)


def _write_unsubscribe(packet: mqtt5.UnsubscribePacket) -> bytes:
    return _packet(0xA2, _packet_id(packet.packet_id), *map(_text, packet.patterns))


def _write_disconnect(packet: mqtt5.DisconnectPacket) -> bytes:
    return b"\xe0\0" if packet.reason_code.value == 0 else b""


def _packet(first: int, *fields: bytes) -> bytes:
    body = b"".join(fields)
    length = len(body)
    head = bytearray((first,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    if len(head) > 5:
        raise ValueError("a packet over 268,435,455 bytes")
    return bytes(head) + body


def _number(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _packet_id(value: int | None) -> bytes:
    if not value:
        raise ValueError("a packet without its packet id")
    return _number(value)


def _binary(value: bytes) -> bytes:
    return _number(len(value)) + value


def _text(value: str) -> bytes:
    return _binary(value.encode())


# The table.


class Form(NamedTuple):
    """A packet type: its name, the flags and the length it always has (None: it varies), its reader and its writer."""

    name: str
    flags: int | None
    length: int | None
    read: Callable[[Body, int], Packet]
    write: Callable[[Any], bytes]


def _acknowledgement(name: str, first: int, make: Callable[[int], Packet]) -> Form:
    """Make the form of a packet that is nothing but a packet id."""
    return Form(
        name,
        first & 0x0F,
        2,
        lambda body, _flags: make(body.packet_id()),
        lambda packet: bytes((first, 2)) + _packet_id(packet.packet_id),
    )


def _bare(name: str, first: int, make: Callable[[], Packet]) -> Form:
    """Make the form of a packet that is nothing but its fixed header."""
    return Form(name, 0, 0, lambda _body, _flags: make(), lambda _packet: bytes((first, 0)))


FORMS: Final[dict[int, Form]] = {
    1: Form("CONNECT", 0, None, _read_connect, _write_connect),
    2: Form("CONNACK", 0, 2, _read_connack, _write_connack),
    3: Form("PUBLISH", None, None, _read_publish, _write_publish),
    4: _acknowledgement("PUBACK", 0x40, mqtt5.PubAckPacket),
    5: _acknowledgement("PUBREC", 0x50, mqtt5.PubRecPacket),
    6: _acknowledgement("PUBREL", 0x62, mqtt5.PubRelPacket),
    7: _acknowledgement("PUBCOMP", 0x70, mqtt5.PubCompPacket),
    8: Form("SUBSCRIBE", 0x02, None, _read_subscribe, _write_subscribe),
    9: Form("SUBACK", 0, None, _read_suback, _write_suback),
    10: Form("UNSUBSCRIBE", 0x02, None, _read_unsubscribe, _write_unsubscribe),
    11: _acknowledgement("UNSUBACK", 0xB0, lambda packet_id: mqtt5.UnsubAckPacket(packet_id, [])),
    12: _bare("PINGREQ", 0xC0, mqtt5.PingReqPacket),
    13: _bare("PINGRESP", 0xD0, mqtt5.PingRespPacket),
    14: _bare("DISCONNECT", 0xE0, mqtt5.DisconnectPacket)._replace(write=_write_disconnect),
}

_FORM_OF: Final[dict[type, Form]] = {
    mqtt5.ConnectPacket: FORMS[1],
    mqtt5.ConnAckPacket: FORMS[2],
    mqtt5.PublishPacket: FORMS[3],
    mqtt5.PubAckPacket: FORMS[4],
    mqtt5.PubRecPacket: FORMS[5],
    mqtt5.PubRelPacket: FORMS[6],
    mqtt5.PubCompPacket: FORMS[7],
    mqtt5.SubscribePacket: FORMS[8],
    mqtt5.SubAckPacket: FORMS[9],
    mqtt5.UnsubscribePacket: FORMS[10],
    mqtt5.UnsubAckPacket: FORMS[11],
    mqtt5.PingReqPacket: FORMS[12],
    mqtt5.PingRespPacket: FORMS[13],
    mqtt5.DisconnectPacket: FORMS[14],
}
