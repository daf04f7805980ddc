"""CONNECT: who may come in, and that nothing changes before that is known."""

import mqtt5
import pytest
from mqtt5 import ConnAckReasonCode, DisconnectReasonCode

from tests.unit.broker.house import LIMITS, House

WILL = mqtt5.Will("will", payload=b"gone", qos=mqtt5.QoS.AT_LEAST_ONCE)


@pytest.fixture
def house():
    return House()


def answer(client):
    """Take the CONNACK's reason."""
    [packet] = client.take(mqtt5.ConnAckPacket)
    return packet.reason_code


@pytest.mark.parametrize("level", [4, 5])
def test_a_good_token_opens(house, level):
    client = house.client(level=level)
    assert answer(client) == ConnAckReasonCode.SUCCESS
    assert client.is_open


@pytest.mark.parametrize("level", [4, 5])
def test_devices_wait_for_the_bridges(level):
    house = House(admit=False)
    early = house.client("c", level=level)
    assert answer(early) == ConnAckReasonCode.SERVER_UNAVAILABLE
    assert not early.is_open
    assert house.client("bridge-0", level=level).is_open
    house.core.admit()
    assert house.client("c", level=level).is_open


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        (b"bad", ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD),
        (None, ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD),
        (b"later", ConnAckReasonCode.SERVER_UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("clean", [True, False])
def test_a_refused_connect_changes_nothing(house, password, reason, clean):
    watcher = house.client("watcher")
    watcher.subscribe("will")
    owner = house.client("c")
    owner.subscribe("a")
    owner.take()
    thief = house.client("c", password=password, clean_start=clean, will=WILL)
    assert answer(thief) == reason
    assert not thief.is_open
    assert owner.is_open
    watcher.publish("a", b"to the owner")
    assert owner.payloads() == [b"to the owner"]
    assert watcher.payloads() == []


def test_a_forbidden_will_is_refused_before_anything_changes(house):
    owner = house.client("c")
    for will in (
        mqtt5.Will("in/no", payload=b""),
        mqtt5.Will("$SYS/x", payload=b""),
        mqtt5.Will("will", payload=b"x" * (LIMITS.will_bytes + 1)),
    ):
        thief = house.client("c", will=will, level=5)
        assert not thief.is_open
        assert thief.take(mqtt5.ConnAckPacket)[0].reason_code != ConnAckReasonCode.SUCCESS
    assert owner.is_open


def test_the_will_is_asked_of_the_gate_with_its_flags(house):
    house.client("c", will=mqtt5.Will("will", payload=b"", retain=True, qos=mqtt5.QoS.AT_LEAST_ONCE))
    assert house.gate.asked == [("will", 1, True)]


def test_the_newer_connection_takes_over(house):
    old = house.client(level=5)
    old.subscribe("a")
    new = house.client(level=5)
    [goodbye] = old.take(mqtt5.DisconnectPacket)
    assert goodbye.reason_code == DisconnectReasonCode.SESSION_TAKEN_OVER
    assert not old.is_open
    assert new.take(mqtt5.ConnAckPacket)[0].session_present
    new.publish("a", b"x")
    assert new.payloads() == [b"x"]


def test_connack_waits_until_its_session_is_durable(house):
    house.slow = True
    client = house.client()
    client.publish("a", packet_id=3)
    assert client.take() == []
    house.flush()
    assert [type(one) for one in client.take()] == [mqtt5.ConnAckPacket, mqtt5.PubAckPacket]


def test_a_session_that_was_there_needs_no_disk(house):
    house.client().cut()
    house.slow = True
    assert answer(house.client()) == ConnAckReasonCode.SUCCESS


def test_a_clean_session_needs_no_disk(house):
    house.slow = True
    assert answer(house.client(clean_start=True)) == ConnAckReasonCode.SUCCESS


def test_clean_start_is_durable_before_its_answer(house):
    house.client().subscribe("a")
    house.slow = True
    client = house.client(clean_start=True)
    assert client.take() == []
    house.flush()
    assert not client.take(mqtt5.ConnAckPacket)[0].session_present
    house.slow = False
    house.crash()
    assert not house.client().take(mqtt5.ConnAckPacket)[0].session_present


def test_who_says_nothing_is_closed(house):
    silent = house.client()
    number = house.core.opened(house.now)
    silent.number, house.clients[number] = number, silent
    house.pass_time(int(LIMITS.connect_timeout * 1000) - 1_000)
    assert silent.is_open
    house.pass_time(3_000)
    assert not silent.is_open


@pytest.mark.parametrize("level", [4, 5])
def test_keepalive_is_one_and_a_half(house, level):
    silent = house.client("silent", level=level, keep_alive=10)
    house.pass_time(14_000)
    assert silent.is_open
    house.pass_time(3_000)
    assert not silent.is_open


def test_a_held_connection_is_not_blamed_for_its_silence(house):
    house.link().close()
    device = house.client(keep_alive=1)
    for packet_id in range(1, 8):
        device.publish("in/a", packet_id=packet_id)
    assert not device.is_read
    house.pass_time(20_000)
    assert device.is_open
    house.link().ack()
    assert device.is_read


def test_more_connections_than_may_be_are_refused(house):
    for n in range(LIMITS.connections):
        assert house.client(f"c{n}").is_open
    over = house.client("over")
    assert answer(over) == ConnAckReasonCode.SERVER_UNAVAILABLE
    assert house.client("bridge-0").is_open


@pytest.mark.parametrize("why", ["expired", "revoked"])
def test_a_void_principal_is_disconnected_within_two_seconds(house, why):
    client, other = house.client(level=5), house.client("other", level=5)
    house.gate.expires_at = house.now + 60_000
    short = house.client("short", level=5)
    if why == "revoked":
        house.gate.void.add("short")
        house.pass_time(1_200)
    else:
        house.pass_time(61_200)
    assert not short.is_open
    assert (client.is_open, other.is_open) == (True, True)
    [goodbye] = short.take(mqtt5.DisconnectPacket)
    codes = {"expired": DisconnectReasonCode.MAX_CONNECT_TIME, "revoked": DisconnectReasonCode.NOT_AUTHORIZED}
    assert goodbye.reason_code == codes[why]


def test_enhanced_authentication_is_refused(house):
    client = house.client(level=5, authentication_method="SCRAM")
    assert answer(client) == ConnAckReasonCode.BAD_AUTHENTICATION_METHOD


def test_kick_and_forget(house):
    client = house.client(will=WILL)
    client.subscribe("a")
    watcher = house.client("watcher")
    watcher.subscribe("will")
    house.core.kick("c", house.now, forget=True)
    house.settle()
    assert not client.is_open
    assert watcher.payloads() == [b"gone"]
    assert not house.client().take(mqtt5.ConnAckPacket)[0].session_present
    house.core.kick("nobody", house.now, forget=True)


def test_wills_by_how_a_connection_ends(house):
    watcher = house.client("watcher")
    watcher.subscribe("will")
    house.client(will=WILL).cut()
    assert watcher.payloads() == [b"gone"]
    house.client(will=WILL).send(mqtt5.DisconnectPacket())
    assert watcher.payloads() == []
    house.client(will=WILL).send_bytes(b"\0\0")
    assert watcher.payloads() == [b"gone"]
    with_will = DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE
    house.client(level=5, will=WILL).send(mqtt5.DisconnectPacket(reason_code=with_will))
    assert watcher.payloads() == [b"gone"]


def test_a_delayed_will_is_taken_back_by_a_return(house):
    watcher = house.client("watcher")
    watcher.subscribe("will")
    will = mqtt5.Will("will", payload=b"gone", qos=mqtt5.QoS.AT_LEAST_ONCE, will_delay_interval=10)
    house.client(level=5, will=will).cut()
    house.pass_time(5_000)
    back = house.client(level=5)
    house.pass_time(10_000)
    assert watcher.payloads() == []
    back.cut()
    house.client(level=5, will=will).cut()
    house.client(level=5, clean_start=True)
    assert watcher.payloads() == [b"gone"]


def test_a_session_expires(house):
    client = house.client(level=5, session_expiry_interval=10)
    client.subscribe("a")
    client.cut()
    house.pass_time(9_000)
    assert house.client(level=5, session_expiry_interval=10).take(mqtt5.ConnAckPacket)[0].session_present
    house.client("c", level=5, session_expiry_interval=10).cut()
    house.pass_time(11_000)
    assert not house.client(level=5).take(mqtt5.ConnAckPacket)[0].session_present


def test_a_session_expires_over_a_restart(house):
    client = house.client(level=5, session_expiry_interval=10)
    client.cut()
    house.pass_time(9_000)
    house.crash()
    house.pass_time(2_000)
    assert not house.client(level=5).take(mqtt5.ConnAckPacket)[0].session_present


def test_the_longest_expiry_is_ours(house):
    [connack] = house.client(level=5, session_expiry_interval=0xFFFFFFFF).take(mqtt5.ConnAckPacket)
    assert connack.session_expiry_interval == LIMITS.session_expiry
    assert connack.receive_max == LIMITS.inflight
    assert connack.max_packet_size == LIMITS.packet_bytes
    assert house.core.exchange.sessions["c"].expiry == LIMITS.session_expiry
    old = house.client("old")
    old.cut()
    assert house.core.exchange.sessions["old"].expiry == LIMITS.session_expiry


def test_a_clock_that_is_set_back_stops_nothing(house):
    watcher = house.client("watcher", keep_alive=0)
    watcher.subscribe("will")
    delayed = mqtt5.Will("will", payload=b"gone", qos=mqtt5.QoS.AT_LEAST_ONCE, will_delay_interval=10)
    house.client("d", level=5, will=delayed).cut()
    silent = house.client("silent", keep_alive=10)
    flood = house.client("flood")
    flood.send_bytes(flood.codec.write(mqtt5.PublishPacket("a", b"x")) * (LIMITS.publish_burst + 5))
    assert not flood.is_read
    house.pass_time(8_000)
    house.now -= 3_600_000
    house.pass_time(3_000)
    assert flood.is_read
    assert watcher.payloads() == [b"gone"]
    house.pass_time(6_000)
    assert not silent.is_open
    house.now -= 3_600_000
    link = house.link()
    watcher.publish("will", packet_id=7)
    assert watcher.acks() == [7]
    assert link.is_open


def test_coming_and_going_leaves_nothing_behind(house):
    for _ in range(1_200):
        house.client().cut()
    assert len(house.core._endings._sessions) < 1_100
    house.pass_time(LIMITS.session_expiry * 1_000 + 1_000)
    assert house.core.exchange.sessions == {}
    assert house.core._endings._sessions == []
