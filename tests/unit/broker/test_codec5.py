"""The strict reading of MQTT 5: what `mqtt5` writes passes, every prefix of it is incomplete, and nothing crashes."""

import mqtt5
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.embedded import codec5
from broker.embedded.packets import MalformedPacket, ProtocolViolation

MORE = {"user_properties": [("k", "v"), ("k", "")]}
PACKETS = [
    mqtt5.ConnectPacket("c"),
    mqtt5.ConnectPacket(
        "c",
        username="u",
        password=b"\xff",
        keep_alive=3,
        session_expiry_interval=9,
        receive_max=7,
        topic_alias_max=1,
        max_packet_size=99,
        authentication_method="m",
        authentication_data=b"\0",
        request_problem_info=False,
        will=mqtt5.Will(
            "w/t",
            payload=b"\xff",
            will_delay_interval=3,
            content_type="t",
            response_topic="r",
            correlation_data=b"",
            **MORE,
        ),
        **MORE,
    ),
    mqtt5.ConnAckPacket(
        session_present=True, assigned_client_id="x", server_keep_alive=3, response_info="r", reason_str="s", **MORE
    ),
    mqtt5.PublishPacket("a/b", b"\0\xff"),
    mqtt5.PublishPacket("", b"", topic_alias=3),
    mqtt5.PublishPacket(
        "a",
        b"x",
        qos=mqtt5.QoS.EXACTLY_ONCE,
        packet_id=65535,
        duplicate=True,
        retain=True,
        payload_format_indicator=1,
        message_expiry_interval=5,
        content_type="ü",
        response_topic="r",
        correlation_data=b"\0",
        subscription_ids=[1, 268435455],
        **MORE,
    ),
    *(
        kind(7, reason_code=code, reason_str="s", **MORE)
        for kind, code in (
            (mqtt5.PubAckPacket, mqtt5.PubAckReasonCode.NOT_AUTHORIZED),
            (mqtt5.PubRecPacket, mqtt5.PubRecReasonCode.NOT_AUTHORIZED),
            (mqtt5.PubRelPacket, mqtt5.PubRelReasonCode.PACKET_ID_NOT_FOUND),
            (mqtt5.PubCompPacket, mqtt5.PubCompReasonCode.PACKET_ID_NOT_FOUND),
        )
    ),
    mqtt5.PubAckPacket(1),
    mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a/+/#", no_local=True)], subscription_id=3, **MORE),
    mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]),
    mqtt5.UnsubscribePacket(1, ["a", "#"]),
    mqtt5.UnsubAckPacket(1, [mqtt5.UnsubAckReasonCode.SUCCESS]),
    mqtt5.PingReqPacket(),
    mqtt5.PingRespPacket(),
    mqtt5.DisconnectPacket(),
    mqtt5.DisconnectPacket(session_expiry_interval=3, server_reference="s", **MORE),
    mqtt5.AuthPacket(authentication_method="m", authentication_data=b"x"),
]


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: type(packet).__name__)
def test_what_is_written_is_read(packet):
    raw = codec5.write(packet)
    read, size = codec5.read(memoryview(raw))
    assert (str(read), size) == (str(packet), len(raw))
    assert codec5.read(memoryview(b"\0\0" + raw + b"\0"), 2)[1] == len(raw)
    for end in range(len(raw)):
        assert codec5.read(memoryview(raw[:end])) is None


WRONG = {
    "not UTF-8": b"\x30\x05\x00\x01\xff\x00x",
    "U+0000": b"\x30\x05\x00\x01\x00\x00x",
    "wildcard": b"\x30\x06\x00\x03a/+\x00",
    "filter": b"\x82\x08\x00\x01\x00\x00\x02a#\x00",
    "no filter": b"\x82\x03\x00\x01\x00",
    "packet id 0": b"\x82\x07\x00\x00\x00\x00\x01a\x00",
    "ack of packet id 0": b"\x40\x02\x00\x00",
    "reserved option": b"\x82\x07\x00\x01\x00\x00\x01a\x40",
    "retain handling 3": b"\x82\x07\x00\x01\x00\x00\x01a\x30",
    "no local, shared": b"\x82\x10\x00\x01\x00\x00\x0a$share/g/a\x04",
    "dup of QoS 0": b"\x38\x04\x00\x01a\x00",
    "foreign property": b"\x30\x09\x00\x01a\x05\x11\x00\x00\x00\x01",
    "unknown property": b"\x30\x06\x00\x01a\x02\x7f\x05",
    "property twice": b"\x30\x08\x00\x01a\x04\x01\x00\x01\x00",
    "properties too long": b"\x30\x05\x00\x01a\x7f\x01",
    "response topic with wildcard": b"\x30\x08\x00\x01a\x04\x08\x00\x01#",
    "type 0": b"\x00\x00",
    "QoS 3": b"\x36\x07\x00\x01a\x00\x01\x00x",
    "length": b"\x30\xff\xff\xff\xff\x01",
    "will flags without will": b"\x10\x0e\x00\x04MQTT\x05\x08\x00\x00\x00\x00\x01a",
    "user name not UTF-8": b"\x10\x11\x00\x04MQTT\x05\x80\x00\x00\x00\x00\x01a\x00\x01\xff",
}


@pytest.mark.parametrize("raw", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_refused(raw):
    with pytest.raises((MalformedPacket, ProtocolViolation)):
        codec5.read(memoryview(raw))


@given(st.binary(max_size=64) | st.sampled_from(PACKETS).flatmap(lambda one: mangled(one.write())))
@example(b"\x30\x05\x00\x01\xff\x00x")
def test_any_bytes_give_a_packet_or_one_of_two_errors(raw):
    try:
        found = codec5.read(memoryview(raw))
    except (MalformedPacket, ProtocolViolation):
        return
    assert found is None or 2 <= found[1] <= len(raw)


def mangled(raw):
    """Change some bytes of a packet."""
    changes = st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), max_size=3)

    def change(pairs):
        data = bytearray(raw)
        for place, value in pairs:
            data[place] = value
        return bytes(data)

    return changes.map(change)
