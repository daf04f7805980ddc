"""Sessions: what stays while a client is away, what comes again, who may change it."""

import threading

import mqtt5

from tests.conformance.broker.clients import Wire, number, payload
from tests.conformance.broker.suite import case


def numbered(sender, topic, first, last, *, qos=1):
    """Publish numbered messages and wait until all are answered."""
    mids = [sender.publish(topic, payload(n), qos=qos, wait=False) for n in range(first, last)]
    sender.answered(*mids)


def leave_and_miss(t, count, **options):
    """Let a receiver subscribe and leave, and send it `count` messages meanwhile. Gives the sender."""
    receiver = t.connected("receiver", clean=False, **options)
    receiver.subscribe(t.topic("#"))
    receiver.disconnect()
    sender = t.connected("sender")
    numbered(sender, t.topic("a"), 0, count)
    return sender


@case()
def a_kept_session_is_present_at_the_next_connect(t):
    """A session that was kept is there at the next connect, with its subscriptions; a clean one is not."""
    first = t.connected("c", clean=False)
    assert not first.present
    first.subscribe(t.topic("a"))
    first.disconnect()
    second = t.connected("c", clean=False)
    assert second.present
    second.publish(t.topic("a"), b"x")
    assert second.texts(1) == ["x"]
    second.disconnect()
    third = t.connected("c", clean=True)
    assert not third.present
    third.publish(t.topic("a"), b"y")
    third.nothing()


@case()
def a_clean_session_ends_with_its_connection(t):
    """What was subscribed in a clean session is gone afterwards, and nothing is queued for it."""
    t.connected("c", clean=True).subscribe(t.topic("a"))
    t.connected("c", clean=True).disconnect()
    t.connected("sender").publish(t.topic("a"), b"x")
    again = t.connected("c", clean=False)
    assert not again.present
    again.nothing()


@case()
def queued_messages_come_at_the_return_in_order(t):
    """QoS 1 messages sent while a client was away come when it is back, each once, in order."""
    leave_and_miss(t, 50)
    back = t.connected("receiver", clean=False)
    assert [number(text) for text in back.texts(50)] == list(range(50))
    back.nothing()


@case()
def queued_qos_2_messages_come_once(t):
    """QoS 2 messages sent while a client was away come exactly once, in order."""
    receiver = t.connected("receiver", clean=False)
    receiver.subscribe(t.topic("a"), qos=2)
    receiver.disconnect()
    numbered(t.connected("sender"), t.topic("a"), 0, 10, qos=2)
    back = t.connected("receiver", clean=False)
    assert [number(text) for text in back.texts(10)] == list(range(10))
    back.nothing()


@case()
def qos_0_is_not_queued_for_the_absent(t):
    """A QoS 0 message to a client that is away is not kept."""
    receiver = t.connected("receiver", clean=False)
    receiver.subscribe(t.topic("a"))
    receiver.disconnect()
    sender = t.connected("sender")
    sender.publish(t.topic("a"), b"zero", qos=0)
    sender.publish(t.topic("a"), b"one", qos=1)
    assert t.connected("receiver", clean=False).texts(1) == ["one"]


@case()
def what_is_queued_goes_to_aiomqtt_too(t):
    """The same with aiomqtt: a stock asyncio client gets its queue at its return."""
    import asyncio

    import aiomqtt

    leave_and_miss(t, 5)

    async def fetch():
        options = {"port": t.site.port, "username": "user", "password": "good", "clean_session": False}
        async with aiomqtt.Client(t.site.host, identifier=t.name("receiver"), **options) as client:
            return [number((await anext(client.messages)).payload) for _ in range(5)]

    assert asyncio.run(asyncio.wait_for(fetch(), 10)) == list(range(5))


