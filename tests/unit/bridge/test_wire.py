"""A client's side of an MQTT connection: windows, order, and what ends it."""

import asyncio

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from bridge.links.mqtt import _Connection
from bridge.links.wire import QUEUED_QOS_0, Broken, Codec5, Hello, Job, Wire
from tidings.protocol.link import Handle, Inbound, Outbound


def packets(data: bytes) -> list[mqtt5.Packet]:
    """Read what was written."""
    found, at = [], 0
    while at < len(data):
        packet, size = mqtt5.read(memoryview(data)[at:])
        found.append(packet)
        at += size
    return found


def ready(receive_max: int = 65_535, ours: int = 100) -> Wire:
    """Make a wire that the server has accepted."""
    wire = Wire(7, Hello("bridge-0", receive_max=ours), ["a/#"], Codec5())
    assert isinstance(packets(wire.take())[0], mqtt5.ConnectPacket)
    wire.feed(mqtt5.ConnAckPacket(receive_max=receive_max).write())
    assert isinstance(packets(wire.take())[0], mqtt5.SubscribePacket)
    assert wire.publish([Outbound("early", b"", 0)], Job(1)) == [], "not before the subscriptions are confirmed"
    wire.feed(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write())
    assert len(published(wire)) == 1
    return wire


def inbound(packet_id: int, topic: str = "a/b") -> bytes:
    return mqtt5.PublishPacket(topic, b"x", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id).write()


def published(wire: Wire) -> list[int]:
    """Tell the packet ids of the publishes that were written."""
    return [p.packet_id or 0 for p in packets(wire.take()) if isinstance(p, mqtt5.PublishPacket)]


def test_never_more_unanswered_than_the_server_takes() -> None:
    wire, job = ready(receive_max=3), Job(5)
    wire.publish([Outbound("u/x", b"%d" % n) for n in range(5)], job)
    first = published(wire)
    assert len(first) == 3
    _, done = wire.feed(mqtt5.PubAckPacket(first[0]).write())
    assert done == []
    assert len(published(wire)) == 1
    refused = mqtt5.PubAckPacket(first[1], reason_code=mqtt5.PubAckReasonCode.QUOTA_EXCEEDED)
    wire.feed(refused.write())
    rest = [*first[2:], *range(first[2] + 1, first[2] + 3)]
    done = [job for packet_id in rest for job in wire.feed(mqtt5.PubAckPacket(packet_id).write())[1]]
    assert done == [job], "any PUBACK answers, whatever its code"
    assert wire.refused_publishes == 1


def test_packet_ids_in_use_are_passed_over() -> None:
    wire = ready()
    wire._next_id = 0xFFFF
    wire.publish([Outbound("u/x", b"")] * 3, Job(3))
    assert published(wire) == [0xFFFF, 2, 3]
    wire._next_id = 0xFFFF
    wire.publish([Outbound("u/x", b"")], Job(1))
    assert published(wire) == [4]


def test_acknowledgements_leave_in_the_order_of_arrival() -> None:
    wire = ready()
    came, _ = wire.feed(inbound(5) + inbound(3) + inbound(9))
    handles = [message.handle for message in came]
    wire.ack([handles[2], handles[1]])
    assert wire.take() == b""
    wire.ack([Handle(6, 5)])
    assert wire.take() == b"", "another connection's handle"
    wire.ack([handles[0]])
    assert [p.packet_id for p in packets(wire.take()) if isinstance(p, mqtt5.PubAckPacket)] == [5, 3, 9]


def test_messages_of_qos_0_need_no_acknowledgement() -> None:
    wire = ready()
    came, _ = wire.feed(mqtt5.PublishPacket("a/b", b"x").write())
    assert came == [Inbound("a/b", b"x", 0, Handle(7, 0))]
    assert wire.unacknowledged == 0


def test_qos_0_is_done_when_written_and_dropped_when_the_socket_is_slow() -> None:
    wire, job = ready(), Job(1)
    assert wire.publish([Outbound("u/x", b"", 0)], job) == [job]
    wire.paused = True
    wire.publish([Outbound("u/x", b"", 0)] * (QUEUED_QOS_0 + 5), Job(QUEUED_QOS_0 + 5))
    assert wire.dropped == 5
    assert wire.queued == QUEUED_QOS_0


@pytest.mark.parametrize(
    "data",
    [
        mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write(),
        mqtt5.ConnAckPacket().write(),
        mqtt5.ConnectPacket("x").write(),
        mqtt5.PublishPacket("a", b"", qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=1).write(),
        b"\xf0\x00\x00\x00",
        b"".join(inbound(n + 1) for n in range(401)),
    ],
    ids=["taken over", "second CONNACK", "CONNECT", "QoS 2", "nonsense", "above our receive maximum"],
)
def test_what_a_server_may_not_say_ends_the_connection(data: bytes) -> None:
    with pytest.raises(Broken):
        ready().feed(data)


def test_a_refusal_to_connect_or_to_subscribe_ends_it() -> None:
    wire = Wire(1, Hello("x"), ["a/#"], Codec5())
    with pytest.raises(Broken):
        wire.feed(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED).write())
    wire = Wire(1, Hello("x"), ["a/#"], Codec5())
    wire.feed(mqtt5.ConnAckPacket().write())
    with pytest.raises(Broken):
        wire.feed(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]).write())


@given(st.lists(st.integers(1, 40), max_size=30))
def test_any_cutting_of_the_stream_gives_the_same_messages(cuts: list[int]) -> None:
    stream = b"".join(inbound(n) for n in range(1, 20)) + mqtt5.PingRespPacket().write()
    wire, came = ready(), []
    for size in cuts:
        came += wire.feed(stream[:size])[0]
        stream = stream[size:]
    came += wire.feed(stream)[0]
    assert [message.handle.packet for message in came] == list(range(1, 20))


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_end_the_connection(data: bytes) -> None:
    try:
        ready().feed(data)
    except Broken:
        return


async def test_what_the_broker_refuses_or_is_too_slow_for_is_counted() -> None:
    def dropped() -> float:
        return REGISTRY.get_sample_value("tidings_bridge_dropped_total", {"reason": "the broker is slow"}) or 0

    def refused() -> float:
        return REGISTRY.get_sample_value("tidings_bridge_refused_publishes_total") or 0

    before = (dropped(), refused())
    connection = _Connection(Wire(1, Hello("me"), (), Codec5()), lambda _: None, lambda: None, 0)
    typing = [Outbound("u/x/in/typing", b"{}", 0)] * (QUEUED_QOS_0 + 5)
    publishing = asyncio.create_task(connection.publish(typing))
    await asyncio.sleep(0)
    assert dropped() - before[0] == 5
    connection.data_received(mqtt5.ConnAckPacket().write())
    await publishing
    publishing = asyncio.create_task(connection.publish([Outbound("u/x/in/msg", b"{}")]))
    await asyncio.sleep(0)
    connection.data_received(mqtt5.PubAckPacket(2, reason_code=mqtt5.PubAckReasonCode.NOT_AUTHORIZED).write())
    await publishing
    assert refused() - before[1] == 1
