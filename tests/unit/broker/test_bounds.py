"""Nothing that one client sends makes the broker hold, or do, more than a known amount (promise 7)."""

import mqtt5
import msgspec
import pytest

from tests.unit.broker.house import LIMITS, QOS, House

TIGHT = msgspec.structs.replace(LIMITS, topic_chars=40, topic_levels=4)


@pytest.fixture
def house():
    return House(TIGHT)


def deep(levels):
    return "/".join("a" * levels)


def long(chars):
    return "t" * chars


FITTING = [deep(3), deep(4), long(39), long(40)]
TOO_MUCH = [deep(5), long(41)]


@pytest.mark.parametrize("topic", FITTING)
def test_a_topic_at_and_under_the_limits_is_taken(house, topic):
    link = house.link("bridge-0", "#")
    house.client(level=5).publish(topic)
    assert [one.topic for one in link.got] == [topic]


@pytest.mark.parametrize("topic", TOO_MUCH)
@pytest.mark.parametrize("level", [4, 5])
def test_a_topic_over_the_limits_is_refused(house, topic, level):
    link = house.link("bridge-0", "#")
    device = house.client(level=level)
    device.publish(topic)
    assert link.got == []
    assert house.core.counts.refused == 1
    if level == 5:
        [answer] = device.take(mqtt5.PubAckPacket)
        assert answer.reason_code is mqtt5.PubAckReasonCode.TOPIC_NAME_INVALID
    else:
        assert not device.is_open
    assert house.gate.asked == [], "what is too long is not asked, nor remembered"


@pytest.mark.parametrize("level", [4, 5])
def test_filters_have_the_same_limits(house, level):
    device = house.client(level=level)
    assert device.subscribe(*FITTING) == [1] * 4
    refused = 0x8F if level == 5 else 0x80
    assert device.subscribe(*TOO_MUCH) == [refused] * 2


@pytest.mark.parametrize("topic", TOO_MUCH)
def test_wills_have_the_same_limits(house, topic):
    device = house.client(level=5, will=mqtt5.Will(topic=topic, payload=b"gone", qos=QOS[1]))
    [answer] = device.take(mqtt5.ConnAckPacket)
    assert answer.reason_code is mqtt5.ConnAckReasonCode.TOPIC_NAME_INVALID


@pytest.mark.parametrize(("over", "let_in"), [(-1, True), (0, True), (1, False)])
def test_connect_has_a_limit_of_its_own(over, let_in):
    packet = mqtt5.ConnectPacket("c", username="u", password=b"good", clean_start=False)
    size = len(House().client().codec.write(packet))
    house = House(msgspec.structs.replace(LIMITS, connect_bytes=size - over))
    assert bool(house.client().take(mqtt5.ConnAckPacket)) is let_in


def test_a_connect_that_is_too_long_is_not_waited_for():
    house = House(msgspec.structs.replace(LIMITS, connect_bytes=100))
    stranger = house.client()
    other = type(stranger)(house, 4)
    other.send_bytes(b"\x10\x65\0\4MQTT\4")
    assert not other.is_open


def test_after_connect_packets_may_be_longer():
    house = House(msgspec.structs.replace(LIMITS, connect_bytes=100))
    link = house.link()
    house.client().publish("in/a", bytes(3_000))
    assert len(link.got) == 1


def test_user_properties_count_as_much_as_payload(house):
    device = house.client("device", level=5)
    device.subscribe("a")
    device.cut()
    sender = house.client("sender", level=5)
    for packet_id in range(1, 12):
        sender.publish("a", packet_id=packet_id, user_properties=[("k", "v" * 3_500)])
    assert house.core.counts.dropped == 11 - 20_000 // 3_500


@pytest.mark.parametrize(("over", "dropped"), [(-1, 0), (0, 0), (1, 1)])
def test_all_queues_together_have_a_limit(over, dropped):
    size = 1_000 + len("a") + 64
    house = House(msgspec.structs.replace(LIMITS, all_queues_bytes=4 * size - over))
    for name in ("one", "two"):
        client = house.client(name)
        client.subscribe("a")
        client.cut()
    sender = house.client("sender")
    sender.publish("a", bytes(1_000), packet_id=1).publish("a", bytes(1_000), packet_id=2)
    assert house.core.counts.dropped == dropped
    assert house.core.exchange.queued_bytes == (4 - dropped) * size
    assert sender.acks() == [1, 2], "a full queue delays nobody"


@pytest.mark.parametrize(("over", "dropped"), [(-1, 0), (0, 0), (1, 1)])
def test_retained_messages_have_a_limit(over, dropped):
    house = House(msgspec.structs.replace(LIMITS, retained_messages=3 - over))
    sender = house.client(level=5)
    for number in range(3):
        sender.publish(f"r/{number}", packet_id=1, retain=True)
    assert house.core.counts.dropped == dropped
    codes = [one.reason_code for one in sender.take(mqtt5.PubAckPacket)]
    assert codes.count(mqtt5.PubAckReasonCode.QUOTA_EXCEEDED) == dropped


def test_subscribing_is_held_to_the_rate_of_publishing(house):
    device = house.client()
    subscribe = mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a", max_qos=QOS[1])])
    device.send(*[subscribe] * TIGHT.publish_burst)
    assert not device.is_read
    house.pass_time(1_000)
    assert device.is_read


def test_answers_that_wait_for_a_slow_disk_are_bounded(house):
    device = house.client()
    house.slow = True
    subscribe = mqtt5.SubscribePacket(1, [mqtt5.TopicFilter("a", max_qos=QOS[1])])
    device.send(*[subscribe] * 20)
    assert not device.is_read
    assert house.core.connections[device.number].pending == TIGHT.inflight
    house.slow = False
    house.flush()
    assert len(device.take(mqtt5.SubAckPacket)) == 20
    assert device.is_read


def test_filters_beyond_the_limit_in_one_packet_are_not_asked(house):
    device = house.client(level=5)
    codes = device.subscribe(*[f"no/{number}" for number in range(8)])
    assert codes == [0x87] * 5 + [0x97] * 3
