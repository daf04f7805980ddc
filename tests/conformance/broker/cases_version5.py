"""What MQTT 5 adds, after the Eclipse Paho interoperability tests' list of subjects."""

import time

import mqtt5

from tests.conformance.broker.cases_sessions import numbered
from tests.conformance.broker.clients import Wire, number
from tests.conformance.broker.suite import case

FOR_EVER = 0xFFFF_FFFF


@case("mqtt5")
def version_5_talks_with_version_3(t):
    """A message passes between the versions, both ways, and payloads stay."""
    old, new = t.connected("old"), t.connected("new", v5=True)
    old.subscribe(t.topic("to-old"))
    new.subscribe(t.topic("to-new"))
    new.publish(t.topic("to-old"), b"new says", ContentType="text/plain", UserProperty=[("k", "v")])
    old.publish(t.topic("to-new"), b"old says")
    assert old.texts(1) == ["new says"]
    assert new.texts(1) == ["old says"]


@case("mqtt5")
def a_session_expires_after_its_interval(t):
    """A session is kept for its expiry interval after the connection's end, and no longer."""
    first = t.connected("c", v5=True, expiry=1)
    first.subscribe(t.topic("a"))
    first.disconnect()
    assert t.connected("c", v5=True, clean=False, expiry=1).present
    t.peer("x")
    again = t.connected("c", v5=True, clean=False, expiry=1)
    again.disconnect()
    time.sleep(2.5)
    late = t.connected("c", v5=True, clean=False, expiry=1)
    assert not late.present


@case("mqtt5")
def a_session_without_expiry_ends_with_the_connection(t):
    """Without an expiry interval the session is gone, clean start or not."""
    first = t.connected("c", v5=True, clean=False)
    first.subscribe(t.topic("a"))
    first.disconnect()
    assert not t.connected("c", v5=True, clean=False).present


@case("mqtt5")
def disconnect_may_change_the_expiry(t):
    """DISCONNECT with an expiry interval sets it anew; from zero it must not be raised [3.14.2.2.2]."""
    first = t.connected("c", v5=True, expiry=100)
    first.disconnect(SessionExpiryInterval=0)
    assert not t.connected("c", v5=True, clean=False, expiry=100).present
    wire = t.wire("d", level=5)
    wire.send(mqtt5.DisconnectPacket(session_expiry_interval=5))
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            packet = wire.receive()
        except Exception:  # the end of the connection is what counts
            break
        assert isinstance(packet, mqtt5.DisconnectPacket)
    assert not t.connected("d", v5=True, clean=False, expiry=100).present


@case("mqtt5")
def clean_start_deletes_the_session(t):
    """Clean start begins anew although the session would have stayed; its expiry counts from then."""
    first = t.connected("c", v5=True, expiry=FOR_EVER)
    first.subscribe(t.topic("a"))
    first.disconnect()
    second = t.connected("c", v5=True, expiry=FOR_EVER)
    assert not second.present
    second.publish(t.topic("a"), b"x")
    second.nothing()
    second.disconnect()
    assert t.connected("c", v5=True, clean=False, expiry=FOR_EVER).present


@case("mqtt5")
def queued_messages_keep_their_properties(t):
    """Request and response: topic, correlation data, content type and user properties arrive unchanged, also queued."""
    receiver = t.connected("receiver", v5=True, expiry=FOR_EVER)
    receiver.subscribe(t.topic("ask"))
    sender = t.connected("sender", v5=True)
    sent = {
        "ResponseTopic": t.topic("answer"),
        "CorrelationData": b"\x00\x01",
        "ContentType": "text/plain",
        "PayloadFormatIndicator": 1,
        "UserProperty": [("k", "1"), ("k", "2"), ("ü", "")],
    }
    sender.publish(t.topic("ask"), b"live", **sent)
    receiver.expect(1)
    receiver.disconnect()
    sender.publish(t.topic("ask"), b"queued", **sent)
    back = t.connected("receiver", v5=True, clean=False, expiry=FOR_EVER)
    given = back.expect(1)[0].properties
    assert (given.ResponseTopic, given.CorrelationData, given.ContentType) == (
        t.topic("answer"),
        b"\x00\x01",
        "text/plain",
    )
    assert given.UserProperty == [("k", "1"), ("k", "2"), ("ü", "")]
    assert given.PayloadFormatIndicator == 1


@case("mqtt5")
def the_receive_maximum_of_a_client_is_kept(t):
    """The broker sends no more unacknowledged QoS 1 and 2 messages than the client's receive maximum."""
    receiver = t.connected("receiver", v5=True, receive_maximum=3, manual=True)
    receiver.subscribe(t.topic("a"))
    numbered(t.connected("sender"), t.topic("a"), 0, 8)
    first = receiver.expect(3)
    receiver.nothing()
    receiver.ack(first[0])
    more = receiver.expect(1)
    assert [number(message.text) for message in first + more] == [0, 1, 2, 3]
    receiver.nothing()


