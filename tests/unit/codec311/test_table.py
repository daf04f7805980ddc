"""The table, both ways; every truncated prefix is incomplete; packets are told apart in a stream."""

import mqtt5
import pytest

from broker.embedded import codec311
from tests.unit.codec311.table import PACKETS

each = pytest.mark.parametrize(("packet", "raw"), PACKETS.values(), ids=PACKETS)


@each
def test_packet_is_written_as_the_table_says(packet, raw):
    assert codec311.write(packet) == raw


@each
def test_bytes_are_read_as_the_table_says(packet, raw):
    assert codec311.read(memoryview(raw)) == (packet, len(raw))


@each
def test_every_truncated_prefix_is_incomplete(packet, raw):
    short = [*range(min(len(raw), 64)), len(raw) - 1]
    assert all(codec311.read(memoryview(raw)[:size]) is None for size in short)


@each
def test_header_tells_the_size_before_the_packet_has_come(packet, raw):
    head = next(head for size in range(6) if (head := codec311.header(memoryview(raw)[:size])))
    assert (head.first, head.body + head.length) == (raw[0], len(raw))


def test_packets_are_read_one_after_the_other_from_one_buffer():
    stream = memoryview(b"".join(raw for _, raw in PACKETS.values()))
    at, packets = 0, []
    while (found := codec311.read(stream, at)) is not None:
        packets.append(found[0])
        at += found[1]
    assert at == len(stream)
    assert packets == [packet for packet, _ in PACKETS.values()]


def test_table_has_every_form():
    assert {raw[0] >> 4 for _, raw in PACKETS.values()} == set(codec311.FORMS)


def test_what_3_1_1_cannot_say_is_no_bytes():
    silent = (
        mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.MALFORMED_PACKET),
        mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER),
        mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE),
        mqtt5.AuthPacket(),
    )
    assert [codec311.write(packet) for packet in silent] == [b""] * len(silent)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("SERVER_BUSY", 3),
        ("QUOTA_EXCEEDED", 3),
        ("CONNECTION_RATE_EXCEEDED", 3),
        ("USE_ANOTHER_SERVER", 3),
        ("SERVER_MOVED", 3),
        ("BAD_AUTHENTICATION_METHOD", 4),
        ("BANNED", 5),
    ],
)
def test_reasons_of_version_5_become_the_nearest_return_code(reason, code):
    packet = mqtt5.ConnAckPacket(reason_code=getattr(mqtt5.ConnAckReasonCode, reason))
    assert codec311.write(packet) == bytes((0x20, 2, 0, code))


def test_a_refusal_is_never_written_with_a_session():
    packet = mqtt5.ConnAckPacket(session_present=True, reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED)
    assert codec311.write(packet) == b"\x20\x02\x00\x05"


def test_every_failed_subscription_is_0x80():
    codes = [mqtt5.SubAckReasonCode.NOT_AUTHORIZED, mqtt5.SubAckReasonCode.QUOTA_EXCEEDED]
    assert codec311.write(mqtt5.SubAckPacket(1, codes)) == b"\x90\x04\x00\x01\x80\x80"


def test_a_negative_acknowledgement_is_a_plain_one():
    refused = mqtt5.PubAckPacket(9, reason_code=mqtt5.PubAckReasonCode.NOT_AUTHORIZED)
    assert codec311.write(refused) == b"\x40\x02\x00\x09"


def test_properties_of_version_5_are_left_out():
    packet = mqtt5.PublishPacket("a", b"x", content_type="text/plain", user_properties=[("k", "v")], topic_alias=3)
    assert codec311.write(packet) == b"\x30\x04\x00\x01ax"


@pytest.mark.parametrize(
    "packet",
    [
        mqtt5.PubAckPacket(0),
        mqtt5.ConnectPacket("a", password=b"p"),
    ],
    ids=["packet id 0", "password alone"],
)
def test_what_cannot_be_written_is_a_value_error(packet):
    with pytest.raises(ValueError):
        codec311.write(packet)


@pytest.mark.parametrize(("level", "version"), [(4, "3.1.1"), (5, "5"), (9, "unknown")])
def test_protocol_level_is_told_before_a_codec_is_chosen(level, version):
    raw = memoryview(b"\x10\x0d\x00\x04MQTT" + bytes((level,)) + b"\x02\x00\x3c\x00\x01a")
    assert codec311.protocol_level(raw) == level
    assert [codec311.protocol_level(raw[:size]) for size in range(9)] == [None] * 9
