"""A device's PUBACK means stored: it is withheld until whoever stores has acknowledged."""

import mqtt5
import pytest

from tests.unit.broker.house import House
from tidings.protocol.link import Outbound


@pytest.fixture
def house():
    return House()


@pytest.mark.parametrize("level", [4, 5])
def test_puback_is_withheld_until_the_link_acknowledges(house, level):
    link = house.link()
    device = house.client(level=level)
    device.publish("in/a", packet_id=7)
    assert [one.payload for one in link.got] == [b"x"]
    assert device.acks() == []
    link.ack()
    assert device.acks() == [7]


def test_pubacks_leave_in_the_order_of_the_publishes(house):
    link = house.link()
    device = house.client()
    for packet_id in (3, 1, 2):
        device.publish("in/a", packet_id=packet_id)
    first, second, third = link.got
    link.ack(third)
    link.ack(second)
    assert device.acks() == []
    link.ack(first)
    assert device.acks() == [3, 1, 2]


def test_a_withheld_answer_withholds_those_behind_it_only(house):
    link = house.link()
    device, other = house.client(), house.client("other")
    device.publish("in/a", packet_id=1)
    device.publish("elsewhere", packet_id=2)
    other.publish("elsewhere", packet_id=9)
    assert (device.acks(), other.acks()) == ([], [9])
    link.ack()
    assert device.acks() == [1, 2]


def test_every_custodian_must_acknowledge(house):
    one, two = house.link("bridge-0"), house.link("bridge-1")
    device = house.client()
    device.publish("in/a")
    one.ack()
    assert device.acks() == []
    two.ack()
    assert device.acks() == [1]


def test_a_custodian_over_a_socket_is_one_too(house):
    bridge = house.client("bridge-0", level=5)
    bridge.subscribe("in/#")
    device = house.client()
    device.publish("in/a", packet_id=4)
    [message] = bridge.messages(ack=False)
    assert device.acks() == []
    bridge.send(mqtt5.PubAckPacket(message.packet_id))
    assert device.acks() == [4]


def test_an_absent_custodian_withholds(house):
    house.link().close()
    device = house.client()
    device.publish("in/a")
    assert device.acks() == []
    link = house.link()
    assert [one.payload for one in link.got] == [b"x"]
    link.ack()
    assert device.acks() == [1]


def test_a_cut_custodian_gets_it_again_and_old_handles_do_nothing(house):
    first = house.link()
    device = house.client()
    device.publish("in/a")
    second = house.link()
    assert not first.is_open
    house.core.link_acknowledge("bridge-0", [first.got[0].handle], house.now)
    house.settle()
    assert device.acks() == []
    second.ack()
    assert device.acks() == [1]


def test_pubrec_is_withheld_too(house):
    link = house.link()
    device = house.client()
    device.publish("in/a", qos=2, packet_id=5)
    device.publish("in/a", qos=2, packet_id=5, duplicate=True)
    assert device.take(mqtt5.PubRecPacket) == []
    assert len(link.got) == 1
    link.ack()
    assert [one.packet_id for one in device.take(mqtt5.PubRecPacket)] == [5]
    device.send(mqtt5.PubRelPacket(5))
    assert [one.packet_id for one in device.take(mqtt5.PubCompPacket)] == [5]


def test_pubrec_withheld_over_a_reconnect_comes_on_the_new_connection(house):
    link = house.link()
    house.client().publish("in/a", qos=2, packet_id=5).cut()
    again = house.client()
    again.publish("in/a", qos=2, packet_id=5, duplicate=True)
    assert again.take(mqtt5.PubRecPacket) == []
    link.ack()
    assert [one.packet_id for one in again.take(mqtt5.PubRecPacket)] == [5]
    assert len(link.got) == 1


def test_a_qos_2_publish_in_custody_at_a_crash_is_taken_anew(house):
    house.link()
    device = house.client(level=5)
    device.publish("in/a", qos=2, packet_id=5)
    device.subscribe("elsewhere")  # which writes the session
    house.crash()
    link = house.link()
    again = house.client(level=5)
    again.publish("in/a", qos=2, packet_id=5, duplicate=True)
    assert again.take(mqtt5.PubRecPacket) == [], "nobody has it: the crash took what was in custody"
    assert len(link.got) == 1
    link.ack()
    assert [one.packet_id for one in again.take(mqtt5.PubRecPacket)] == [5]


def test_a_qos_2_publish_that_was_taken_is_known_after_a_crash(house):
    link = house.link()
    device = house.client(level=5)
    device.publish("in/a", qos=2, packet_id=5)
    link.ack()
    assert [one.packet_id for one in device.take(mqtt5.PubRecPacket)] == [5]
    house.crash()
    link = house.link()
    again = house.client(level=5)
    again.publish("in/a", qos=2, packet_id=5, duplicate=True)
    assert [one.packet_id for one in again.take(mqtt5.PubRecPacket)] == [5]
    assert link.got == []


def test_a_qos_2_publish_whose_custodian_is_gone_is_taken_anew(house):
    house.link("bridge-0", keep=False)
    device = house.client(level=5)
    device.publish("in/a", qos=2, packet_id=5).cut()
    house.core.kick("bridge-0", house.now, forget=True)
    link = house.link()
    again = house.client(level=5)
    again.publish("in/a", qos=2, packet_id=5, duplicate=True)
    assert len(link.got) == 1
    link.ack()
    assert [one.packet_id for one in again.take(mqtt5.PubRecPacket)] == [5]


