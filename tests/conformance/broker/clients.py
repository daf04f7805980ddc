"""The clients of the suite: paho-mqtt, driven without threads; mosquitto's tools; and a raw wire for misbehaving.

Rules
- A `Peer` is paho-mqtt. It moves only while a test waits for something, so nothing happens behind a test's back.
- Waiting is for a condition, bounded by the site's patience; only `nothing` waits out a time, which can miss a
  fault, never make one.
- A `Wire` is a socket and a codec, for what a stock client cannot be made to do.
"""

import contextlib
import json
import select
import shutil
import socket
import struct
import subprocess
import time
from dataclasses import dataclass

import mqtt5
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from broker.embedded import codec311
from tests.conformance.broker.gates import PASSWORD, USERNAME

SILENCE = 0.25
"""Seconds that a test listens for what must not come."""


@dataclass(frozen=True)
class Got:
    """A message that a peer has received."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int
    properties: object = None

    @property
    def text(self) -> str:
        return self.payload.decode()


def properties(kind: str, **values) -> Properties:
    """Build paho's properties of a packet type; names as paho writes them."""
    built = Properties(getattr(PacketTypes, kind))
    for name, value in values.items():
        setattr(built, name, value)
    return built


class Peer:
    """A paho client, moved by the test itself."""

    def __init__(
        self,
        site,
        client_id,
        *,
        v5=False,
        clean=True,
        keepalive=60,
        expiry=None,
        receive_maximum=None,
        will=None,
        username=USERNAME,
        password=PASSWORD,
        manual=False,
        websocket=False,
        path="/mqtt",
    ):
        self.site, self.client_id, self.v5 = site, client_id, v5
        self.got, self.lost, self.code, self.present, self.answer = [], False, None, None, None
        self.reason = None
        self._acks, self._sent = {}, set()
        self._options = {"clean": clean, "keepalive": keepalive, "expiry": expiry, "receive": receive_maximum}
        self.client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if v5 else clean,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            transport="websockets" if websocket else "tcp",
            manual_ack=manual,
        )
        if websocket:
            client.ws_set_options(path=path)
        client.max_inflight_messages_set(1000)
        if username is not None:
            client.username_pw_set(username, password)
        if will:
            client.will_set(**will)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = lambda _c, _d, mid, codes, _p: self._acks.__setitem__(mid, [c.value for c in codes])
        client.on_unsubscribe = lambda _c, _d, mid, codes, _p: self._acks.__setitem__(mid, [c.value for c in codes])
        client.on_publish = lambda _c, _d, mid, code, _p: (self._sent.add(mid), self._acks.__setitem__(mid, code.value))
        self._port = site.websocket if websocket else site.port

    def _on_connect(self, _client, _data, flags, code, answer):
        self.code, self.present, self.answer = code.value, flags.session_present, answer

    def _on_message(self, _client, _data, message):
        self.got.append(
            Got(
                message.topic,
                message.payload,
                message.qos,
                message.retain,
                message.dup,
                message.mid,
                message.properties,
            )
        )

    def _on_disconnect(self, _client, _data, _flags, code, _properties):
        self.lost, self.reason = True, code.value

    def connect(self, *, refused=False):
        """Connect, and wait for the answer; fail unless it is (or is not) a refusal."""
        options, more = self._options, {}
        if self.v5:
            wanted = {"SessionExpiryInterval": options["expiry"], "ReceiveMaximum": options["receive"]}
            given = {name: value for name, value in wanted.items() if value is not None}
            more = {"clean_start": options["clean"], "properties": properties("CONNECT", **given)}
        try:
            self.client.connect(self.site.host, self._port, options["keepalive"], **more)
            self.until(lambda: self.code is not None or self.lost, "an answer to CONNECT")
        except (OSError, paho.WebsocketConnectionError):
            self.lost = True
        happened = self.code is None or self.code != 0
        assert happened == refused, f"{self.client_id}: connect answered {self.code}"
        return self

    def turn(self, seconds=0.02):
        """Let the client move once."""
        if not self.lost and self.client.loop(seconds) != paho.MQTT_ERR_SUCCESS:
            self.lost = True

    def until(self, condition, what, seconds=None):
        """Move until the condition holds."""
        end = time.monotonic() + (seconds or self.site.patience)
        while not condition():
            assert time.monotonic() < end, f"{self.client_id}: no {what}; got {[m.payload[:20] for m in self.got]}"
            if self.lost:
                time.sleep(0.01)
            self.turn()

    def subscribe(self, *filters, qos=1, **options):
        """Subscribe and wait for the codes. A filter is a text, or a pair of text and QoS."""
        pairs = [(one, qos) if isinstance(one, str) else one for one in filters]
        more = {}
        if self.v5:
            if "identifier" in options:
                more["properties"] = properties("SUBSCRIBE", SubscriptionIdentifier=options.pop("identifier"))
            pairs = [(name, SubscribeOptions(qos=level, **options)) for name, level in pairs]
        _, mid = self.client.subscribe(pairs, **more)
        self.until(lambda: mid in self._acks or self.lost, "SUBACK")
        return self._acks.get(mid)

    def unsubscribe(self, *filters):
        """Unsubscribe and wait for the answer."""
        _, mid = self.client.unsubscribe(list(filters))
        self.until(lambda: mid in self._acks, "UNSUBACK")
        return self._acks[mid]

    def publish(self, topic, payload=b"", *, qos=1, retain=False, wait=True, **given):
        """Publish, and wait until it is answered unless told not to. Gives the message id."""
        more = {"properties": properties("PUBLISH", **given)} if given else {}
        info = self.client.publish(topic, payload, qos, retain, **more)
        if wait:
            self.answered(info.mid)
        return info.mid

    def answered(self, *mids):
        """Wait until these publishes are answered; gives the last one's reason code."""
        self.until(lambda: self.lost or self._sent.issuperset(mids), "answer to a PUBLISH")
        assert self._sent.issuperset(mids), f"{self.client_id} was cut off before it had its answers"
        return self._acks[mids[-1]]

    def is_answered(self, mid):
        """Tell whether a publish was answered so far."""
        return mid in self._sent

    def expect(self, count, seconds=None):
        """Wait for so many messages, and take them."""
        self.until(lambda: len(self.got) >= count, f"{count} messages", seconds)
        taken, self.got = self.got[:count], self.got[count:]
        return taken

    def texts(self, count, seconds=None):
        """Wait for so many messages, and take their payloads as texts."""
        return [message.text for message in self.expect(count, seconds)]

    def settle(self):
        """Wait until the broker has read everything that was sent so far: a connection is read in order."""
        self.publish(f"settled/{self.client_id}", b"", qos=1)

    def nothing(self, seconds=SILENCE):
        """Listen for a while; fail if anything comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn()
        assert self.got == [], f"{self.client_id} got {self.got}"

    def ack(self, *messages):
        """Acknowledge by hand."""
        for message in messages:
            self.client.ack(message.mid, message.qos)

    def disconnect(self, **given):
        """Leave cleanly: DISCONNECT, and wait for the end."""
        more = {"properties": properties("DISCONNECT", **given)} if given else {}
        self.client.disconnect(**more)
        self.until(lambda: self.lost, "end of the connection")

    def cut(self):
        """Be cut off: the connection is reset, nothing is said."""
        self.lost = True
        sock = self.client.socket()
        if sock is None or sock.fileno() < 0:
            return
        with contextlib.suppress(OSError, AttributeError):  # a WebSocket's wrapper has no options
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def is_cut(self, seconds=None):
        """Wait until the broker ends the connection."""
        self.until(lambda: self.lost, "end by the broker", seconds)
        return True


class Closed(Exception):
    """The broker has closed the connection."""


class Wire:
    """A socket and a codec."""

    def __init__(self, site, level=4):
        self.site, self.level = site, level
        self.socket = socket.create_connection((site.host, site.port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = select.poll()
        self._poll.register(self.socket, select.POLLIN)
        self._buffer = b""

    def send(self, *packets):
        """Send packets, or bytes as they are, in one write."""
        raw = [packet if isinstance(packet, bytes) else self._written(packet) for packet in packets]
        self.socket.sendall(b"".join(raw))

    def _written(self, packet):
        return packet.write() if self.level == 5 else codec311.write(packet)

    def receive(self, seconds=None):
        """Wait for one packet. Raises `Closed` at the end of the connection."""
        end = time.monotonic() + (seconds or self.site.patience)
        while (found := self._parse()) is None:
            left = end - time.monotonic()
            assert left > 0, "no packet came"
            if not self._poll.poll(left * 1000):
                continue
            try:
                data = self.socket.recv(65536)
            except OSError as error:
                raise Closed from error
            if not data:
                raise Closed
            self._buffer += data
        packet, size = found
        self._buffer = self._buffer[size:]
        return packet

    def _parse(self):
        if self.level == 4:
            return codec311.read(memoryview(self._buffer))
        try:
            return mqtt5.read(memoryview(self._buffer))
        except IndexError:
            return None

    def expect(self, kind, seconds=None):
        """Wait for one packet of a class; anything else is a fault."""
        packet = self.receive(seconds)
        assert isinstance(packet, kind), f"expected {kind.__name__}, got {packet}"
        return packet

    def connect(self, client_id, *, username=USERNAME, password=PASSWORD, **fields):
        """Send CONNECT and give the CONNACK."""
        fields.setdefault("clean_start", True)
        secret = password.encode() if password is not None else None
        self.send(mqtt5.ConnectPacket(client_id, username=username, password=secret, **fields))
        return self.expect(mqtt5.ConnAckPacket)

    def subscribe(self, *filters, qos=1):
        """Subscribe and give the codes."""
        topics = [mqtt5.TopicFilter(one, max_qos=mqtt5.QoS(qos), retain_as_published=False) for one in filters]
        self.send(mqtt5.SubscribePacket(1, topics))
        return [code.value for code in self.expect(mqtt5.SubAckPacket).reason_codes]

    def ping(self):
        """Send PINGREQ and wait for the answer: what was sent before has been read."""
        self.send(mqtt5.PingReqPacket())
        self.expect(mqtt5.PingRespPacket)

    def is_closed(self, seconds=None):
        """Wait until the broker ends the connection; what it still says is dropped."""
        try:
            while True:
                self.receive(seconds)
        except Closed:
            return True
        except AssertionError:
            return False

    def close(self, *, reset=False):
        """End the connection, with a reset or in order."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def tool(name, site, *arguments, **options):
    """Run `mosquitto_pub` or `mosquitto_sub` against a site, as somebody who knows the password."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed; Debian: apt install mosquitto-clients")
    command = [program, "-h", site.host, "-p", str(site.port), "-u", USERNAME, "-P", PASSWORD, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def payload(number, size=0):
    """Make a payload that names its number, filled up to `size` bytes."""
    return json.dumps({"n": number, "fill": "x" * max(0, size - 24)})


def number(text):
    """Read the number of such a payload."""
    return json.loads(text)["n"]
