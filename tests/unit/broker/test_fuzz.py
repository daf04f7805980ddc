"""Any bytes in any pieces end at most their own connection: nothing is ever raised out of the core."""

import mqtt5
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.embedded import codec5, codec311
from tests.unit.broker.house import House
from tests.unit.broker.test_codec5 import PACKETS, mangled

IDS = st.integers(1, 4)
SENT = st.one_of(
    st.sampled_from(PACKETS),
    st.builds(
        lambda topic, qos, number, dup, retain: mqtt5.PublishPacket(
            topic,
            b"x",
            qos=(mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE)[qos],
            packet_id=number if qos else None,
            duplicate=dup and qos > 0,
            retain=retain,
        ),
        st.sampled_from(["a", "in/a", "in/no", "$x"]),
        st.integers(0, 2),
        IDS,
        st.booleans(),
        st.booleans(),
    ),
    st.builds(mqtt5.PubAckPacket, IDS),
    st.builds(mqtt5.PubRecPacket, IDS),
    st.builds(mqtt5.PubRelPacket, IDS),
    st.builds(mqtt5.PubCompPacket, IDS),
    st.builds(
        lambda number, patterns: mqtt5.SubscribePacket(number, [mqtt5.TopicFilter(one) for one in patterns]),
        IDS,
        st.lists(st.sampled_from(["#", "a", "+", "$share/g/a", "in/no"]), min_size=1, max_size=3),
    ),
    st.builds(mqtt5.UnsubscribePacket, IDS, st.lists(st.sampled_from(["#", "a"]), min_size=1, max_size=2)),
)


def written(level, packet):
    """Write a packet, or nothing where the version cannot say it."""
    codec = codec5 if level == 5 else codec311
    try:
        return codec.write(packet)
    except ValueError:
        return b""


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.sampled_from([4, 5]),
    st.booleans(),
    st.lists(SENT, max_size=12),
    st.binary(max_size=40),
    st.lists(st.integers(1, 30), max_size=8),
    st.data(),
)
def test_the_core_takes_any_bytes(level, is_connected, packets, tail, cuts, data):
    house = House()
    link = house.link()
    bystander = house.client("bystander")
    bystander.subscribe("well")
    client = house.client("c", level=level)
    if not is_connected:
        client.cut()
        client = house.client("c", level=level, password=b"bad")
    raw = b"".join(written(level, packet) for packet in packets) + tail
    if raw:
        raw = data.draw(mangled(raw))
    for size in (*cuts, len(raw)):
        piece, raw = raw[:size], raw[size:]
        client.send_bytes(piece)
        link.ack()
    house.pass_time(1_000)
    link.ack()
    bystander.publish("well", b"well", packet_id=99)
    assert b"well" in bystander.payloads()
    house.crash()
