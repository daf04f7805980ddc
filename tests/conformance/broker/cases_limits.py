"""Connecting, misbehaving, and every limit: who exceeds one is refused or cut, alone, and every drop is counted."""

import socket
import time

import mqtt5

from tests.conformance.broker.cases_sessions import numbered
from tests.conformance.broker.clients import Closed, Wire, number, payload
from tests.conformance.broker.suite import case


def qos1(topic, data, packet_id, **flags):
    """Make a QoS 1 publish."""
    return mqtt5.PublishPacket(topic, data, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id, **flags)


def refuses(t, raw, *, word=None):
    """Check that a connection (connected under `word`, or fresh) is closed upon these bytes."""
    wire = t.wire(word or "")
    wire.send(raw)
    return wire.is_closed()


@case()
def keepalive_is_enforced(t):
    """A client that is silent for one and a half keepalives is cut off [3.1.2-24], not much sooner; who pings stays."""
    silent = t.wire("silent", keep_alive=1)
    since = time.monotonic()
    pinging = t.connected("pinging", keepalive=1)
    pinging.until(lambda: time.monotonic() > since + 2.5, "time")
    assert silent.is_closed()
    assert not pinging.lost
    early = t.wire("early", keep_alive=2)
    time.sleep(1)
    early.ping()


@case()
def no_keepalive_means_no_end(t):
    """Keepalive 0 turns it off: a silent client stays."""
    wire = t.wire("c", keep_alive=0)
    time.sleep(2)
    wire.ping()


@case("connect-timeout")
def a_connection_without_connect_is_closed(t):
    """Who connects and says nothing, or half a CONNECT, is closed after the CONNECT time-out."""
    idle, half = Wire(t.site), Wire(t.site)
    half.send(b"\x10\x20\x00\x04MQ")
    for wire in (idle, half):
        assert wire.is_closed(t.site.limits.connect_timeout + 3)


@case()
def a_first_packet_other_than_connect_is_refused(t):
    """The first packet is CONNECT, or the connection ends [3.1.0-1]."""
    for raw in (
        b"\xc0\x00",
        b"\x30\x03\x00\x01a",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ):
        assert refuses(t, raw)


@case()
def a_second_connect_is_refused(t):
    """A second CONNECT on one connection ends it [3.1.0-2]."""
    wire = t.wire("c")
    again = wire._written(mqtt5.ConnectPacket(t.name("c"), clean_start=True, username="user", password=b"good"))
    wire.send(again)
    assert wire.is_closed()


