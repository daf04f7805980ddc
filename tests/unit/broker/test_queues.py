"""Queues: order, repetition, limits, back-pressure, and what a crash leaves of them."""

import mqtt5
import msgspec
import pytest
from mqtt5 import DisconnectReasonCode

from broker.port import Limits
from tests.unit.broker.house import LIMITS, USER, House
from tidings.protocol.link import Outbound


@pytest.fixture
def house():
    return House()


def numbers(first, last):
    """Make payloads."""
    return [b"%d" % n for n in range(first, last)]


def leave(house, client_id="c", *, topic="a", **options):
    """Let a receiver subscribe and go."""
    client = house.client(client_id, **options)
    client.subscribe(topic, qos=2)
    client.cut()


def send(house, payloads, topic="a", *, qos=1):
    """Let somebody publish, and be answered."""
    sender = house.client("sender")
    for n, payload in enumerate(payloads, 1):
        sender.publish(topic, payload, packet_id=n, qos=qos)
        if qos == 2:
            sender.send(mqtt5.PubRelPacket(n))
    return sender


def test_what_came_meanwhile_comes_in_order(house):
    leave(house)
    send(house, numbers(0, 9))
    assert house.client().payloads() == numbers(0, 9)


def test_unacknowledged_comes_again_first_with_dup_under_its_id(house):
    receiver = house.client()
    receiver.subscribe("a")
    send(house, numbers(0, 4))
    first = receiver.messages(ack=False)
    receiver.send(mqtt5.PubAckPacket(first[1].packet_id))
    receiver.cut()
    send(house, numbers(4, 6))
    again = house.client().messages()
    assert [one.payload for one in again] == [b"0", b"2", b"3", b"4", b"5"]
    assert [one.duplicate for one in again] == [True] * 3 + [False] * 2
    assert [one.packet_id for one in again[:3]] == [first[0].packet_id, first[2].packet_id, first[3].packet_id]


@pytest.mark.parametrize("most", [1, 3])
def test_the_receive_maximum_holds_for_repetitions_too(house, most):
    receiver = house.client(level=5)
    receiver.subscribe("a")
    send(house, numbers(0, 5))
    receiver.cut()
    back = house.client(level=5, receive_max=most)
    seen = []
    while got := back.messages(ack=False):
        assert len(got) <= most
        seen += [one.payload for one in got]
        back.send(*(mqtt5.PubAckPacket(one.packet_id) for one in got))
    assert seen == numbers(0, 5)


def test_our_in_flight_limit_holds(house):
    receiver = house.client()
    receiver.subscribe("a")
    send(house, numbers(0, 9))
    first = receiver.messages(ack=False)
    assert len(first) == LIMITS.inflight
    receiver.send(mqtt5.PubAckPacket(first[2].packet_id))
    assert [one.payload for one in receiver.messages(ack=False)] == [b"5"]


def test_a_full_queue_drops_the_newest_counts_and_tells_to_sync(house):
    notices = f"u/{USER}/in/#"
    receiver = house.client()
    receiver.subscribe("a", notices)
    receiver.cut()
    send(house, numbers(0, LIMITS.queue_messages + 3))
    assert house.core.counts.dropped == 3
    back = house.client()
    *queued, notice = back.messages()
    assert [one.payload for one in queued] == numbers(0, LIMITS.queue_messages)
    assert notice.topic == f"u/{USER}/in/event"
    told = msgspec.json.decode(notice.payload)
    assert (told["kind"], told["data"]) == ("sync.needed", {"reason": "queueFull"})
    back.cut()
    assert house.client().payloads() == []


def test_a_slow_receiver_is_told_to_sync_when_it_has_taken_its_queue(house):
    receiver = house.client()
    receiver.subscribe("a", f"u/{USER}/in/#")
    send(house, numbers(0, LIMITS.queue_messages + 2))
    assert house.core.counts.dropped == 2
    messages = receiver.messages()
    assert [one.payload for one in messages[:-1]] == numbers(0, LIMITS.queue_messages)
    assert messages[-1].topic == f"u/{USER}/in/event"
    receiver.cut()
    assert house.client().messages() == []


def test_that_something_was_dropped_survives_a_crash(house):
    receiver = house.client()
    receiver.subscribe("a", f"u/{USER}/in/#")
    receiver.cut()
    send(house, numbers(0, LIMITS.queue_messages + 1))
    house.crash()
    assert len(house.client().messages()) == LIMITS.queue_messages + 1


def test_queues_are_bounded_in_bytes_but_take_one_of_any_size():
    house = House(msgspec.structs.replace(LIMITS, queue_bytes=2_000))
    leave(house)
    send(house, [b"x" * 3_000, b"y"])
    assert house.client().payloads() == [b"x" * 3_000]
    assert house.core.counts.dropped == 1


