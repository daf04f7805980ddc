"""Scripted packets, the same for every broker, and what a broker answers to them, written down line by line.

Rules
- A script is a list of steps: who sends which packets. `CUT` resets a connection; the next packet of that name opens a
  new one. Names and topics of a run are its own, and are put back in the transcript.
- After each step every open connection is pinged, and listened to until it is silent.
- Packet ids are numbered in the order in which a client sees them. Limits that a server announces are its
  configuration and are left out.
"""

import contextlib
import secrets
import select
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import mqtt5
from mqtt5 import (
    ConnectPacket,
    DisconnectPacket,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    RetainHandling,
    SubscribePacket,
    TopicFilter,
    UnsubscribePacket,
    Will,
)

from broker.embedded.packets import MalformedPacket, ProtocolViolation
from tests.conformance.broker.clients import Closed, Wire
from tests.conformance.broker.gates import PASSWORD, USERNAME

CUT = "cut"
QUIET = 0.06
"""Seconds of silence after which a step is over."""
NEVER = 0xFFFF_FFFF


class Script(NamedTuple):
    """A named script: the protocol level it speaks, and its steps as (who, *packets)."""

    name: str
    level: int
    steps: list[tuple]


class Names:
    """Topics and client ids of one run of a script."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def t(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def connect(self, who: str, *, clean: bool = True, will: Will | None = None, password=PASSWORD, **more):
        more.setdefault("session_expiry_interval", 0 if clean else NEVER)
        client = f"{self.prefix}-{who}" if who else ""
        secret = password.encode()
        return ConnectPacket(client, clean_start=clean, will=will, username=USERNAME, password=secret, **more)

    def publish(self, name: str, payload=b"x", *, qos=0, packet_id=None, **more):
        return PublishPacket(self.t(name), payload, qos=QoS(qos), packet_id=packet_id, **more)

    def subscribe(self, *names, qos=2, packet_id=1, **more):
        more.setdefault("retain_as_published", False)
        return SubscribePacket(packet_id, [TopicFilter(self.t(name), max_qos=QoS(qos), **more) for name in names])

    def exact(self, *patterns, qos=0):
        return SubscribePacket(1, [TopicFilter(one, max_qos=QoS(qos), retain_as_published=False) for one in patterns])

    def unsubscribe(self, *names):
        return UnsubscribePacket(2, [self.t(name) for name in names])


Build = Callable[[Names], list[tuple]]
BOTH: dict[str, Build] = {}
FIVE: dict[str, Build] = {}
THREE: dict[str, Build] = {}


def into(table):
    """Add a script to a table."""

    def add(build):
        table[build.__name__] = build
        return build

    return add


@into(BOTH)
def sessions(n):
    return [
        ("a", n.connect("a")),
        ("a", n.subscribe("x")),
        ("a", DisconnectPacket()),
        ("a", n.connect("a", clean=False)),
        ("a", n.subscribe("x")),
        ("a", DisconnectPacket()),
        ("a", n.connect("a", clean=False)),
        ("a", n.publish("x", qos=1, packet_id=9)),
        ("a", CUT),
        ("a", n.connect("a")),
        ("a", n.publish("x", qos=1, packet_id=9)),
    ]


@into(BOTH)
def refused_connects(n):
    return [
        ("a", n.connect("a", password="bad")),
        ("b", n.connect("")),
        ("c", n.connect("", clean=False)),
        ("d", n.connect("d"), n.connect("d")),
        ("e", mqtt5.PingReqPacket()),
        ("f", n.publish("x")),
        ("g", n.connect("g", password="bad"), n.subscribe("x")),
    ]


@into(BOTH)
def subscribing(n):
    return [
        ("a", n.connect("a")),
        ("a", n.subscribe("x", "y/+", "z/#", qos=0)),
        ("a", n.subscribe("x", qos=2, packet_id=65535)),
        ("a", n.exact("$SYS/nothing", "$other/x", "/", "//", "+/+", "#")),
        ("a", n.unsubscribe("x", "never")),
        ("a", n.unsubscribe("y/+")),
        ("a", n.publish("x")),
        ("a", UnsubscribePacket(3, ["#", "+/+"])),
        ("a", n.publish("y/1")),
        ("a", n.publish("z")),
    ]


@into(BOTH)
def publishing(n):
    steps = [("b", n.connect("b")), ("a", n.connect("a"))]
    for granted in (0, 1, 2):
        steps.append(("b", n.subscribe("x", qos=granted)))
        steps += [("a", n.publish("x", f"{q}".encode(), qos=q, packet_id=q + 1 if q else None)) for q in (0, 1, 2)]
        steps.append(("a", PubRelPacket(3)))
    return steps


@into(BOTH)
def acknowledging_what_is_not_there(n):
    return [
        ("a", n.connect("a")),
        ("a", PubAckPacket(7)),
        ("a", PubRelPacket(7)),
        ("a", PubCompPacket(7)),
        ("a", PubRecPacket(7)),
    ]


@into(BOTH)
def no_subscribers(n):
    return [
        ("a", n.connect("a")),
        ("a", n.publish("nobody")),
        ("a", n.publish("nobody", qos=1, packet_id=1)),
        ("a", n.publish("nobody", qos=2, packet_id=2)),
        ("a", PubRelPacket(2)),
    ]


@into(BOTH)
def repeats(n):
    once = {"qos": 2, "packet_id": 5}
    return [
        ("b", n.connect("b")),
        ("b", n.subscribe("x")),
        ("a", n.connect("a", clean=False)),
        ("a", n.publish("x", qos=1, packet_id=4)),
        ("a", n.publish("x", qos=1, packet_id=4, duplicate=True)),
        ("a", n.publish("x", **once)),
        ("a", n.publish("x", duplicate=True, **once)),
        ("a", CUT),
        ("a", n.connect("a", clean=False)),
        ("a", n.publish("x", duplicate=True, **once)),
        ("a", PubRelPacket(5)),
        ("a", PubRelPacket(5)),
    ]


@into(BOTH)
def retained(n):
    return [
        ("a", n.connect("a")),
        ("a", n.publish("x", b"one", retain=True)),
        ("a", n.publish("x", b"two", qos=1, packet_id=1, retain=True)),
        ("a", n.publish("y", b"three", qos=2, packet_id=2, retain=True), PubRelPacket(2)),
        ("b", n.connect("b")),
        ("b", n.subscribe("x", qos=2)),
        ("b", n.subscribe("x", qos=0)),
        ("b", n.subscribe("y", qos=1)),
        ("a", n.publish("x", b"live", retain=True)),
        ("a", n.publish("x", b"", retain=True)),
        ("a", n.publish("y", b"", qos=1, packet_id=3, retain=True)),
        ("c", n.connect("c")),
        ("c", n.subscribe("#")),
    ]


@into(BOTH)
def wills(n):
    will = Will(n.t("w"), payload=b"gone", qos=QoS.AT_LEAST_ONCE)
    kept = Will(n.t("w"), payload=b"kept", retain=True)
    return [
        ("b", n.connect("b")),
        ("b", n.subscribe("w")),
        ("a", n.connect("a", will=will)),
        ("a", DisconnectPacket()),
        ("a", n.connect("a", will=will)),
        ("a", CUT),
        ("a", n.connect("a", will=will)),
        ("a", b"\x00\x00"),
        ("a", n.connect("a", will=kept)),
        ("a", CUT),
        ("c", n.connect("c")),
        ("c", n.subscribe("w")),
        ("c", n.publish("w", b"", retain=True)),
    ]


@into(BOTH)
def offline(n):
    return [
        ("b", n.connect("b", clean=False)),
        ("b", n.subscribe("x")),
        ("b", DisconnectPacket()),
        ("a", n.connect("a")),
        ("a", n.publish("x", b"0")),
        ("a", n.publish("x", b"1", qos=1, packet_id=1)),
        ("a", n.publish("x", b"2", qos=2, packet_id=2), PubRelPacket(2)),
        ("b", n.connect("b", clean=False)),
        ("b", CUT),
        ("a", n.publish("x", b"3", qos=1, packet_id=3)),
        ("b", n.connect("b", clean=False)),
    ]


@into(BOTH)
def in_flight(n):
    return [
        ("b", n.connect("b", clean=False)),
        ("b", n.subscribe("x")),
        ("a", n.connect("a")),
        ("a", n.publish("x", b"1", qos=1, packet_id=1)),
        ("a", n.publish("x", b"2", qos=2, packet_id=2), PubRelPacket(2)),
        ("b", PubRecPacket(2)),
        ("b", CUT),
        ("b", n.connect("b", clean=False)),
        ("b", PubAckPacket(1)),
        ("b", PubCompPacket(2)),
        ("b", CUT),
        ("b", n.connect("b", clean=False)),
    ]


@into(BOTH)
def take_over(n):
    return [
        ("a", n.connect("a", clean=False)),
        ("a", n.subscribe("x")),
        ("b", n.connect("a", clean=False)),
        ("c", n.connect("c")),
        ("c", n.publish("x", qos=1, packet_id=1)),
        ("d", n.connect("a")),
        ("c", n.publish("x", qos=1, packet_id=1)),
    ]


@into(BOTH)
def dollar_topics(n):
    return [
        ("b", n.connect("b")),
        ("b", n.exact("#", f"$SYS/{n.prefix}", f"$other/{n.prefix}", f"+/{n.prefix}")),
        ("a", n.connect("a")),
        ("a", PublishPacket(f"$other/{n.prefix}", b"other")),
        ("a", PublishPacket(f"$SYS/{n.prefix}", b"sys")),
        ("a", n.publish("x", b"end")),
    ]


@into(BOTH)
def shared(n):
    share = f"$share/g{n.prefix}/{n.t('x')}"
    return [
        ("b", n.connect("b")),
        ("b", n.exact(share)),
        ("a", n.connect("a")),
        ("a", n.publish("x", b"1", qos=1, packet_id=1)),
        ("b", UnsubscribePacket(2, [share, n.t("x")])),
        ("a", n.publish("x", b"2", qos=1, packet_id=2)),
    ]


@into(BOTH)
def odd_topics(n):
    return [
        ("a", n.connect("a")),
        ("a", n.subscribe("#")),
        ("a", n.publish("")),
        ("a", n.publish("/")),
        ("a", n.publish("a b")),
        ("a", n.publish("\ufeffü😀")),
    ]


def broken(name, three, five=None, *, opened=True):
    """Add a script of one wrong packet, in both versions."""

    def build(raw):
        return lambda n: [*([("a", n.connect("a"))] if opened else []), ("a", raw)]

    if three:
        THREE[name] = build(three)
    FIVE[name] = build(five or three)


broken("no_topic_filter", b"\x82\x02\x00\x01", b"\x82\x03\x00\x01\x00")
broken("subscribe_with_packet_id_0", b"\x82\x06\x00\x00\x00\x01a\x00", b"\x82\x07\x00\x00\x00\x00\x01a\x00")
broken("publish_with_packet_id_0", b"\x32\x05\x00\x01a\x00\x00", b"\x32\x06\x00\x01a\x00\x00\x00")
broken("subscribe_with_wrong_flags", b"\x80\x06\x00\x01\x00\x01a\x00", b"\x80\x07\x00\x01\x00\x00\x01a\x00")
broken("publish_of_qos_3", b"\x36\x05\x00\x01a\x00\x01", b"\x36\x06\x00\x01a\x00\x01\x00")
broken("dup_with_qos_0", b"\x38\x03\x00\x01a", b"\x38\x04\x00\x01a\x00")
broken("wildcard_in_topic", b"\x30\x05\x00\x03a/+", b"\x30\x06\x00\x03a/+\x00")
broken("empty_topic", b"\x30\x02\x00\x00", b"\x30\x03\x00\x00\x00")
broken("empty_filter", b"\x82\x05\x00\x01\x00\x00\x00", b"\x82\x06\x00\x01\x00\x00\x00\x00")
broken("wrong_filter", b"\x82\x07\x00\x01\x00\x02a#\x00", b"\x82\x08\x00\x01\x00\x00\x02a#\x00")
broken("null_in_topic", b"\x30\x03\x00\x01\x00", b"\x30\x04\x00\x01\x00\x00")
broken("control_character_in_topic", b"\x30\x03\x00\x01\x01", b"\x30\x04\x00\x01\x01\x00")
broken("noncharacter_in_topic", b"\x30\x05\x00\x03\xef\xbf\xbe", b"\x30\x06\x00\x03\xef\xbf\xbe\x00")
broken("topic_not_utf8", b"\x30\x03\x00\x01\xff", b"\x30\x04\x00\x01\xff\x00")
broken("surrogate_in_topic", b"\x30\x05\x00\x03\xed\xa0\x80", b"\x30\x06\x00\x03\xed\xa0\x80\x00")
broken("type_0", b"\x00\x00")
broken("auth_without_method", b"\xf0\x00", b"\xf0\x02\x18\x00")
broken("length_over_four_bytes", b"\x30\xff\xff\xff\xff\x01")
broken("a_servers_packet", b"\x20\x02\x00\x00", b"\x20\x03\x00\x00\x00")
broken("share_without_filter", b"\x82\x0d\x00\x01\x00\x08$share/g\x00", b"\x82\x0e\x00\x01\x00\x00\x08$share/g\x00")
broken(
    "share_with_wildcard_group",
    b"\x82\x0f\x00\x01\x00\x0a$share/+/t\x00",
    b"\x82\x10\x00\x01\x00\x00\x0a$share/+/t\x00",
)
broken("unknown_level", b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x3c\x00\x01a", opened=False)
broken("level_of_mqtt_3_1", b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a", opened=False)
broken("wrong_protocol_name", b"\x10\x0d\x00\x04MQTX\x04\x02\x00\x3c\x00\x01a", opened=False)
broken(
    "reserved_connect_flag",
    b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01a",
    b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x01a",
    opened=False,
)
broken(
    "will_of_qos_3",
    b"\x10\x12\x00\x04MQTT\x04\x1e\x00\x3c\x00\x01a\x00\x01w\x00\x00",
    b"\x10\x14\x00\x04MQTT\x05\x1e\x00\x3c\x00\x00\x01a\x00\x00\x01w\x00\x00",
    opened=False,
)
broken(
    "will_qos_without_will",
    b"\x10\x0d\x00\x04MQTT\x04\x0a\x00\x3c\x00\x01a",
    b"\x10\x0e\x00\x04MQTT\x05\x0a\x00\x3c\x00\x00\x01a",
    opened=False,
)
broken("receive_maximum_0", b"", b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x03\x21\x00\x00\x00\x01a", opened=False)


@into(FIVE)
def subscription_options(n):
    rap = {"retain_as_published": True}
    never, new = RetainHandling.SEND_NEVER, RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS
    return [
        ("a", n.connect("a")),
        ("a", n.publish("x", b"kept", retain=True)),
        ("b", n.connect("b")),
        ("b", n.subscribe("x", retain_handling=never, **rap)),
        ("b", n.subscribe("x", retain_handling=new)),
        ("b", n.unsubscribe("x")),
        ("b", n.subscribe("x", retain_handling=new, **rap)),
        ("a", n.publish("x", b"live", retain=True)),
        ("b", n.subscribe("x", no_local=True)),
        ("b", n.publish("x", b"own")),
        ("a", n.publish("x", b"", retain=True)),
    ]


@into(FIVE)
def subscription_ids(n):
    one = SubscribePacket(1, [TopicFilter(n.t("x"), retain_as_published=False)], subscription_id=1)
    two = SubscribePacket(2, [TopicFilter(n.t("+"), retain_as_published=False)], subscription_id=268_435_455)
    return [
        ("b", n.connect("b")),
        ("b", one),
        ("a", n.connect("a")),
        ("a", n.publish("x")),
        ("b", UnsubscribePacket(3, [n.t("x")])),
        ("b", two),
        ("a", n.publish("x")),
    ]


@into(FIVE)
def properties_pass(n):
    given = {
        "payload_format_indicator": 1,
        "message_expiry_interval": 1000,
        "content_type": "text/plain",
        "response_topic": n.t("answer"),
        "correlation_data": b"\x00",
        "user_properties": [("k", "v"), ("k", "")],
    }
    return [
        ("b", n.connect("b")),
        ("b", n.subscribe("x")),
        ("a", n.connect("a")),
        ("a", n.publish("x", **given)),
        ("a", n.publish("x", qos=1, packet_id=1, **given)),
    ]


@into(FIVE)
def leaving(n):
    will = Will(n.t("w"), payload=b"gone")
    return [
        ("b", n.connect("b")),
        ("b", n.subscribe("w")),
        ("a", n.connect("a", will=will)),
        ("a", DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE)),
        ("a", n.connect("a", will=will)),
        ("a", DisconnectPacket(session_expiry_interval=5)),
        ("a", n.connect("a", clean=False, will=will)),
        ("a", DisconnectPacket(session_expiry_interval=0)),
        ("a", n.connect("a", clean=False)),
    ]


@into(FIVE)
def aliases(n):
    return [
        ("a", n.connect("a")),
        ("a", n.publish("x", topic_alias=65535)),
        ("b", n.connect("b")),
        ("b", PublishPacket("", b"x", topic_alias=1)),
    ]


@into(FIVE)
def authentication_methods(n):
    return [("a", n.connect("a", authentication_method="SCRAM"))]


@into(FIVE)
def no_local_and_shared(n):
    topic = TopicFilter(f"$share/g/{n.t('x')}", no_local=True, retain_as_published=False)
    return [("a", n.connect("a")), ("a", SubscribePacket(1, [topic]))]


@into(FIVE)
def too_small_a_packet_limit(n):
    return [
        ("b", n.connect("b", max_packet_size=60)),
        ("b", n.subscribe("x")),
        ("a", n.connect("a")),
        ("a", n.publish("x", b"y" * 100, qos=1, packet_id=1)),
        ("a", n.publish("x", b"short", qos=1, packet_id=2)),
    ]


SCRIPTS: dict[str, tuple[int, Build]] = {
    **{f"{name}, 3.1.1": (4, build) for name, build in (BOTH | THREE).items()},
    **{f"{name}, 5": (5, build) for name, build in (BOTH | FIVE).items()},
}

ALONE = {name for name in SCRIPTS if name.startswith(("dollar_topics", "subscribing"))}
"""Scripts that subscribe everything, so that others would see it in their answers."""

Transcript = dict[tuple[int, str], tuple[str, ...]]
"""What each connection heard after each step, by step number and name."""


class Player:
    """Plays one script on one site."""

    def __init__(self, site, level: int, names: Names, quiet: float) -> None:
        self._site, self._level, self._names, self._quiet = site, level, names, quiet
        self._wires: dict[str, Wire] = {}
        self._greeted: set[str] = set()
        self._ids: dict[str, dict[int, int]] = {}

    def play(self, steps: list[tuple]) -> Transcript:
        """Play all steps and write down the answers."""
        heard = {}
        try:
            for number, (who, *packets) in enumerate(steps):
                self._act(who, packets)
                for name in sorted(self._wires):
                    lines = self._listen(name)
                    if lines:
                        heard[number, name] = tuple(lines)
        finally:
            for wire in self._wires.values():
                wire.close()
        return heard

    def _act(self, who, packets):
        if packets == [CUT]:
            self._greeted.discard(who)
            self._wires.pop(who).close(reset=True)
            time.sleep(self._quiet)
            return
        if who not in self._wires:
            self._wires[who] = Wire(self._site, self._level)
        with contextlib.suppress(OSError):
            self._wires[who].send(*packets)

    def _listen(self, name):
        wire, lines = self._wires[name], []
        try:
            if name in self._greeted:
                wire.send(mqtt5.PingReqPacket())
            pinged = name in self._greeted
            until = time.monotonic() + (3.0 if pinged else self._quiet * 5)
            while (packet := self._next(wire, until)) is not None:
                until = (
                    time.monotonic() + self._quiet if not pinged or isinstance(packet, mqtt5.PingRespPacket) else until
                )
                pinged = pinged and not isinstance(packet, mqtt5.PingRespPacket)
                if isinstance(packet, mqtt5.ConnAckPacket) and packet.reason_code.value == 0:
                    self._greeted.add(name)
                if self._counts(packet):
                    lines.append(self._line(name, packet))
        except (Closed, OSError):
            lines.append("closed")
        except (MalformedPacket, ProtocolViolation, ValueError) as error:
            lines.append(f"wrong bytes: {error}")
        if lines and lines[-1] == "closed":
            self._greeted.discard(name)
            self._wires.pop(name).close()
        return sorted(lines, key=_rank)

    def _counts(self, packet) -> bool:
        """Leave out the answers to our own pings, and what comes of other runs."""
        foreign = isinstance(packet, mqtt5.PublishPacket) and self._names.prefix not in packet.topic
        return not foreign and not isinstance(packet, mqtt5.PingRespPacket)

    def _next(self, wire, until):
        while (found := wire._parse()) is None:
            left = until - time.monotonic()
            if left <= 0 or not select.select([wire.socket], [], [], left)[0]:
                return None
            data = wire.socket.recv(65536)
            if not data:
                raise Closed
            wire._buffer += data
        packet, size = found
        wire._buffer = wire._buffer[size:]
        return packet

    def _line(self, name, packet) -> str:
        """Write one packet as a line."""
        text = type(packet).__name__.removesuffix("Packet").upper()
        match packet:
            case mqtt5.ConnAckPacket():
                text += f" {packet.reason_code.name}{' present' * packet.session_present}"
                text += " assigned" * (packet.assigned_client_id is not None)
            case mqtt5.PublishPacket():
                text += f" {packet.topic!r} {packet.payload[:40]!r} q{packet.qos.value}"
                text += " retain" * packet.retain + " dup" * packet.duplicate
                text += f" #{self._number(name, packet.packet_id)}" if packet.packet_id else ""
                text += self._properties(packet)
            case mqtt5.SubAckPacket() | mqtt5.UnsubAckPacket():
                text += f" {packet.packet_id}: {' '.join(code.name for code in packet.reason_codes)}"
            case mqtt5.PubAckPacket() | mqtt5.PubRecPacket() | mqtt5.PubCompPacket() | mqtt5.PubRelPacket():
                text += f" {packet.packet_id} {packet.reason_code.name}"
            case mqtt5.DisconnectPacket():
                text += f" {packet.reason_code.name}"
        return text.replace(self._names.prefix, "T").strip().rstrip(":")

    def _properties(self, packet) -> str:
        fields = ("payload_format_indicator", "message_expiry_interval", "content_type", "response_topic")
        fields += ("correlation_data", "subscription_ids", "user_properties")
        given = {field: getattr(packet, field) for field in fields if getattr(packet, field)}
        return f" {given}" if given else ""

    def _number(self, name, packet_id):
        seen = self._ids.setdefault(name, {})
        return seen.setdefault(packet_id, len(seen) + 1)


def _rank(line: str) -> tuple[bool, str]:
    """Order the lines of one step by kind: nothing says whether an answer or a message comes first."""
    return line == "closed", line.split(" ", 1)[0]


def transcribe(site) -> dict[str, Transcript]:
    """Play all scripts on a site, side by side where they cannot see each other."""
    beside = sorted(SCRIPTS.keys() - ALONE)
    with ThreadPoolExecutor(8) as pool:
        played = dict(zip(beside, pool.map(lambda name: play(site, name), beside), strict=True))
    return played | {name: play(site, name) for name in sorted(ALONE)}


def play(site, name: str, quiet: float = QUIET) -> Transcript:
    """Play one script on a site; `quiet` is the silence in seconds that ends a step."""
    level, build = SCRIPTS[name]
    names = Names("t" + secrets.token_hex(4))
    return Player(site, level, names, quiet).play(build(names))


def differences(ours: Transcript, theirs: Transcript) -> dict[tuple[int, str], tuple[str, str]]:
    """List where two transcripts differ: what ours says there, and what theirs does."""
    places = sorted(ours.keys() | theirs.keys())
    pairs = {place: (_said(ours, place), _said(theirs, place)) for place in places}
    return {place: pair for place, pair in pairs.items() if pair[0] != pair[1]}


def _said(transcript: Transcript, place) -> str:
    return "; ".join(transcript.get(place, ("nothing",)))
