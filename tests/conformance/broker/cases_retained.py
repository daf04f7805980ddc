"""Retained messages."""

from tests.conformance.broker.suite import case


def keep(t, **topics):
    """Leave retained messages."""
    sender = t.connected("keeper")
    for name, text in topics.items():
        sender.publish(t.topic(name), text, retain=True)
    return sender


@case("retained")
def a_retained_message_comes_at_subscription(t):
    """Who subscribes gets the last retained message of each matching topic, marked as retained."""
    sender = keep(t, a="old", b="other")
    sender.publish(t.topic("a"), b"new", retain=True)
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("+"))
    got = receiver.expect(2)
    assert sorted((message.text, message.retain) for message in got) == [("new", True), ("other", True)]
    receiver.nothing()


@case("retained")
def a_retained_message_is_live_for_who_has_subscribed(t):
    """Who had subscribed before gets it without the mark [3.3.1-9]."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"))
    keep(t, a="now")
    assert [(message.text, message.retain) for message in receiver.expect(1)] == [("now", False)]


@case("retained")
def an_empty_retained_message_deletes(t):
    """An empty retained message is delivered, and takes the kept one away [3.3.1-10]."""
    sender = keep(t, a="kept")
    early = t.connected("early")
    early.subscribe(t.topic("a"))
    assert early.texts(1) == ["kept"]
    sender.publish(t.topic("a"), b"", retain=True)
    assert early.texts(1) == [""]
    late = t.connected("late")
    late.subscribe(t.topic("a"))
    late.nothing()


@case("retained")
def a_plain_message_leaves_the_retained_one(t):
    """A message without the flag neither replaces nor deletes the kept one [3.3.1-12]."""
    sender = keep(t, a="kept")
    sender.publish(t.topic("a"), b"passing")
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"))
    assert receiver.texts(1) == ["kept"]


@case("retained")
def retained_quality_is_the_lower(t):
    """A retained message of QoS 2 comes with the subscription's QoS."""
    t.connected("keeper").publish(t.topic("a"), b"x", qos=2, retain=True)
    for qos in (0, 1, 2):
        receiver = t.connected(f"r{qos}")
        receiver.subscribe(t.topic("a"), qos=qos)
        assert [message.qos for message in receiver.expect(1)] == [qos]


@case("retained")
def each_subscribe_sends_retained_messages_again(t):
    """Subscribing the same filter again sends the kept message again [3.8.4-3]."""
    keep(t, a="kept")
    receiver = t.connected("receiver")
    for _ in range(2):
        receiver.subscribe(t.topic("a"))
        assert receiver.texts(1) == ["kept"]


@case("retained", "durable", own=True)
def retained_messages_survive_a_restart(t):
    """They are kept over a restart of the broker."""
    keep(t, a="kept", b="other").publish(t.topic("b"), b"", retain=True)
    t.site.restart()
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("#"))
    assert receiver.texts(1) == ["kept"]
    receiver.nothing()
