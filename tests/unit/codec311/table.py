"""One named table of MQTT 3.1.1 packets and their bytes, written by hand from the standard.

Every test here runs over it. The bytes are the truth: neither the codec under test nor a library made them.
"""

from typing import Final

from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
    Packet,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    TopicFilter,
    UnsubAckPacket,
    UnsubscribePacket,
    Will,
)

NEVER: Final = 0xFFFF_FFFF


def topic_filter(pattern: str, qos: QoS) -> TopicFilter:
    """Make a filter as a 3.1.1 client means it: a forwarded message loses its retain flag."""
    return TopicFilter(pattern, max_qos=qos, retain_as_published=False)


CLIENT_SIDE: Final[dict[str, tuple[Packet, bytes]]] = {
    "connect, clean": (
        ConnectPacket("a", clean_start=True, keep_alive=60),
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
    ),
    "connect, kept session": (
        ConnectPacket("dev", session_expiry_interval=NEVER),
        b"\x10\x0f\x00\x04MQTT\x04\x00\x00\x00\x00\x03dev",
    ),
    "connect, no client id": (
        ConnectPacket("", clean_start=True),
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00",
    ),
    "connect, user name alone": (
        ConnectPacket("a", clean_start=True, username="u"),
        b"\x10\x10\x00\x04MQTT\x04\x82\x00\x00\x00\x01a\x00\x01u",
    ),
    "connect, user name and password": (
        ConnectPacket("a", clean_start=True, keep_alive=65535, username="ü", password=b"\x00\xff"),
        b"\x10\x15\x00\x04MQTT\x04\xc2\xff\xff\x00\x01a\x00\x02\xc3\xbc\x00\x02\x00\xff",
    ),
    "connect, will": (
        ConnectPacket("a", clean_start=True, will=Will("w/t", payload=b"gone", qos=QoS.AT_LEAST_ONCE)),
        b"\x10\x18\x00\x04MQTT\x04\x0e\x00\x00\x00\x01a\x00\x03w/t\x00\x04gone",
    ),
    "connect, everything": (
        ConnectPacket(
            "a",
            session_expiry_interval=NEVER,
            keep_alive=1,
            will=Will("w", payload=b"", qos=QoS.EXACTLY_ONCE, retain=True),
            username="u",
            password=b"p",
        ),
        b"\x10\x18\x00\x04MQTT\x04\xf4\x00\x01\x00\x01a\x00\x01w\x00\x00\x00\x01u\x00\x01p",
    ),
    "subscribe to one": (
        SubscribePacket(10, [topic_filter("a/b", QoS.AT_LEAST_ONCE)]),
        b"\x82\x08\x00\x0a\x00\x03a/b\x01",
    ),
    "subscribe to three": (
        SubscribePacket(
            65535,
            [
                topic_filter("#", QoS.AT_MOST_ONCE),
                topic_filter("+/x/#", QoS.EXACTLY_ONCE),
                topic_filter("$share/g/t", QoS.AT_LEAST_ONCE),
            ],
        ),
        b"\x82\x1b\xff\xff\x00\x01#\x00\x00\x05+/x/#\x02\x00\x0a$share/g/t\x01",
    ),
    "unsubscribe from one": (UnsubscribePacket(2, ["a/+"]), b"\xa2\x07\x00\x02\x00\x03a/+"),
    "unsubscribe from two": (UnsubscribePacket(256, ["a", "/"]), b"\xa2\x08\x01\x00\x00\x01a\x00\x01/"),
    "ping request": (PingReqPacket(), b"\xc0\x00"),
    "disconnect": (DisconnectPacket(), b"\xe0\x00"),
}
"""What a client sends."""

BOTH_SIDES: Final[dict[str, tuple[Packet, bytes]]] = {
    "publish, QoS 0": (PublishPacket("a/b", b"hi"), b"\x30\x07\x00\x03a/bhi"),
    "publish, QoS 0, retained and empty": (PublishPacket("a", b"", retain=True), b"\x31\x03\x00\x01a"),
    "publish, QoS 1": (
        PublishPacket("a", b"\x00\x01", qos=QoS.AT_LEAST_ONCE, packet_id=1),
        b"\x32\x07\x00\x01a\x00\x01\x00\x01",
    ),
    "publish, QoS 1, again": (
        PublishPacket("a", b"x", qos=QoS.AT_LEAST_ONCE, packet_id=65535, duplicate=True),
        b"\x3a\x06\x00\x01a\xff\xffx",
    ),
    "publish, QoS 2, again, retained": (
        PublishPacket("ü/😀", b"x", qos=QoS.EXACTLY_ONCE, packet_id=258, duplicate=True, retain=True),
        b"\x3d\x0c\x00\x07\xc3\xbc/\xf0\x9f\x98\x80\x01\x02x",
    ),
    "publish, a length of two bytes": (PublishPacket("a", b"x" * 200), b"\x30\xcb\x01\x00\x01a" + b"x" * 200),
    "publish, the longest length of two bytes": (
        PublishPacket("a", b"x" * 16380),
        b"\x30\xff\x7f\x00\x01a" + b"x" * 16380,
    ),
    "publish, a length of three bytes": (
        PublishPacket("a", b"x" * 16381),
        b"\x30\x80\x80\x01\x00\x01a" + b"x" * 16381,
    ),
    "puback": (PubAckPacket(1), b"\x40\x02\x00\x01"),
    "pubrec": (PubRecPacket(2), b"\x50\x02\x00\x02"),
    "pubrel": (PubRelPacket(3), b"\x62\x02\x00\x03"),
    "pubcomp": (PubCompPacket(65535), b"\x70\x02\xff\xff"),
}
"""What either side sends."""

SERVER_SIDE: Final[dict[str, tuple[Packet, bytes]]] = {
    "connack, new session": (ConnAckPacket(), b"\x20\x02\x00\x00"),
    "connack, session present": (ConnAckPacket(session_present=True), b"\x20\x02\x01\x00"),
    "connack, wrong version": (
        ConnAckPacket(reason_code=ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION),
        b"\x20\x02\x00\x01",
    ),
    "connack, client id": (ConnAckPacket(reason_code=ConnAckReasonCode.CLIENT_ID_NOT_VALID), b"\x20\x02\x00\x02"),
    "connack, unavailable": (ConnAckPacket(reason_code=ConnAckReasonCode.SERVER_UNAVAILABLE), b"\x20\x02\x00\x03"),
    "connack, password": (ConnAckPacket(reason_code=ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD), b"\x20\x02\x00\x04"),
    "connack, not authorized": (ConnAckPacket(reason_code=ConnAckReasonCode.NOT_AUTHORIZED), b"\x20\x02\x00\x05"),
    "suback, all codes": (
        SubAckPacket(
            7,
            [
                SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE,
                SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE,
                SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE,
                SubAckReasonCode.UNSPECIFIED_ERROR,
            ],
        ),
        b"\x90\x06\x00\x07\x00\x01\x02\x80",
    ),
    "unsuback": (UnsubAckPacket(2, []), b"\xb0\x02\x00\x02"),
    "ping response": (PingRespPacket(), b"\xd0\x00"),
}
"""What a server sends."""

PACKETS: Final = CLIENT_SIDE | BOTH_SIDES | SERVER_SIDE
