"""What nobody may send: each line names the rule of the standard it breaks. And what looks odd but is allowed."""

import pytest

from broker.embedded import codec311
from broker.embedded.packets import MalformedPacket, ProtocolViolation

CONNECT = b"\x00\x04MQTT\x04"


def framed(first: int, body: bytes) -> memoryview:
    """Put a fixed header before a short body."""
    return memoryview(bytes((first, len(body))) + body)


MALFORMED = {
    "type 0": b"\x00\x00",
    "type 15, which is AUTH in version 5": b"\xf0\x00",
    "remaining length over four bytes [2.2.3]": b"\x30\x80\x80\x80\x80\x01",
    "CONNECT, flags [2.2.2-2]": framed(0x11, CONNECT + b"\x02\x00\x00\x00\x01a"),
    "CONNECT, reserved flag [3.1.2-3]": framed(0x10, CONNECT + b"\x03\x00\x00\x00\x01a"),
    "CONNECT, will QoS without a will [3.1.2-13]": framed(0x10, CONNECT + b"\x0a\x00\x00\x00\x01a"),
    "CONNECT, will retain without a will [3.1.2-15]": framed(0x10, CONNECT + b"\x22\x00\x00\x00\x01a"),
    "CONNECT, will QoS 3 [3.1.2-14]": framed(0x10, CONNECT + b"\x1e\x00\x00\x00\x01a\x00\x01w\x00\x00"),
    "CONNECT, cut off": framed(0x10, CONNECT + b"\x02\x00\x00\x00\x02a"),
    "CONNECT, flagged user name missing": framed(0x10, CONNECT + b"\x82\x00\x00\x00\x01a"),
    "CONNECT, bytes after it": framed(0x10, CONNECT + b"\x02\x00\x00\x00\x01ab"),
    "CONNECT, client id not UTF-8 [3.1.3-4]": framed(0x10, CONNECT + b"\x02\x00\x00\x00\x01\xff"),
    "CONNECT, U+0000 in the client id [1.5.3-2]": framed(0x10, CONNECT + b"\x02\x00\x00\x00\x01\x00"),
    "CONNACK, reserved flags [3.2.2.1]": b"\x20\x02\x02\x00",
    "CONNACK, reserved code": b"\x20\x02\x00\x06",
    "CONNACK, short": b"\x20\x01\x00",
    "PUBLISH, QoS 3 [3.3.1-4]": framed(0x36, b"\x00\x01a\x00\x01"),
    "PUBLISH, topic reaches beyond": framed(0x30, b"\x00\x05a"),
    "PUBLISH, no packet id": framed(0x32, b"\x00\x01a"),
    "PUBLISH, nothing": b"\x30\x00",
    "PUBLISH, surrogate in the topic [1.5.3-1]": framed(0x30, b"\x00\x03\xed\xa0\x80"),
    "PUBLISH, overlong form in the topic": framed(0x30, b"\x00\x02\xc0\xaf"),
    "PUBLISH, over U+10FFFF": framed(0x30, b"\x00\x04\xf4\x90\x80\x80"),
    "PUBLISH, U+0000 in the topic [1.5.3-2]": framed(0x30, b"\x00\x03a\x00b"),
    "PUBACK, long": framed(0x40, b"\x00\x01\x00"),
    "PUBACK, flags": framed(0x42, b"\x00\x01"),
    "PUBREL, flags [3.6.1-1]": framed(0x60, b"\x00\x01"),
    "SUBSCRIBE, flags [3.8.1-1]": framed(0x80, b"\x00\x01\x00\x01a\x00"),
    "SUBSCRIBE, QoS 3 [3.8.3-4]": framed(0x82, b"\x00\x01\x00\x01a\x03"),
    "SUBSCRIBE, options of version 5": framed(0x82, b"\x00\x01\x00\x01a\x04"),
    "SUBSCRIBE, no QoS": framed(0x82, b"\x00\x01\x00\x01a"),
    "SUBSCRIBE, U+0000 in the filter": framed(0x82, b"\x00\x01\x00\x01\x00\x00"),
    "SUBACK, code 3 [3.9.3-2]": framed(0x90, b"\x00\x01\x03"),
    "SUBACK, no code": framed(0x90, b"\x00\x01"),
    "UNSUBSCRIBE, flags [3.10.1-1]": framed(0xA0, b"\x00\x01\x00\x01a"),
    "UNSUBACK, with codes as in version 5": framed(0xB0, b"\x00\x01\x00"),
    "PINGREQ, long": b"\xc0\x01\x00",
    "PINGREQ, flags": b"\xc1\x00",
    "DISCONNECT, reason code as in version 5": b"\xe0\x01\x00",
}

