"""Delivery: order, qualities of service, overlapping and shared subscriptions, what `$` is."""

import mqtt5

from tests.conformance.broker.cases_sessions import numbered
from tests.conformance.broker.clients import number, payload, tool
from tests.conformance.broker.suite import case


@case()
def each_pair_of_qualities_gives_the_lower(t):
    """A message comes with the lower of its own and the subscription's QoS."""
    sender = t.connected("sender")
    for granted in (0, 1, 2):
        receiver = t.connected(f"receiver{granted}")
        assert receiver.subscribe(t.topic("a"), qos=granted) == [granted]
        for qos in (0, 1, 2):
            sender.publish(t.topic("a"), f"{qos}", qos=qos)
        got = receiver.expect(3)
        assert sorted((message.text, message.qos) for message in got) == [(f"{q}", min(q, granted)) for q in (0, 1, 2)]
        assert not any(message.retain or message.dup for message in got)


@case()
def order_holds_per_sender_and_quality(t):
    """Messages of one sender and QoS come in the order in which they were sent, beside four other senders."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("+"), qos=1)
    senders = [t.connected(f"s{i}") for i in range(5)]
    for n in range(40):
        for i, sender in enumerate(senders):
            sender.publish(t.topic(f"{i}"), payload(n), wait=False)
            sender.turn(0)
    for sender in senders:
        sender.until(lambda sender=sender: len(sender._sent) == 40, "40 answers")
    got = receiver.expect(200)
    for i in range(5):
        assert [number(message.text) for message in got if message.topic == t.topic(f"{i}")] == list(range(40))


@case()
def publish_and_subscribe_by_the_stock_tools(t):
    """mosquitto_pub and mosquitto_sub, as people paste them."""
    listener = tool("mosquitto_sub", t.site, "-i", t.name("sub"), "-t", t.topic("#"), "-q", "1", "-C", "2", "-v", "-c")
    probe = t.connected("probe")
    probe.subscribe(t.topic("#"))
    sent = 0

    def listening():
        nonlocal sent
        tool("mosquitto_pub", t.site, "-t", t.topic("a"), "-m", "hi ü", "-q", "1").wait(10)
        sent += 1
        return listener.poll() is not None

    probe.until(listening, "end of mosquitto_sub")
    assert listener.communicate()[0] == f"{t.topic('a')} hi ü\n" * 2
    assert probe.texts(sent) == ["hi ü"] * sent


@case()
def overlapping_subscriptions_deliver_once_or_once_each(t):
    """Overlapping subscriptions give one copy with the highest QoS, or one copy for each; both are allowed [3.3.5]."""
    receiver = t.connected("receiver")
    receiver.subscribe((t.topic("#"), 2), (t.topic("+"), 1))
    sender = t.connected("sender")
    sender.publish(t.topic("a"), b"x", qos=2)
    sender.publish(t.topic("b"), b"end", qos=2)
    qualities = []
    receiver.until(lambda: any(message.text == "end" for message in receiver.got), "the end")
    receiver.turn(0.1)
    qualities = [message.qos for message in receiver.got if message.text == "x"]
    assert sorted(qualities) in ([2], [1, 2])


@case()
def a_second_subscription_replaces_the_first(t):
    """Subscribing the same filter again changes its QoS and adds no copy."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"), qos=2)
    receiver.subscribe(t.topic("a"), qos=0)
    sender = t.connected("sender")
    sender.publish(t.topic("a"), b"x", qos=2)
    assert [message.qos for message in receiver.expect(1)] == [0]
    receiver.nothing()


@case()
def unsubscribe_stops_delivery(t):
    """After UNSUBACK nothing comes for that filter, and what else is subscribed still does."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"), t.topic("b"))
    receiver.unsubscribe(t.topic("a"), t.topic("never"))
    sender = t.connected("sender")
    sender.publish(t.topic("a"), b"no")
    sender.publish(t.topic("b"), b"yes")
    assert receiver.texts(1) == ["yes"]
    receiver.nothing()


@case()
def filters_match_as_the_standard_says(t):
    """`+` is one level, `#` any number and its parent; levels may be empty; letters' case and spaces matter."""
    table = {
        "a/+": {"a/b", "a/"},
        "a/#": {"a", "a/b", "a/b/c", "a/"},
        "+/b": {"a/b", "A/b"},
        "a/+/c": {"a/b/c"},
        "#": {"a", "a/b", "a/b/c", "a/", "A/b", "a b"},
        "a b": {"a b"},
        "+": {"a", "a b"},
    }
    receivers = {}
    for i, pattern in enumerate(table):
        receivers[pattern] = t.connected(f"r{i}")
        receivers[pattern].subscribe(t.topic(pattern))
    sender = t.connected("sender")
    for topic in ("a", "a/b", "a/b/c", "a/", "A/b", "a b"):
        sender.publish(t.topic(topic), topic.encode())
    for pattern, topics in table.items():
        assert set(receivers[pattern].texts(len(topics))) == topics, pattern
        receivers[pattern].nothing(0.05)


