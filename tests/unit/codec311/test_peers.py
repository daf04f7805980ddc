"""The same packets by libraries we did not write: paho-mqtt (whose bytes aiomqtt sends too) and amqtt.

paho is driven through its public methods over a socket that only remembers; amqtt's packet classes read and write.
"""

import asyncio
import contextlib

import mqtt5
import paho.mqtt.client as paho
import pytest
from amqtt.adapters import BufferReader
from amqtt.mqtt import packet_class
from amqtt.mqtt.packet import MQTTFixedHeader
from paho.mqtt.enums import CallbackAPIVersion

from broker.embedded import codec311
from tests.unit.codec311.table import NEVER, PACKETS, topic_filter


class Wire:
    """A socket that keeps what is sent and gives what is put."""

    def __init__(self):
        self.sent, self.received = b"", b""

    def send(self, data):
        self.sent += bytes(data)
        return len(data)

    def recv(self, size):
        if not self.received:
            raise BlockingIOError
        data, self.received = self.received[:size], self.received[size:]
        return data

    def pending(self):
        return 0

    def __getattr__(self, name):
        return lambda *args: 0


class Paho(paho.Client):
    """paho's client on a `Wire`."""

    def __init__(self, client_id="a", clean=True):
        super().__init__(CallbackAPIVersion.VERSION2, client_id, clean_session=clean)
        self.wire = Wire()
        self.suppress_exceptions = False

    def _create_socket(self):
        return self.wire

    def said(self):
        """Take what it has sent since the last time, as packets of ours."""
        raw, self.wire.sent = memoryview(self.wire.sent), b""
        packets, at = [], 0
        while at < len(raw):
            packet, size = codec311.read(raw, at)
            packets.append(packet)
            at += size
        return packets

    def hear(self, packet):
        """Give it a packet that we wrote."""
        self.wire.received += codec311.write(packet)
        while self.wire.received:
            assert self.loop_read() == paho.MQTT_ERR_SUCCESS


def connected(**options):
    """Make a client of paho's that is connected, as far as it knows."""
    client = Paho(**options)
    client.connect("nowhere")
    client.hear(mqtt5.ConnAckPacket())
    client.said()
    return client


def test_paho_connect_in_every_form():
    client = Paho("dev:1", clean=False)
    client.will_set("w/ü", b"gone", qos=2, retain=True)
    client.username_pw_set("user", "pass")
    client.connect("nowhere", keepalive=77)
    will = mqtt5.Will("w/ü", payload=b"gone", qos=mqtt5.QoS.EXACTLY_ONCE, retain=True)
    sent = client.wire.sent
    expected = mqtt5.ConnectPacket(
        "dev:1", session_expiry_interval=NEVER, keep_alive=77, will=will, username="user", password=b"pass"
    )
    assert client.said() == [expected]
    assert codec311.write(expected) == sent


@pytest.mark.parametrize(("qos", "first"), [(0, 0x30), (1, 0x32), (2, 0x34)])
def test_paho_publish(qos, first):
    client = connected()
    client.publish("a/b", b"x" * 300, qos=qos)
    sent = client.wire.sent
    assert sent[0] == first
    [packet] = client.said()
    assert (packet.topic, packet.payload, int(packet.qos)) == ("a/b", b"x" * 300, qos)
    assert codec311.write(packet) == sent


def test_paho_subscribe_unsubscribe_ping_disconnect():
    client = connected()
    client.subscribe([("a/+", 0), ("b/#", 2)])
    client.unsubscribe(["a/+", "b/#"])
    client._send_pingreq()
    client.disconnect()
    sent = client.wire.sent
    packets = client.said()
    filters = [topic_filter("a/+", mqtt5.QoS.AT_MOST_ONCE), topic_filter("b/#", mqtt5.QoS.EXACTLY_ONCE)]
    assert packets == [
        mqtt5.SubscribePacket(1, filters),
        mqtt5.UnsubscribePacket(2, ["a/+", "b/#"]),
        mqtt5.PingReqPacket(),
        mqtt5.DisconnectPacket(),
    ]
    assert b"".join(map(codec311.write, packets)) == sent


@pytest.mark.parametrize("reason", ["CLIENT_ID_NOT_VALID", "SERVER_UNAVAILABLE", "NOT_AUTHORIZED"])
def test_paho_understands_our_refusals(reason):
    client = Paho()
    heard = []
    client.on_connect = lambda _client, _data, flags, code, _props: heard.append(
        (flags.session_present, code.is_failure)
    )
    client.connect("nowhere")
    client.wire.received = codec311.write(mqtt5.ConnAckPacket(reason_code=getattr(mqtt5.ConnAckReasonCode, reason)))
    with contextlib.suppress(paho.WebsocketConnectionError):
        client.loop_read()
    assert heard == [(False, True)]


def test_paho_understands_our_acknowledgements_and_publishes():
    client = connected()
    heard = []
    client.on_subscribe = lambda _client, _data, mid, codes, _props: heard.append((mid, [c.value for c in codes]))
    client.on_unsubscribe = lambda _client, _data, mid, codes, _props: heard.append((mid, "unsubscribed"))
    client.on_publish = lambda _client, _data, mid, _code, _props: heard.append((mid, "published"))
    client.on_message = lambda _client, _data, message: heard.append((message.topic, message.payload, message.dup))
    failed = mqtt5.SubAckReasonCode.UNSPECIFIED_ERROR
    client.subscribe([("a", 1), ("b", 1)])
    client.hear(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE, failed]))
    client.unsubscribe("a")
    client.hear(mqtt5.UnsubAckPacket(2, []))
    client.publish("a", b"", qos=1)
    client.hear(mqtt5.PubAckPacket(3))
    client.publish("a", b"", qos=2)
    client.hear(mqtt5.PubRecPacket(4))
    client.hear(mqtt5.PubCompPacket(4))
    client.said()
    again = mqtt5.PublishPacket("in/ü", b"hi", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=9, duplicate=True)
    client.hear(again)
    assert heard == [(1, [1, 128]), (2, "unsubscribed"), (3, "published"), (4, "published"), ("in/ü", b"hi", True)]
    assert client.said() == [mqtt5.PubAckPacket(9)]


async def _amqtt(raw):
    header = await MQTTFixedHeader.from_stream(BufferReader(raw))
    reader = BufferReader(raw)
    return await packet_class(header).from_stream(reader)


AMQTT_CANNOT = {
    "connect, no client id": "it makes up a client id as it reads",
    "connect, user name and password": "it reads a password as UTF-8",
}


@pytest.mark.parametrize("name", [name for name in PACKETS if name not in AMQTT_CANNOT])
def test_amqtt_reads_our_bytes_and_writes_the_same(name):
    packet, raw = PACKETS[name]
    theirs = asyncio.run(_amqtt(codec311.write(packet)))
    assert theirs.to_bytes() == raw