@case()
def unacknowledged_messages_come_again_with_dup(t):
    """What was in flight at a cut comes again with DUP, before what was queued behind it, in order."""
    receiver = t.connected("receiver", clean=False, manual=True)
    receiver.subscribe(t.topic("a"))
    sender = t.connected("sender")
    numbered(sender, t.topic("a"), 0, 5)
    first = receiver.expect(5)
    assert not any(message.dup for message in first)
    receiver.cut()
    numbered(sender, t.topic("a"), 5, 8)
    back = t.connected("receiver", clean=False)
    again = back.expect(8)
    assert [number(message.text) for message in again] == list(range(8))
    assert [message.dup for message in again[:5]] == [True] * 5


@case()
def acknowledged_messages_do_not_come_again(t):
    """What was acknowledged before a cut stays away; only the rest comes again."""
    receiver = t.connected("receiver", clean=False, manual=True)
    receiver.subscribe(t.topic("a"))
    numbered(t.connected("sender"), t.topic("a"), 0, 6)
    first = receiver.expect(6)
    receiver.ack(*first[:3])
    receiver.subscribe(t.topic("marker"))
    receiver.cut()
    assert [number(message.text) for message in t.connected("receiver", clean=False).expect(3)] == [3, 4, 5]


@case()
def cuts_in_mid_drain_lose_nothing(t):
    """A client that is cut again and again while its queue drains still gets every message, the first time in order."""
    leave_and_miss(t, 60)
    seen = []
    for taken in (7, 3, 11, 1, 19):
        back = t.connected("receiver", clean=False, manual=True)
        some = back.expect(taken)
        seen += [number(message.text) for message in some]
        back.ack(*some[: taken // 2])
        back.turn()
        back.cut()
    last = t.connected("receiver", clean=False)
    while 59 not in seen:
        seen += [number(message.text) for message in last.expect(1)]
    fresh = list(dict.fromkeys(seen))
    assert fresh == list(range(60))


@case()
def a_pubrel_is_answered_after_a_reconnect(t):
    """A QoS 2 delivery that was cut between PUBREC and PUBREL goes on with PUBREL, not with the message."""
    receiver = t.wire("receiver", clean_start=False)
    receiver.subscribe(t.topic("a"), qos=2)
    t.connected("sender").publish(t.topic("a"), b"x", qos=2)
    message = receiver.expect(mqtt5.PublishPacket)
    receiver.send(mqtt5.PubRecPacket(message.packet_id))
    receiver.expect(mqtt5.PubRelPacket)
    receiver.close(reset=True)
    back = t.wire("receiver", clean_start=False)
    assert back.expect(mqtt5.PubRelPacket).packet_id == message.packet_id
    back.send(mqtt5.PubCompPacket(message.packet_id))
    back.ping()


@case()
def a_repeated_qos_2_publish_is_delivered_once(t):
    """The same QoS 2 packet id sent again before PUBREL is one message, also over a reconnect."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"), qos=2)
    publish = {"qos": mqtt5.QoS.EXACTLY_ONCE, "packet_id": 7}
    sender = t.wire("sender", clean_start=False)
    sender.send(mqtt5.PublishPacket(t.topic("a"), b"once", **publish))
    sender.expect(mqtt5.PubRecPacket)
    sender.send(mqtt5.PublishPacket(t.topic("a"), b"once", duplicate=True, **publish))
    sender.expect(mqtt5.PubRecPacket)
    sender.close(reset=True)
    back = t.wire("sender", clean_start=False)
    back.send(mqtt5.PublishPacket(t.topic("a"), b"once", duplicate=True, **publish))
    back.expect(mqtt5.PubRecPacket)
    back.send(mqtt5.PubRelPacket(7))
    back.expect(mqtt5.PubCompPacket)
    assert receiver.texts(1) == ["once"]
    receiver.nothing()


@case()
def the_newer_connection_takes_a_session_over(t):
    """A second connection under the same client id cuts the first and has its session, subscriptions and all."""
    first = t.connected("c", clean=False)
    first.subscribe(t.topic("a"))
    second = t.connected("c", clean=False)
    assert second.present
    assert first.is_cut()
    t.connected("sender").publish(t.topic("a"), b"x")
    assert second.texts(1) == ["x"]
    assert not second.lost


@case()
def a_take_over_carries_unacknowledged_messages_along(t):
    """What the first connection had not acknowledged comes to the second, with DUP."""
    first = t.connected("c", clean=False, manual=True)
    first.subscribe(t.topic("a"))
    numbered(t.connected("sender"), t.topic("a"), 0, 4)
    first.expect(4)
    second = t.connected("c", clean=False)
    again = second.expect(4)
    assert [(number(message.text), message.dup) for message in again] == [(n, True) for n in range(4)]


@case()
def a_wrong_password_changes_no_session(t):
    """A CONNECT with a wrong password neither cuts the owner of the client id, nor cleans its session, nor has its
    will sent."""
    watcher = t.connected("watcher")
    watcher.subscribe(t.topic("will"))
    owner = t.connected("c", clean=False)
    owner.subscribe(t.topic("a"))
    for clean in (True, False):
        will = {"topic": t.topic("will"), "payload": b"forged", "qos": 1}
        t.peer("c", clean=clean, password="bad", will=will).connect(refused=True)
    owner.publish(t.topic("a"), b"still here")
    assert owner.texts(1) == ["still here"]
    owner.disconnect()
    t.peer("c", clean=True, password="bad").connect(refused=True)
    t.connected("sender").publish(t.topic("a"), b"queued")
    back = t.connected("c", clean=False)
    assert back.present
    assert back.texts(1) == ["queued"]
    watcher.nothing()


@case()
def a_connect_without_credentials_changes_no_session(t):
    """The same for a CONNECT without a user name, and for one that breaks the protocol halfway."""
    owner = t.connected("c", clean=False)
    owner.subscribe(t.topic("a"))
    t.peer("c", username=None).connect(refused=True)
    broken = t.wire()
    raw = broken._written(mqtt5.ConnectPacket(t.name("c"), clean_start=True, username="user", password=b"good"))
    broken.send(raw[:-3])
    broken.close(reset=True)
    owner.publish(t.topic("a"), b"still here")
    assert owner.texts(1) == ["still here"]


@case()
def packets_sent_before_the_answer_to_connect_count(t):
    """A client may send without waiting for CONNACK; nothing of it is lost, or done before the password was right."""
    receiver = t.connected("receiver")
    receiver.subscribe(t.topic("a"))
    for password, word in ((b"good", "hasty"), (b"bad", "liar")):
        wire = t.wire()
        wire.send(
            mqtt5.ConnectPacket(t.name(word), clean_start=True, username="user", password=password),
            mqtt5.PublishPacket(t.topic("a"), word.encode(), qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=1),
        )
    assert receiver.texts(1) == ["hasty"]
    receiver.nothing()


@case("durable", own=True)
def sessions_and_queues_survive_a_restart(t):
    """After a clean restart of the broker, sessions, subscriptions and queued messages are all there."""
    leave_and_miss(t, 40)
    t.site.restart()
    back = t.connected("receiver", clean=False)
    assert back.present
    assert [number(text) for text in back.texts(40)] == list(range(40))
    numbered(t.connected("sender"), t.topic("b"), 40, 43)
    assert [number(text) for text in back.texts(3)] == [40, 41, 42]


@case("durable", own=True)
def in_flight_messages_survive_a_restart(t):
    """What was in flight when the broker stopped comes again after it is back."""
    receiver = t.connected("receiver", clean=False, manual=True)
    receiver.subscribe(t.topic("a"))
    numbered(t.connected("sender"), t.topic("a"), 0, 5)
    receiver.expect(5)
    t.site.restart()
    back = t.connected("receiver", clean=False)
    assert [number(text) for text in back.texts(5)] == list(range(5))


@case("crash-safe", own=True)
def acknowledged_messages_survive_kill_9(t):
    """What the broker has acknowledged to the sender is in the queue after kill -9, in order, at the most doubled."""
    receiver = t.connected("receiver", clean=False)
    receiver.subscribe(t.topic("#"))
    receiver.disconnect()
    sender = t.connected("sender")
    mids = {}
    for n in range(120):
        mids[sender.publish(t.topic("a"), payload(n), wait=False)] = n
    sender.until(lambda: sum(map(sender.is_answered, mids)) >= 60, "60 answers")
    sure = [n for mid, n in mids.items() if sender.is_answered(mid)]
    t.site.kill()
    t.site.start()
    back = t.connected("receiver", clean=False)
    assert back.present
    seen = []
    while sure[-1] not in seen:
        seen += [number(text) for text in back.texts(1)]
    assert [n for n in dict.fromkeys(seen) if n in sure] == sure


@case("crash-safe", own=True)
def subscriptions_survive_kill_9(t):
    """A SUBSCRIBE that was answered, and an UNSUBSCRIBE, are still so after kill -9."""
    receiver = t.connected("receiver", clean=False)
    receiver.subscribe(t.topic("a"), t.topic("b"))
    receiver.unsubscribe(t.topic("b"))
    t.site.kill()
    t.site.start()
    back = t.connected("receiver", clean=False)
    assert back.present
    sender = t.connected("sender")
    sender.publish(t.topic("b"), b"no")
    sender.publish(t.topic("a"), b"yes")
    assert back.texts(1) == ["yes"]


@case("durable", own=True)
def a_clean_session_does_not_come_back_from_the_disk(t):
    """A session that was cleaned is clean after a restart as well: nothing is resurrected."""
    leave_and_miss(t, 3)
    t.connected("receiver", clean=True).disconnect()
    t.site.restart()
    back = t.connected("receiver", clean=False)
    assert not back.present
    back.nothing()


@case("durable", own=True)
def delivered_messages_do_not_come_back_from_the_disk(t):
    """What was delivered and acknowledged before a restart does not come again after it."""
    leave_and_miss(t, 10)
    back = t.connected("receiver", clean=False)
    back.texts(10)
    back.settle()
    back.disconnect()
    t.site.restart()
    again = t.connected("receiver", clean=False)
    assert again.present
    again.nothing()


@case()
def kick_disconnects_and_keeps_the_session(t):
    """A kicked client is disconnected within a second; its session and queue stay."""
    victim = t.connected("c", clean=False)
    victim.subscribe(t.topic("a"))
    t.site.kick(victim.client_id)
    assert victim.is_cut(2)
    t.connected("sender").publish(t.topic("a"), b"x")
    back = t.connected("c", clean=False)
    assert back.present
    assert back.texts(1) == ["x"]


@case()
def kick_and_forget_deletes_the_session(t):
    """A kicked and forgotten client, connected or not, finds no session and no queue."""
    for is_connected in (True, False):
        word = f"c{is_connected}"
        victim = t.connected(word, clean=False)
        victim.subscribe(t.topic("a"))
        if not is_connected:
            victim.disconnect()
        t.connected("sender").publish(t.topic("a"), b"x", qos=1)
        t.site.kick(victim.client_id, forget=True)
        assert victim.is_cut(2)
        back = t.connected(word, clean=False)
        assert not back.present
        back.nothing()


@case()
def a_flood_of_take_overs_leaves_one_connection(t):
    """Twenty connections under one client id at once: one stays, and it works."""
    answers = []

    def enter():
        wire = Wire(t.site)
        t._opened.append(wire.close)
        try:
            answers.append((wire, wire.connect(t.name("c"), clean_start=False)))
        except Exception:  # a connection that was cut before its answer is as good as one that was cut after it
            return

    threads = [threading.Thread(target=enter) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    alive = [wire for wire, _ in answers if not wire.is_closed(0.3)]
    assert len(alive) == 1
    assert alive[0].subscribe(t.topic("a")) == [1]