def test_a_full_custodian_stops_its_senders_reading_and_drops_nothing(house):
    house.link().close()
    devices = [house.client(f"c{n}") for n in range(4)]
    for packet_id in range(1, 5):
        for device in devices:
            device.publish("in/a", f"{device.number} {packet_id}".encode(), packet_id=packet_id)
    assert not all(device.is_read for device in devices)
    assert house.core.counts.dropped == 0
    link = house.link()
    while link.got:
        some, link.got = link.got, []
        for device in devices:
            mine = [one.payload for one in some if one.payload.startswith(b"%d " % device.number)]
            assert mine == sorted(mine)
        link.ack(*some)
    assert [device.acks() for device in devices] == [[1, 2, 3, 4]] * 4
    assert all(device.is_read for device in devices)


def test_qos_0_passes_a_full_custodian_by(house):
    house.link().close()
    device = house.client()
    for packet_id in range(1, 5):
        device.publish("in/a", packet_id=packet_id)
    device.publish("in/a", qos=0)
    assert device.is_read


def test_what_custodians_publish_waits_for_no_acknowledgement(house):
    one = house.link("bridge-0", "lane/0")
    two = house.link("bridge-1", "lane/1")
    one.publish(Outbound("lane/1", b"ask"))
    two.publish(Outbound("lane/0", b"answer"))
    assert (one.answered, two.answered) == ([[b"ask"]], [[b"answer"]])
    assert ([m.payload for m in one.got], [m.payload for m in two.got]) == ([b"answer"], [b"ask"])


def test_a_publish_is_answered_when_its_rows_are_durable(house):
    link = house.link()
    receiver = house.client()
    receiver.subscribe("out/a")
    receiver.cut()
    house.slow = True
    link.publish(Outbound("out/a", b"1"), Outbound("out/a", b"2"))
    assert link.answered == []
    house.flush()
    assert link.answered == [[b"1", b"2"]]
    house.slow = False
    house.crash()
    assert house.client().payloads() == [b"1", b"2"]


def test_a_publish_is_answered_sooner_when_the_receiver_acknowledges(house):
    link = house.link()
    receiver = house.client()
    receiver.subscribe("out/a")
    house.slow = True
    link.publish(Outbound("out/a", b"1"))
    assert link.answered == []
    receiver.messages()
    assert link.answered == [[b"1"]]


def test_what_is_acknowledged_before_its_batch_is_never_written(house):
    link = house.link()
    receiver = house.client()
    receiver.subscribe("out/a")
    house.lingers = True
    batches = house.store.batches
    link.publish(Outbound("out/a", b"1"))
    assert link.answered == []
    assert receiver.payloads() == [b"1"]
    assert link.answered == [[b"1"]]
    house.pass_time(1_000)
    assert house.store.batches == batches
    link.publish(Outbound("out/a", b"2"))
    house.pass_time(200)
    assert link.answered == [[b"1"], [b"2"]]
    assert house.store.batches == batches + 1


def test_what_is_acknowledged_while_it_is_written_is_deleted(house):
    link = house.link()
    receiver = house.client()
    receiver.subscribe("out/a")
    house.slow = True
    link.publish(Outbound("out/a", b"1"))
    assert len(house.disk) == 1
    receiver.messages()
    assert link.answered == [[b"1"]]
    house.flush()
    assert len(house.store.load().rows) == 1
    house.flush()
    assert house.store.load().rows == ()


def test_a_message_for_the_absent_is_written_at_once(house):
    link = house.link()
    house.client().subscribe("out/a")
    house.client().cut()
    house.lingers = True
    link.publish(Outbound("out/a", b"1"))
    assert link.answered == [[b"1"]]


def test_a_publish_to_nobody_is_answered_at_once(house):
    link = house.link()
    link.publish(Outbound("out/nobody", b""))
    link.publish()
    assert link.answered == [[b""], []]


def test_a_cut_link_cannot_publish(house):
    old = house.link()
    house.link()
    assert not old.publish(Outbound("out/a", b""))


def test_a_forgotten_custodian_cuts_who_waited_for_it(house):
    house.link()
    device = house.client()
    device.publish("in/a")
    house.core.kick("bridge-0", house.now, forget=True)
    house.settle()
    assert not device.is_open
    assert device.acks() == []


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_refused_publish_reaches_nobody(house, qos):
    link = house.link()
    for level in (4, 5):
        device = house.client(f"c{level}", level=level)
        device.publish("in/no", qos=qos)
        codes = [one.reason_code.value for one in device.take() if hasattr(one, "packet_id")]
        assert codes == ([0x87] if level == 5 and qos else [])
        assert device.is_open == (level == 5 or qos == 0)
    assert link.got == []
    assert house.core.counts.refused == 2


def test_topics_of_the_server_are_nobody_elses(house):
    watcher = house.client("w")
    watcher.subscribe("$SYS/#")
    house.client(level=5).publish("$SYS/a")
    assert watcher.messages() == []