@case("mqtt5")
def the_maximum_packet_size_of_a_client_is_kept(t):
    """A message that is longer than the client takes is not sent to it; the next one is."""
    wire = t.wire("receiver", level=5, max_packet_size=100)
    wire.subscribe(t.topic("a"))
    sender = t.connected("sender")
    sender.publish(t.topic("a"), b"x" * 200)
    sender.publish(t.topic("a"), b"short")
    assert wire.expect(mqtt5.PublishPacket).payload == b"short"


@case("mqtt5")
def no_local_keeps_ones_own_away(t):
    """A subscription with no local does not get what its own client publishes."""
    both = t.connected("both", v5=True)
    both.subscribe(t.topic("a"), noLocal=True)
    both.publish(t.topic("a"), b"own")
    t.connected("other").publish(t.topic("a"), b"other's")
    assert both.texts(1) == ["other's"]
    both.nothing()


@case("mqtt5", "retained")
def retain_handling_is_obeyed(t):
    """0 sends retained messages at every SUBSCRIBE, 1 at a new subscription only, 2 never."""
    t.connected("keeper").publish(t.topic("a"), b"kept", retain=True)
    for handling, expected in ((0, 2), (1, 1), (2, 0)):
        receiver = t.connected(f"r{handling}", v5=True)
        for _ in range(2):
            receiver.subscribe(t.topic("a"), retainHandling=handling)
        assert receiver.texts(expected) == ["kept"] * expected
        receiver.nothing()


@case("mqtt5", "retained")
def retain_as_published_is_obeyed(t):
    """A forwarded message keeps its retain flag for who asked so, and loses it for others."""
    kept, lost = t.connected("kept", v5=True), t.connected("lost", v5=True)
    kept.subscribe(t.topic("a"), retainAsPublished=True)
    lost.subscribe(t.topic("a"), retainAsPublished=False)
    t.connected("sender").publish(t.topic("a"), b"x", retain=True)
    assert [message.retain for message in kept.expect(1)] == [True]
    assert [message.retain for message in lost.expect(1)] == [False]


@case("mqtt5", "subscription-ids")
def subscription_ids_come_with_the_message(t):
    """A message says by which subscriptions it came, by their ids, in one copy or in one for each."""
    receiver = t.connected("receiver", v5=True)
    receiver.subscribe(t.topic("#"), identifier=7)
    receiver.subscribe(t.topic("+"), identifier=268_435_455)
    t.connected("sender").publish(t.topic("a"), b"x")
    ids = []

    def complete():
        ids[:] = [one for message in receiver.got for one in message.properties.SubscriptionIdentifier]
        return len(ids) >= 2

    receiver.until(complete, "both ids")
    assert sorted(ids) == [7, 268_435_455]


@case("mqtt5")
def the_servers_keepalive_counts(t):
    """Where the broker answers with a keepalive of its own it is that one which is enforced, and never a longer one
    than was asked for."""
    wire = Wire(t.site, 5)
    given = wire.connect(t.name("c"), keep_alive=1).server_keep_alive
    assert given is None or given <= 1
    assert wire.is_closed()


@case("mqtt5")
def a_message_expires(t):
    """A message that waits longer than its expiry interval is not delivered; one that waits less tells what is left."""
    receiver = t.connected("receiver", v5=True, expiry=FOR_EVER)
    receiver.subscribe(t.topic("a"))
    receiver.disconnect()
    sender = t.connected("sender", v5=True)
    sender.publish(t.topic("a"), b"short", MessageExpiryInterval=1)
    sender.publish(t.topic("a"), b"long", MessageExpiryInterval=100)
    time.sleep(2.2)
    back = t.connected("receiver", v5=True, clean=False, expiry=FOR_EVER)
    [message] = back.expect(1)
    assert message.text == "long"
    assert 90 <= message.properties.MessageExpiryInterval <= 99
    back.nothing()


@case("mqtt5")
def a_will_is_delayed(t):
    """A will with a delay is sent after it; a return within it takes the will back."""
    watcher = t.connected("watcher")
    watcher.subscribe(t.topic("will"))
    will = mqtt5.Will(t.topic("will"), payload=b"gone", qos=mqtt5.QoS.AT_LEAST_ONCE, will_delay_interval=2)
    for word in ("returns", "stays-away"):
        t.wire(word, level=5, will=will, session_expiry_interval=60).close(reset=True)
    watcher.nothing(0.5)
    t.wire("returns", level=5, clean_start=False, session_expiry_interval=60)
    assert watcher.texts(1) == ["gone"]
    watcher.nothing()


@case("mqtt5")
def a_delayed_will_is_sent_at_the_sessions_end(t):
    """The session's end comes before the delay's: the will is sent then [3.1.3.2.2]."""
    watcher = t.connected("watcher")
    watcher.subscribe(t.topic("will"))
    will = mqtt5.Will(t.topic("will"), payload=b"gone", will_delay_interval=600)
    t.wire("c", level=5, will=will, session_expiry_interval=0).close(reset=True)
    assert watcher.texts(1) == ["gone"]