@case()
def dollar_topics_are_outside_of_wildcards(t):
    """`#` and `+/…` do not match topics that begin with `$` [4.7.2-1], and a client cannot write under `$SYS`."""
    receiver = t.connected("receiver")
    receiver.subscribe("#", f"+/{t.prefix}/x")
    spy = t.connected("spy")
    spy.subscribe(f"$SYS/{t.prefix}/x")
    sender = t.connected("sender")
    sender.publish(f"$SYS/{t.prefix}/x", b"forged", qos=0)
    sender = t.connected("sender2")
    sender.publish(t.topic("x"), b"end")
    receiver.until(lambda: any(m.topic == t.topic("x") for m in receiver.got), "the end")
    assert not [m for m in receiver.got if m.topic.startswith("$")]
    spy.nothing()


@case()
def a_sender_hears_itself(t):
    """Who publishes to a topic that it has subscribed gets its own message."""
    both = t.connected("both")
    both.subscribe(t.topic("a"))
    both.publish(t.topic("a"), b"echo")
    assert both.texts(1) == ["echo"]


@case()
def bytes_pass_unchanged(t):
    """Any payload arrives as it was sent: empty, binary, and nearly as long as a packet may be."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"))
    sender = t.connected("sender")
    longest = t.site.limits.packet_bytes - len(t.topic("a")) - 16
    payloads = [b"", b"\x00\xff\x00", bytes(range(256)) * 4, b"x" * longest]
    for one in payloads:
        sender.publish(t.topic("a"), one)
    assert [message.payload for message in receiver.expect(4)] == payloads


@case()
def topics_in_any_script_pass(t):
    """Topics are UTF-8: umlauts, emoji, a byte order mark and 1,000 bytes of length."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("#"))
    sender = t.connected("sender")
    topics = [t.topic("ü/ß"), t.topic("😀"), t.topic("\ufeffa"), t.topic("x" * 1000)]
    for topic in topics:
        sender.publish(topic, b"")
    assert [message.topic for message in receiver.expect(4)] == topics


@case()
def one_message_goes_to_many(t):
    """Fifty subscribers get one publish once each."""
    receivers = [t.connected(f"r{i}") for i in range(50)]
    for receiver in receivers:
        receiver.subscribe(t.topic("a"))
    t.connected("sender").publish(t.topic("a"), b"x")
    for receiver in receivers:
        assert receiver.texts(1) == ["x"]


@case("shared")
def a_shared_subscription_gives_each_message_to_one(t):
    """Members of a `$share` group get each message once between them, and others beside the group get all."""
    members = [t.connected(f"m{i}") for i in range(3)]
    for member in members:
        assert member.subscribe(f"$share/g{t.prefix}/{t.topic('#')}") == [1]
    beside = t.connected("beside")
    beside.subscribe(t.topic("#"))
    numbered(t.connected("sender"), t.topic("a"), 0, 30)
    assert [number(text) for text in beside.texts(30)] == list(range(30))
    got = []

    def gather():
        for member in members:
            member.turn(0)
        return sum(len(member.got) for member in members) >= 30

    beside.until(gather, "30 messages in the group")
    for member in members:
        got += [number(message.text) for message in member.got]
        member.got.clear()
        member.nothing(0.05)
    assert sorted(got) == list(range(30))


@case("shared")
def a_shared_subscription_goes_on_without_a_member(t):
    """When a member leaves, the others get what follows; two groups each get everything."""
    first, second = t.connected("first"), t.connected("second")
    other = t.connected("other")
    for member in (first, second):
        member.subscribe(f"$share/g{t.prefix}/{t.topic('a')}")
    other.subscribe(f"$share/h{t.prefix}/{t.topic('a')}")
    first.disconnect()
    numbered(t.connected("sender"), t.topic("a"), 0, 10)
    assert sorted(number(text) for text in second.texts(10)) == list(range(10))
    assert sorted(number(text) for text in other.texts(10)) == list(range(10))


@case()
def acknowledgements_come_in_the_order_of_publishing(t):
    """PUBACKs come in the order in which the PUBLISH packets were received [4.6.0-2]."""
    wire = t.wire("sender")
    ids = [9, 3, 7, 1, 65535]
    wire.send(*(mqtt5.PublishPacket(t.topic("a"), b"", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=one) for one in ids))
    assert [wire.expect(mqtt5.PubAckPacket).packet_id for _ in ids] == ids


@case()
def a_cut_in_the_middle_of_a_packet_delivers_nothing_of_it(t):
    """Half a PUBLISH is no message; whole ones before it are."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"))
    wire = t.wire("sender")
    whole = wire._written(mqtt5.PublishPacket(t.topic("a"), b"whole", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1))
    half = wire._written(mqtt5.PublishPacket(t.topic("a"), b"half" * 9, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=2))
    wire.send(whole, half[:-5])
    wire.expect(mqtt5.PubAckPacket)
    wire.close(reset=True)
    assert receiver.texts(1) == ["whole"]
    receiver.nothing()


@case()
def packets_in_pieces_and_in_heaps_are_the_same(t):
    """A packet may come byte by byte, and a hundred in one piece."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"))
    wire = t.wire("sender")
    slowly = wire._written(mqtt5.PublishPacket(t.topic("a"), payload(0).encode()))
    for byte in slowly:
        wire.send(bytes((byte,)))
    wire.send(*(mqtt5.PublishPacket(t.topic("a"), payload(n).encode()) for n in range(1, 100)))
    assert [number(text) for text in receiver.texts(100)] == list(range(100))
