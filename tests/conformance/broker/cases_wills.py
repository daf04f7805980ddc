"""Wills: when they are sent, when they are not, and that nobody has them sent for another."""

import mqtt5

from tests.conformance.broker.suite import case


def will(t, **fields):
    """A will of this run."""
    return {"topic": t.topic("will"), "payload": b"gone", "qos": 1, **fields}


def watcher(t, **options):
    """Somebody who sees the wills of this run."""
    peer = t.connected("watcher", **options)
    peer.subscribe(t.topic("will"))
    return peer


@case()
def a_will_is_sent_when_the_client_is_cut_off(t):
    """A reset of the connection sends the will, once."""
    seen = watcher(t)
    t.connected("c", will=will(t)).cut()
    got = seen.expect(1)
    assert [(message.text, message.qos, message.retain) for message in got] == [("gone", 1, False)]
    seen.nothing()


@case()
def a_will_is_sent_when_the_connection_ends_without_disconnect(t):
    """An orderly end of the socket without DISCONNECT sends the will too."""
    seen = watcher(t)
    wire = t.wire("c", will=mqtt5.Will(t.topic("will"), payload=b"gone"))
    wire.close()
    assert seen.texts(1) == ["gone"]


@case()
def a_will_is_not_sent_after_disconnect(t):
    """DISCONNECT takes the will back, even when the socket is then reset."""
    seen = watcher(t)
    t.connected("c", will=will(t)).disconnect()
    wire = t.wire("d", will=mqtt5.Will(t.topic("will"), payload=b"gone"))
    wire.send(mqtt5.DisconnectPacket())
    assert wire.is_closed()
    seen.nothing()


@case()
def a_will_is_sent_for_breaking_the_protocol(t):
    """The broker closes a connection for a fault: the will is sent."""
    seen = watcher(t)
    wire = t.wire("c", will=mqtt5.Will(t.topic("will"), payload=b"gone"))
    wire.send(b"\x00\x00")
    assert wire.is_closed()
    assert seen.texts(1) == ["gone"]


@case()
def a_will_is_sent_when_keepalive_runs_out(t):
    """A silent client is cut after one and a half keepalives, and its will is sent."""
    seen = watcher(t)
    t.wire("c", keep_alive=1, will=mqtt5.Will(t.topic("will"), payload=b"gone"))
    assert [message.text for message in seen.expect(1)] == ["gone"]


@case()
def a_will_is_sent_when_the_client_is_kicked(t):
    """Who is disconnected by the server did not say goodbye: the will is sent."""
    seen = watcher(t)
    victim = t.connected("c", will=will(t))
    t.site.kick(victim.client_id)
    assert seen.texts(1) == ["gone"]


@case()
def a_retained_will_is_kept(t):
    """A will with retain is sent, and kept for who subscribes later."""
    seen = watcher(t)
    t.connected("c", will=will(t, retain=True)).cut()
    seen.expect(1)
    late = t.connected("late")
    late.subscribe(t.topic("will"))
    assert [(message.text, message.retain) for message in late.expect(1)] == [("gone", True)]
    late.publish(t.topic("will"), b"", retain=True)


@case()
def each_connection_has_its_own_will(t):
    """A will belongs to a connection: a later one without a will sends none, a later one with another sends that."""
    seen = watcher(t)
    t.connected("c", clean=False, will=will(t, payload=b"first")).disconnect()
    t.connected("c", clean=False).cut()
    seen.nothing()
    t.connected("c", clean=False, will=will(t, payload=b"third")).cut()
    assert seen.texts(1) == ["third"]


@case()
def a_will_comes_to_who_was_away(t):
    """A QoS 1 will is queued like any other message."""
    watcher(t, clean=False).disconnect()
    t.connected("c", will=will(t)).cut()
    back = t.connected("watcher", clean=False)
    assert back.texts(1) == ["gone"]


@case()
def an_empty_will_is_sent(t):
    """A will without bytes is a message without bytes."""
    seen = watcher(t)
    wire = t.wire("c", will=mqtt5.Will(t.topic("will"), payload=b"", qos=mqtt5.QoS.AT_LEAST_ONCE))
    wire.close(reset=True)
    assert seen.texts(1) == [""]