@case("mqtt5")
def disconnect_with_will_sends_it(t):
    """DISCONNECT with reason 4 leaves, and has the will sent."""
    watcher = t.connected("watcher")
    watcher.subscribe(t.topic("will"))
    wire = t.wire("c", level=5, will=mqtt5.Will(t.topic("will"), payload=b"gone"))
    wire.send(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE))
    assert watcher.texts(1) == ["gone"]


@case("mqtt5")
def a_take_over_says_so(t):
    """The older connection is told: DISCONNECT with "session taken over"."""
    first = t.wire("c", level=5)
    t.wire("c", level=5)
    packet = first.expect(mqtt5.DisconnectPacket)
    assert packet.reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
    assert first.is_closed()


@case("mqtt5")
def an_empty_client_id_is_told_the_assigned_one(t):
    """A client without an id is told the one that it was given, and may come back under it."""
    wire = Wire(t.site, 5)
    answer = wire.connect("", session_expiry_interval=60)
    assert answer.reason_code.value == 0
    assert answer.assigned_client_id
    wire.send(mqtt5.DisconnectPacket())
    again = Wire(t.site, 5).connect(answer.assigned_client_id, clean_start=False)
    assert again.session_present


@case("mqtt5")
def unsubscribe_tells_what_there_was(t):
    """UNSUBACK has a code for each filter: removed, or was not there."""
    peer = t.connected("c", v5=True)
    peer.subscribe(t.topic("a"))
    assert peer.unsubscribe(t.topic("a"), t.topic("b")) == [0, 17]


@case("mqtt5")
def topic_aliases_work_or_are_refused(t):
    """An alias within the broker's maximum stands for its topic; one beyond it ends the connection."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"))
    wire = Wire(t.site, 5)
    most = wire.connect(t.name("sender")).topic_alias_max
    if most:
        wire.send(mqtt5.PublishPacket(t.topic("a"), b"named", topic_alias=1))
        wire.send(mqtt5.PublishPacket("", b"aliased", topic_alias=1))
        assert receiver.texts(2) == ["named", "aliased"]
    wire.send(mqtt5.PublishPacket(t.topic("a"), b"beyond", topic_alias=most + 1))
    assert wire.is_closed()
    receiver.nothing()


@case("mqtt5")
def aliases_end_with_the_connection(t):
    """An alias that was not set on this connection stands for nothing: the connection ends."""
    wire = t.wire("c", level=5)
    wire.send(mqtt5.PublishPacket("", b"x", topic_alias=1))
    assert wire.is_closed()


@case("mqtt5")
def more_than_the_servers_receive_maximum_is_refused(t):
    """A client that sends more unanswered QoS 2 messages than the broker takes is disconnected."""
    wire = Wire(t.site, 5)
    most = wire.connect(t.name("c")).receive_max
    if most == 65535:
        return
    for one in range(1, most + 2):
        wire.send(mqtt5.PublishPacket(t.topic("a"), b"", qos=mqtt5.QoS.EXACTLY_ONCE, packet_id=one))
    assert wire.is_closed()


@case("mqtt5")
def a_wrong_password_has_its_reason(t):
    """A refused CONNECT of version 5 is answered in version 5."""
    wire = t.wire(level=5)
    answer = wire.connect(t.name("c"), password="bad")
    assert answer.reason_code.name in ("BAD_USER_NAME_OR_PASSWORD", "NOT_AUTHORIZED")
    assert wire.is_closed()


@case("mqtt5", "shared")
def no_local_on_a_shared_subscription_is_refused(t):
    """No local with `$share` is a fault of protocol [3.8.3-4]."""
    wire = t.wire("c", level=5)
    topic = mqtt5.TopicFilter(f"$share/g/{t.topic('a')}", no_local=True)
    wire.send(mqtt5.SubscribePacket(1, [topic]))
    assert wire.is_closed()


@case("mqtt5")
def malformed_packets_of_version_5_end_the_connection(t):
    """The rules of bytes hold in version 5 as well."""
    wrong = {
        "null": b"\x30\x05\x00\x01\x00\x00x",
        "dup0": b"\x38\x05\x00\x01a\x00x",
        "id0": b"\x82\x07\x00\x00\x00\x00\x01a\x00",
        "empty-filter": b"\x82\x06\x00\x01\x00\x00\x00\x00",
        "subscription-id": b"\x30\x06\x00\x01a\x02\x0b\x05",
        "reserved-options": b"\x82\x07\x00\x01\x00\x00\x01a\xc0",
        "unknown-property": b"\x30\x06\x00\x01a\x02\x7f\x05",
        "auth": b"\xf0\x00",
    }
    kept = []
    for name, raw in wrong.items():
        wire = t.wire(name, level=5)
        wire.send(raw)
        if not wire.is_closed():
            kept.append(name)
    assert kept == []


@case("mqtt5")
def pubrec_of_an_unknown_id_is_answered(t):
    """PUBREL for an id that is not there is answered by PUBCOMP, in both versions."""
    for level in (4, 5):
        wire = t.wire(f"c{level}", level=level)
        wire.send(mqtt5.PubRelPacket(77))
        assert wire.expect(mqtt5.PubCompPacket).packet_id == 77