@case()
def an_unknown_protocol_level_is_refused(t):
    """A level that the broker does not speak is answered by return code 1, or the connection ends [3.1.2-2]."""
    wire = t.wire()
    wire.send(b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x3c\x00\x01a")
    try:
        answer = wire.receive()
    except Closed:
        return
    assert answer.reason_code == mqtt5.ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION
    assert wire.is_closed()


@case()
def malformed_packets_end_the_connection(t):
    """Bytes that are no packet end the connection that sent them, and no other."""
    bystander = t.connected("bystander")
    bystander.subscribe(t.topic("a"))
    wrong = {
        "type0": b"\x00\x00",
        "qos3": b"\x36\x06\x00\x01a\x00\x01x",
        "flags": b"\x80\x06\x00\x01\x00\x01a\x00",
        "length": b"\x30\xff\xff\xff\xff\x01",
        "utf8": b"\x30\x04\x00\x01\xffx",
        "null": b"\x30\x04\x00\x01\x00x",
        "wildcard": b"\x30\x05\x00\x03a/+",
        "id0": b"\x82\x06\x00\x00\x00\x01a\x00",
        "nofilter": b"\x82\x02\x00\x01",
        "filter": b"\x82\x07\x00\x01\x00\x02a#\x00",
        "badqos": b"\x82\x06\x00\x01\x00\x01a\x03",
    }
    kept = [name for name, raw in wrong.items() if not refuses(t, raw, word=name)]
    assert kept == []
    bystander.publish(t.topic("a"), b"well")
    assert bystander.texts(1) == ["well"]


@case("empty-client-id")
def an_empty_client_id_is_given_one_when_clean(t):
    """A clean client without an id is taken, and two of them are two [3.1.3-6]; one that is not clean is refused by
    return code 2 [3.1.3-8]."""
    first, second = t.connected(""), t.connected("")
    first.subscribe(t.topic("a"))
    second.publish(t.topic("a"), b"x")
    assert first.texts(1) == ["x"]
    answer = t.wire().connect("", clean_start=False, session_expiry_interval=0xFFFFFFFF)
    assert answer.reason_code == mqtt5.ConnAckReasonCode.CLIENT_ID_NOT_VALID


@case()
def a_wrong_password_is_refused_by_its_code(t):
    """A wrong password is answered by return code 4 or 5, and the connection ends [3.2.2-5]."""
    wire = t.wire()
    answer = wire.connect(t.name("c"), password="bad")
    assert answer.reason_code.name in ("BAD_USER_NAME_OR_PASSWORD", "NOT_AUTHORIZED")
    assert not answer.session_present
    assert wire.is_closed()


@case()
def a_packet_above_the_limit_is_refused(t):
    """A PUBLISH above the packet limit ends its connection, as soon as its header is seen, and is not delivered."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"))
    most = t.site.limits.packet_bytes
    wire = t.wire("sender")
    packet = wire._written(mqtt5.PublishPacket(t.topic("a"), b"x" * (most + 1)))
    wire.send(packet[:100])
    assert wire.is_closed()
    receiver.nothing()


@case()
def a_connect_above_the_limit_is_refused(t):
    """The same before the password was seen: nobody makes the broker hold more than a packet."""
    wire = t.wire()
    wire.send(b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x04\x02\x00\x3c")
    assert wire.is_closed(t.site.limits.connect_timeout * 3)


@case("queue-limit")
def a_full_queue_drops_and_counts(t):
    """Beyond the queue's limit messages to the absent are dropped and counted, and the rest comes in order."""
    before = t.site.health().dropped
    most = t.site.limits.queue_messages
    receiver = t.connected("receiver", clean=False)
    receiver.subscribe(t.topic("a"))
    receiver.disconnect()
    sender = t.connected("sender")
    numbered(sender, t.topic("a"), 0, most + 100)
    end = time.monotonic() + t.site.patience
    while t.site.health().dropped <= before:
        assert time.monotonic() < end, "no drop was counted"
        time.sleep(0.1)
    back = t.connected("receiver", clean=False)
    first = [number(text) for text in back.texts(most - 30)]
    back.turn(0.2)
    got = first + [number(message.text) for message in back.got]
    assert got == sorted(set(got))
    assert most - 30 <= len(got) <= most + 30
    back.got.clear()


@case("queue-limit", own=True)
def a_drop_makes_the_broker_unready(t):
    """After a drop `health` says that the broker is not ready, and why."""
    assert t.site.health().ready
    receiver = t.connected("receiver", clean=False)
    receiver.subscribe(t.topic("a"))
    receiver.disconnect()
    numbered(t.connected("sender"), t.topic("a"), 0, t.site.limits.queue_messages + 50)
    end = time.monotonic() + t.site.patience
    while t.site.health().ready:
        assert time.monotonic() < end, "the broker stays ready"
        time.sleep(0.1)
    assert t.site.health().reasons


@case("inflight-limit")
def no_more_than_the_in_flight_limit_is_unacknowledged(t):
    """The broker sends no more than its limit of unacknowledged messages, and goes on as they are acknowledged."""
    most = t.site.limits.inflight
    receiver = t.connected("receiver", manual=True)
    receiver.subscribe(t.topic("a"))
    numbered(t.connected("sender"), t.topic("a"), 0, most + 10)
    first = receiver.expect(most)
    receiver.nothing()
    receiver.ack(*first[:10])
    rest = receiver.expect(10)
    receiver.ack(*first[10:], *rest)
    assert [number(message.text) for message in first + rest] == list(range(most + 10))


@case("rate-limit")
def a_flood_is_held_back_alone(t):
    """A connection that publishes far above its rate is slowed or cut; another's messages are not delayed."""
    limits = t.site.limits
    calm = t.connected("calm")
    calm.subscribe(t.topic("calm"))
    flood = t.wire("flood")
    packet = flood._written(mqtt5.PublishPacket(t.topic("flood"), b"x" * 20))
    count = int(limits.publish_burst + limits.publish_rate * 2)
    began = time.monotonic()
    flood.socket.settimeout(0.05)
    try:
        for _ in range(count // 100):
            flood.send(packet * 100)
    except OSError:
        pass
    longest = 0.0
    for _ in range(10):
        asked = time.monotonic()
        calm.publish(t.topic("calm"), b"x")
        calm.expect(1)
        longest = max(longest, time.monotonic() - asked)
    assert longest < 1.0
    flood.socket.settimeout(10)
    try:
        flood.send(mqtt5.PingReqPacket())
        flood.expect(mqtt5.PingRespPacket, 15)
    except (OSError, Closed, AssertionError):
        return
    assert time.monotonic() - began > 1.0, "the flood went through at once"


@case()
def a_slow_reader_delays_nobody(t):
    """A subscriber that reads nothing does not delay another subscriber of the same messages, nor their sender."""
    slow = t.wire("slow")
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.subscribe(t.topic("a"), qos=0)
    fast = t.connected("fast")
    fast.subscribe(t.topic("a"))
    sender = t.connected("sender")
    big = t.site.limits.packet_bytes - 200
    for n in range(120):
        sender.publish(t.topic("a"), payload(n, big), wait=True)
        assert number(fast.texts(1)[0]) == n


@case("buffer-limit", write_buffer_bytes=128 * 1024, queue_bytes=512 * 1024)
def a_slow_reader_costs_no_memory(t):
    """What a reader that does not read makes the broker hold is bounded by its limits, not by what is sent to it."""
    slow = t.wire("slow", clean_start=False, session_expiry_interval=0xFFFFFFFF)
    slow.subscribe(t.topic("a"), qos=1)
    sender = t.connected("sender")
    big = t.site.limits.packet_bytes - 200
    sender.publish(t.topic("a"), payload(0, big))
    before = t.site.memory()
    for n in range(600):
        sender.publish(t.topic("a"), payload(n, big), qos=n % 2, wait=n % 10 == 9)
    sender.settle()
    assert t.site.memory() - before < 16 * 1024 * 1024


@case("connection-limit", connections=6)
def connections_are_limited(t):
    """Beyond the limit of connections none is let in; when one ends, another enters."""
    inside = []
    while len(inside) <= 7:
        wire = t.wire()
        try:
            answer = wire.connect(t.name(f"c{len(inside)}"))
        except Closed:
            break
        if answer.reason_code.value != 0:
            break
        inside.append(wire)
    assert 3 <= len(inside) <= 7  # Mosquitto counts its operator, and lets one more in
    inside.pop().close()
    end = time.monotonic() + t.site.patience
    while True:
        try:
            assert t.wire().connect(t.name("next")).reason_code.value == 0
            return
        except (Closed, AssertionError):
            assert time.monotonic() < end, "nobody is let in"
            time.sleep(0.05)


@case("will-limit", will_bytes=1000)
def wills_are_limited(t):
    """A will above its limit is refused with the CONNECT; one below it is sent."""
    watcher = t.connected("watcher")
    watcher.subscribe(t.topic("will"))
    t.peer("long", will={"topic": t.topic("will"), "payload": b"x" * 1001, "qos": 1}).connect(refused=True)
    t.connected("short", will={"topic": t.topic("will"), "payload": b"y" * 900, "qos": 1}).cut()
    assert watcher.texts(1) == ["y" * 900]
    watcher.nothing()


@case()
def garbage_from_one_leaves_the_others_alone(t):
    """A hundred connections full of garbage, cut or left open, leave the rest working."""
    import random

    noise = random.Random(7)
    opened = []
    for _ in range(100):
        wire = Wire(t.site)
        opened.append(wire)
        try:
            wire.send(noise.randbytes(noise.randrange(1, 200)))
        except OSError:
            continue
    well = t.connected("well")
    well.subscribe(t.topic("a"))
    well.publish(t.topic("a"), b"x")
    assert well.texts(1) == ["x"]
    for wire in opened:
        wire.close()


@case("websocket")
def websocket_speaks_mqtt(t):
    """MQTT over WebSocket: subprotocol `mqtt`, path `/mqtt`, the same sessions."""
    receiver = t.connected("receiver", websocket=True, clean=False)
    receiver.subscribe(t.topic("a"))
    receiver.cut()
    numbered(t.connected("sender"), t.topic("a"), 0, 5)
    back = t.connected("receiver", websocket=True, clean=False)
    assert back.present
    assert [number(text) for text in back.texts(5)] == list(range(5))
    longest = b"x" * (t.site.limits.packet_bytes - 200)
    back.publish(t.topic("a"), longest)
    assert back.expect(1)[0].payload == longest


@case("websocket")
def websocket_answers_with_its_subprotocol(t):
    """The answer to the upgrade names `mqtt`; without that subprotocol there is no upgrade to MQTT."""
    answer = upgrade(t.site, "/mqtt", "mqtt")
    assert " 101 " in answer.splitlines()[0]
    assert "sec-websocket-protocol: mqtt" in answer.lower()
    assert " 101 " not in upgrade(t.site, "/mqtt", "chat").splitlines()[0]


@case("websocket", "websocket-path")
def websocket_has_one_path(t):
    """Only the one path is served."""
    assert " 101 " not in upgrade(t.site, "/other", "mqtt").splitlines()[0]


def upgrade(site, path, subprotocol):
    """Ask for a WebSocket by hand and give the answer's head."""
    with socket.create_connection((site.host, site.websocket), 5) as sock:
        sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {site.host}:{site.websocket}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(4096)
            if not data:
                break
            head += data
    return head.decode("latin-1") or "closed"


@case("subscription-limit")
def subscriptions_are_limited(t):
    """Beyond the limit of subscriptions a SUBSCRIBE fails by its code; those below it stay."""
    most = t.site.limits.subscriptions
    peer = t.connected("c")
    assert peer.subscribe(*(t.topic(f"{n}") for n in range(most))) == [1] * most
    assert peer.subscribe(t.topic("more"))[0] >= 0x80
    peer.publish(t.topic(f"{most - 1}"), b"x")
    assert peer.texts(1) == ["x"]


@case(slow=True, connections=1_100)
def a_thousand_clients_talk(t):
    """A thousand connected clients, each with its own subscription, each get their own message, twice."""
    sender = t.connected("sender", keepalive=0)
    wires = [t.wire(f"c{i}") for i in range(1000)]
    for i, wire in enumerate(wires):
        assert wire.subscribe(t.topic(f"{i}")) == [1]
    for turn in range(2):
        for i in range(1000):
            sender.publish(t.topic(f"{i}"), f"{turn} {i}", wait=i % 50 == 49)
        for i, wire in enumerate(wires):
            message = wire.expect(mqtt5.PublishPacket)
            assert message.payload.decode() == f"{turn} {i}"
            wire.send(mqtt5.PubAckPacket(message.packet_id))