def test_a_full_queue_delays_no_bridge(house):
    link = house.link()
    leave(house)
    leave(house, "d")
    link.publish(*(Outbound("a", payload) for payload in numbers(0, 50)))
    assert len(link.answered) == 1
    assert house.core.counts.dropped == 2 * (50 - LIMITS.queue_messages)


def test_qos_0_goes_to_who_is_there(house):
    leave(house)
    here = house.client("here")
    here.subscribe("a", qos=1)
    send(house, [b"x"], qos=0)
    assert here.payloads() == [b"x"]
    assert house.client().payloads() == []


def test_a_congested_receiver_gets_its_queue_later(house):
    receiver = house.client()
    receiver.subscribe("a")
    house.core.congested(receiver.number, True, house.now)
    house.settle()
    assert not receiver.is_read
    send(house, numbers(0, 3))
    send(house, [b"zero"], qos=0)
    assert receiver.messages() == []
    house.core.congested(receiver.number, False, house.now)
    house.settle()
    assert receiver.is_read
    assert receiver.payloads() == numbers(0, 3)


def test_who_takes_nothing_for_a_minute_is_cut(house):
    receiver = house.client()
    house.core.congested(receiver.number, True, house.now)
    house.settle()
    house.pass_time(59_000)
    assert receiver.is_open
    house.pass_time(3_000)
    assert not receiver.is_open


def test_one_turn_writes_no_more_than_the_buffer_holds():
    house = House(msgspec.structs.replace(LIMITS, inflight=100, queue_messages=100, write_buffer_bytes=5_000))
    receiver = house.client()
    receiver.subscribe("a")
    link = house.link()
    house.core.link_publish("bridge-0", link.number, [Outbound("a", b"x" * 1_000)] * 50, lambda: None, house.now)
    effects = house.core.take()
    assert sum(len(one.data) for one in effects if hasattr(one, "data")) < 7_000


def test_a_flood_is_held_and_goes_on(house):
    limits = house.limits
    watcher = house.client("w")
    watcher.subscribe("a", qos=0)
    sender = house.client("sender")
    packet = sender.codec.write(mqtt5.PublishPacket("a", b"x"))
    sender.send_bytes(packet * (limits.publish_burst + 50))
    assert not sender.is_read
    assert limits.publish_burst - 1 <= len(watcher.messages()) <= limits.publish_burst
    house.pass_time(1_000)
    assert len(watcher.messages()) in range(48, 52)
    assert sender.is_read


def test_too_many_unanswered_publishes_wait_or_end(house):
    house.link()
    old, new = house.client("old"), house.client("new", level=5)
    for packet_id in range(1, LIMITS.inflight + 2):
        old.publish("in/a", packet_id=packet_id)
        new.publish("in/a", packet_id=packet_id)
    assert (old.is_open, old.is_read) == (True, False)
    [goodbye] = new.take(mqtt5.DisconnectPacket)
    assert goodbye.reason_code == DisconnectReasonCode.RECEIVE_MAX_EXCEEDED


def test_qos_2_is_delivered_once_over_cuts_and_crashes(house):
    leave(house)
    send(house, [b"once"], qos=2)
    first = house.client()
    [message] = first.messages()
    assert not message.duplicate
    house.crash()
    second = house.client()
    [again] = second.messages()
    assert (again.packet_id, again.duplicate) == (message.packet_id, True)
    second.send(mqtt5.PubRecPacket(message.packet_id))
    assert len(second.take(mqtt5.PubRelPacket)) == 1
    house.crash()
    third = house.client()
    assert third.messages() == []
    assert [one.packet_id for one in third.take(mqtt5.PubRelPacket)] == [message.packet_id]
    third.send(mqtt5.PubCompPacket(message.packet_id))
    house.crash()
    fourth = house.client()
    assert fourth.take(mqtt5.PublishPacket) == fourth.take(mqtt5.PubRelPacket) == []


def test_a_qos_2_publish_is_taken_once_over_a_crash(house):
    leave(house)
    sender = house.client("sender")
    sender.publish("a", b"once", qos=2, packet_id=7)
    assert len(sender.take(mqtt5.PubRecPacket)) == 1
    house.crash()
    again = house.client("sender")
    again.publish("a", b"once", qos=2, packet_id=7, duplicate=True)
    assert len(again.take(mqtt5.PubRecPacket)) == 1
    again.send(mqtt5.PubRelPacket(7))
    assert house.client().payloads() == [b"once"]