FORBIDDEN = {
    "CONNECT, protocol name [3.1.2-1]": framed(0x10, b"\x00\x04MQTt\x04\x02\x00\x00\x00\x01a"),
    "CONNECT, MQTT 3.1": framed(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01a"),
    "CONNECT, level 3 [3.1.2-2]": framed(0x10, b"\x00\x04MQTT\x03\x02\x00\x00\x00\x01a"),
    "CONNECT, level 5": framed(0x10, b"\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a"),
    "CONNECT, level of a bridge": framed(0x10, b"\x00\x04MQTT\x84\x02\x00\x00\x00\x01a"),
    "CONNECT, password without user name [3.1.2-22]": framed(0x10, CONNECT + b"\x42\x00\x00\x00\x01a\x00\x01p"),
    "CONNECT, will to nowhere [4.7.3-1]": framed(0x10, CONNECT + b"\x06\x00\x00\x00\x01a\x00\x00\x00\x00"),
    "CONNECT, will to a filter [3.3.2-2]": framed(0x10, CONNECT + b"\x06\x00\x00\x00\x01a\x00\x01#\x00\x00"),
    "CONNACK, a refusal with a session [3.2.2-4]": b"\x20\x02\x01\x05",
    "PUBLISH, DUP with QoS 0 [3.3.1-2]": framed(0x38, b"\x00\x01a"),
    "PUBLISH, packet id 0 [2.3.1-1]": framed(0x32, b"\x00\x01a\x00\x00"),
    "PUBLISH, empty topic [4.7.3-1]": framed(0x30, b"\x00\x00x"),
    "PUBLISH, + in the topic [3.3.2-2]": framed(0x30, b"\x00\x03a/+"),
    "PUBLISH, # in the topic [3.3.2-2]": framed(0x30, b"\x00\x03a/#"),
    "PUBLISH, # within a level": framed(0x30, b"\x00\x02a#"),
    "PUBACK, packet id 0": framed(0x40, b"\x00\x00"),
    "PUBREC, packet id 0": framed(0x50, b"\x00\x00"),
    "PUBREL, packet id 0": framed(0x62, b"\x00\x00"),
    "PUBCOMP, packet id 0": framed(0x70, b"\x00\x00"),
    "SUBSCRIBE, packet id 0 [2.3.1-1]": framed(0x82, b"\x00\x00\x00\x01a\x00"),
    "SUBSCRIBE, no filter [3.8.3-3]": framed(0x82, b"\x00\x01"),
    "SUBSCRIBE, empty filter [4.7.3-1]": framed(0x82, b"\x00\x01\x00\x00\x00"),
    "SUBSCRIBE, # before the end [4.7.1-2]": framed(0x82, b"\x00\x01\x00\x05a/#/b\x00"),
    "SUBSCRIBE, # within a level [4.7.1-2]": framed(0x82, b"\x00\x01\x00\x02a#\x00"),
    "SUBSCRIBE, + within a level [4.7.1-3]": framed(0x82, b"\x00\x01\x00\x03a+b\x00"),
    "SUBSCRIBE, the second filter is wrong": framed(0x82, b"\x00\x01\x00\x01a\x00\x00\x02##\x00"),
    "SUBACK, packet id 0": framed(0x90, b"\x00\x00\x00"),
    "UNSUBSCRIBE, packet id 0": framed(0xA2, b"\x00\x00\x00\x01a"),
    "UNSUBSCRIBE, no filter [3.10.3-2]": framed(0xA2, b"\x00\x01"),
    "UNSUBSCRIBE, wrong filter": framed(0xA2, b"\x00\x01\x00\x02a+"),
    "UNSUBACK, packet id 0": framed(0xB0, b"\x00\x00"),
}

ALLOWED = {
    "the longest id": framed(0x40, b"\xff\xff"),
    "a byte order mark, which stays [1.5.3-3]": framed(0x30, b"\x00\x04\xef\xbb\xbfa"),
    "a noncharacter, which should not be there": framed(0x30, b"\x00\x03\xef\xbf\xbe"),
    "a control character, which should not be there": framed(0x30, b"\x00\x01\x01"),
    "a space as a topic": framed(0x30, b"\x00\x01 "),
    "a lone separator as a topic [4.7.3]": framed(0x30, b"\x00\x01/"),
    "a filter of empty levels": framed(0x82, b"\x00\x01\x00\x02//\x00"),
    "a filter of wildcards alone": framed(0x82, b"\x00\x01\x00\x05+/+/#\x00"),
    "a length longer than it need be": memoryview(b"\xc0\x80\x80\x80\x00"),
    "a will without any bytes": framed(0x10, CONNECT + b"\x06\x00\x00\x00\x01a\x00\x01w\x00\x00"),
    "no client id with a kept session: the broker refuses it by return code 2": framed(
        0x10, CONNECT + b"\x00\x00\x00\x00\x00"
    ),
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_malformed(raw):
    with pytest.raises(MalformedPacket):
        codec311.read(memoryview(raw))


@pytest.mark.parametrize("raw", FORBIDDEN.values(), ids=FORBIDDEN)
def test_forbidden(raw):
    with pytest.raises(ProtocolViolation):
        codec311.read(memoryview(raw))


@pytest.mark.parametrize("raw", ALLOWED.values(), ids=ALLOWED)
def test_allowed(raw):
    found = codec311.read(raw)
    assert found is not None
    assert found[1] == len(raw)


def test_wrong_headers_are_refused_before_the_rest_has_come():
    for raw in (b"\x00\x05", b"\x81\x05", b"\xc0\x05", b"\x40\x03", b"\x30\xff\xff\xff\xff"):
        with pytest.raises(MalformedPacket):
            codec311.read(memoryview(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"\x30",
        b"GET / HTTP/1.1\r\n",
        b"\x10\x02\x00\x04MQTT\x04",
        b"\x10\x0c\x00\x06MQIsdp\x03",
        b"\x16\x03\x01\x02\x00\x01",
    ],
    ids=["PUBLISH", "HTTP", "short CONNECT", "MQTT 3.1", "TLS"],
)
def test_first_bytes_that_are_no_connect_have_no_level(raw):
    with pytest.raises(ProtocolViolation):
        codec311.protocol_level(memoryview(raw + bytes(8)))