def test_a_failed_pubrec_ends_the_message(house):
    receiver = house.client(level=5)
    receiver.subscribe("a", qos=2)
    send(house, [b"x"], qos=2)
    [message] = receiver.messages()
    code = mqtt5.PubRecReasonCode.QUOTA_EXCEEDED
    receiver.send(mqtt5.PubRecPacket(message.packet_id, reason_code=code))
    assert receiver.take(mqtt5.PubRelPacket) == []
    assert house.core.exchange.sessions["c"].count == 0


def test_puback_waits_for_the_disk_where_a_session_is_kept(house):
    leave(house)
    sender = house.client("sender")
    house.slow = True
    sender.publish("a", packet_id=3)
    assert sender.acks() == []
    house.flush()
    assert sender.acks() == [3]


def test_suback_waits_for_the_disk(house):
    client = house.client()
    house.slow = True
    assert client.subscribe("a") == []
    house.flush()
    assert len(client.take(mqtt5.SubAckPacket)) == 1


def test_a_crash_loses_nothing_that_was_answered(house):
    leave(house)
    sender = house.client("sender")
    house.slow = True
    sender.publish("a", b"1", packet_id=1)
    house.flush()
    sender.publish("a", b"2", packet_id=2)
    sender.publish("a", b"3", packet_id=3)
    assert sender.acks() == [1]
    house.slow = False
    house.crash()
    assert house.client().payloads() == [b"1"]


def test_retained_messages_survive_and_die(house):
    sender = house.client("sender")
    sender.publish("a", b"kept", retain=True)
    sender.publish("b", b"gone", retain=True)
    sender.publish("b", b"", retain=True)
    house.crash()
    receiver = house.client()
    receiver.subscribe("#")
    assert [(one.payload, one.retain) for one in receiver.messages()] == [(b"kept", True)]


def test_properties_survive_a_crash(house):
    leave(house, level=5)
    sender = house.client("sender", level=5)
    more = {"content_type": "t", "correlation_data": b"\0", "user_properties": [("k", "v")], "response_topic": "r"}
    sender.publish("a", b"x", message_expiry_interval=60, **more)
    house.crash()
    house.pass_time(10_000)
    [message] = house.client(level=5).messages()
    assert message.message_expiry_interval in (49, 50)
    assert {name: getattr(message, name) for name in more} == more


def test_an_expired_message_is_not_delivered(house):
    leave(house, level=5)
    sender = house.client("sender", level=5)
    sender.publish("a", b"short", message_expiry_interval=5, packet_id=1)
    sender.publish("a", b"long", packet_id=2)
    house.pass_time(6_000)
    assert house.client(level=5).payloads() == [b"long"]
    assert house.core.counts.expired == 1


def test_a_message_longer_than_the_receiver_takes_is_passed_over(house):
    receiver = house.client(level=5, max_packet_size=50)
    receiver.subscribe("a")
    send(house, [b"x" * 100, b"short"])
    assert receiver.payloads() == [b"short"]
    assert house.core.counts.oversized == 1
    assert house.store.load().rows == ()


def test_subscription_ids_and_the_highest_qos_come_in_one_copy(house):
    receiver = house.client(level=5)
    for number, pattern, qos in ((3, "a/#", 0), (5, "a/b", 1)):
        wanted = mqtt5.TopicFilter(pattern, max_qos=mqtt5.QoS.AT_LEAST_ONCE if qos else mqtt5.QoS.AT_MOST_ONCE)
        receiver.send(mqtt5.SubscribePacket(1, [wanted], subscription_id=number))
    send(house, [b"x"], "a/b", qos=1)
    [message] = receiver.messages()
    assert sorted(message.subscription_ids) == [3, 5]
    assert message.qos == mqtt5.QoS.AT_LEAST_ONCE


def test_shared_subscriptions_prefer_who_is_there(house):
    here, gone = house.client("here"), house.client("gone")
    for member in (here, gone):
        member.subscribe("$share/g/a")
    send(house, numbers(0, 4))
    assert sorted(here.payloads() + gone.payloads()) == numbers(0, 4)
    gone.cut()
    send(house, numbers(4, 8))
    assert here.payloads() == numbers(4, 8)


def test_the_limit_of_subscriptions(house):
    client = house.client(level=5)
    assert client.subscribe(*"abcde") == [1] * 5
    assert client.subscribe("f", "a") == [0x97, 1]
    assert client.subscribe("in/no", "$share/x") == [0x87, 0x8F]


def test_limits_of_a_packet_are_seen_in_its_header(house):
    client = house.client(level=5)
    client.send_bytes(b"\x30\xff\xff\x03" + b"\0\1a")
    [goodbye] = client.take(mqtt5.DisconnectPacket)
    assert goodbye.reason_code == DisconnectReasonCode.PACKET_TOO_LARGE


def test_default_limits_are_those_of_the_port():
    assert House(Limits()).client().is_open
