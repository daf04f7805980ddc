"""The cases: identity, topics, wills, retain, tokens, and what ends a connection."""

import contextlib
import time

import mqtt5

from tests.conformance.acl.keys import new_device
from tests.conformance.acl.suite import case
from tests.conformance.broker.clients import Closed, Wire

REFUSALS = {"NOT_AUTHORIZED", "BAD_USER_NAME_OR_PASSWORD"}
WITHIN = 2.0
"""Seconds in which expiry, revocation and ban must disconnect."""


def is_cut_within(peer, seconds):
    """Wait for the broker to end a connection, and tell whether it came in time."""
    began = time.monotonic()
    peer.is_cut(seconds + 3)
    return time.monotonic() - began <= seconds + 0.3


def attempt(peer, topic, payload=b"forged", **options):
    """Publish what may be refused by an answer, or by the connection's end."""
    peer.publish(topic, payload, wait=False, **options)
    end = time.monotonic() + 0.3
    while time.monotonic() < end and not peer.lost and not peer._sent:
        peer.turn()


# Identity: no session can be stolen.


@case()
def a_good_token_opens_only_its_own_session(t):
    """Another's client id with one's own good token is refused, and changes nothing: neither the connection, nor a
    clean-session trick the queue, nor is a will sent."""
    alice, mallory = t.person(), t.person()
    observer = t.observer()
    victim = t.enter(alice, clean=False)
    victim.subscribe(f"u/{alice.user}/in/#")
    will = mqtt5.Will(f"{alice.own}/state/{alice.lane}", payload=b"offline", qos=mqtt5.QoS.AT_LEAST_ONCE)
    for clean in (True, False):
        for username in (alice.user, mallory.user):
            refused = t.is_refused(mallory, client_id=alice.client_id, username=username, clean_start=clean, will=will)
            assert refused.how in REFUSALS
    victim.publish(f"{alice.own}/do/{alice.lane}/heads", b"mine")
    assert t.seen(observer, alice) == [(f"{alice.own}/do/{alice.lane}/heads", b"mine")]
    assert not victim.lost
    victim.disconnect()
    t.is_refused(mallory, client_id=alice.client_id, clean_start=True)
    assert t.enter(alice, clean=False).present


@case()
def a_bad_token_changes_no_session(t):
    """Another's client id and user name with a forged token: the victim stays connected, its session stays."""
    alice = t.person()
    victim = t.enter(alice, clean=False)
    victim.subscribe(f"u/{alice.user}/in/#")
    for clean in (True, False):
        assert t.is_refused(alice, token="forged.by.mallory", clean_start=clean).how in REFUSALS
    victim.publish(f"{alice.own}/do/{alice.lane}/heads", b"")
    victim.disconnect()
    t.is_refused(alice, token="forged.by.mallory", clean_start=True)
    assert t.enter(alice, clean=False).present


@case()
def a_second_device_is_not_the_first(t):
    """A user's token for one device does not open another device's session."""
    phone = t.person()
    tablet = phone.other_device()
    assert t.is_refused(tablet, client_id=phone.client_id).how in REFUSALS
    t.enter(tablet)


@case()
def the_username_is_the_tokens(t):
    """Another user name, or none of the expected form, is refused even with the right client id."""
    alice, bob = t.person(), t.person()
    for name in (bob.user, alice.client_id, alice.user.upper(), "root"):
        assert t.is_refused(alice, username=name).how in REFUSALS


@case()
def ids_of_our_processes_are_not_for_devices(t):
    """The client ids of bridges and services cannot be taken with a device's token."""
    alice = t.person()
    for name in ("bridge-0", "api-1", "tidings-operator", "x"):
        assert t.is_refused(alice, client_id=name).how in REFUSALS


@case()
def a_device_named_like_a_topic_word_is_refused(t):
    """Device ids have a form that no topic word has: `in`, `out`, `+`, `#` or an empty one open nothing."""
    alice = t.person()
    for name in ("in", "out", "to", "do", "state", "+", "#", "d/in", "d" * 11, "$share"):
        token = t.mint.token(alice.user, name)
        assert t.is_refused(alice, client_id=f"{alice.user}:{name}", token=token).how in REFUSALS, name


# Tokens.


@case()
def forged_and_spoiled_tokens_are_refused(t):
    """Expired, unsigned, foreign, confused in their algorithm, oversized, or lacking a claim: none opens anything."""
    alice = t.person()
    let_in = []
    for name, token in t.mint.forgeries(alice.user, alice.device).items():
        try:
            t.is_refused(alice, token=token)
        except AssertionError:
            let_in.append(name)
    assert let_in == []
    t.enter(alice)


@case()
def both_algorithms_of_ours_are_accepted(t):
    """ES256 and EdDSA open the session, and tokens of devices stay small."""
    alice = t.person()
    for key in t.mint.keys.keys:
        token = alice.token(keys=type(t.mint.keys)((key,)))
        assert len(token) <= 400
        t.enter(alice, token=token).disconnect()


@case()
def a_connect_without_a_token_is_refused(t):
    """No password, no entrance."""
    alice = t.person()
    assert t.is_refused(alice, token="").how in REFUSALS


# Topics.


@case()
def own_topics_are_open(t):
    """A device publishes under its own four words and subscribes its two filters, or parts of them."""
    alice = t.person()
    observer = t.observer()
    peer = t.enter(alice)
    topics = [
        f"{alice.own}/out/{alice.lane}/conv/msg",
        f"{alice.own}/to/{alice.lane}/peer",
        f"{alice.own}/to/{alice.lane}/peer/id",
        f"{alice.own}/do/{alice.lane}/heads",
        f"{alice.own}/state/{alice.lane}",
    ]
    for topic in topics:
        peer.publish(topic, b"x")
    assert [topic for topic, _ in t.seen(observer, alice)] == topics
    inside = [f"u/{alice.user}/in/#", f"{alice.own}/in/#", f"u/{alice.user}/in/msg", f"u/{alice.user}/in/+"]
    assert peer.subscribe(*inside) == [1] * 4


@case()
def other_peoples_topics_are_closed(t):
    """What a device publishes elsewhere reaches nobody: other users, other devices, the server's own topics."""
    alice, bob = t.person(), t.person()
    observer = t.observer()
    other = alice.other_device()
    closed = [
        f"{bob.own}/out/{bob.lane}/conv/msg",
        f"{bob.own}/state/{bob.lane}",
        f"u/{bob.user}/in/msg",
        f"u/{alice.user}/in/msg",
        f"{alice.own}/in/msg",
        f"{other.own}/out/{alice.lane}/conv/msg",
        f"{alice.own}",
        f"{alice.own}/outside",
        f"{alice.own}/state/{alice.lane}/more",
        f"u/{alice.user}/out/x",
        "ch/news",
        f"s/{alice.lane}/do",
        "s/api/1/re",
        "$SYS/broker/version",
        "$share/g/x",
        "elsewhere",
        f"/{alice.own}/do/{alice.lane}/x",
        f"U/{alice.user}/{alice.device}/do/{alice.lane}/x",
    ]
    for topic in closed:
        for qos in (0, 1):
            attempt(t.enter(alice), topic, qos=qos)
    assert t.seen(observer, alice) == []


@case()
def wildcards_outside_a_grant_are_refused(t):
    """A subscription that is not wholly inside a grant fails with 0x80, and delivers nothing."""
    alice, bob = t.person(), t.person()
    peer = t.enter(alice)
    closed = [
        "#",
        "+",
        "+/#",
        "/#",
        "u/#",
        "u/+/in/#",
        f"u/{bob.user}/in/#",
        f"u/{bob.user}/in/msg",
        f"u/{alice.user}/#",
        f"u/{alice.user}/+/in/#",
        f"u/{alice.user}/+/#",
        f"{alice.own}/#",
        f"{alice.own}/out/#",
        f"u/{alice.user}/+",
        "+/+/in/msg",
        "s/#",
        f"s/{alice.lane}/do",
        "$SYS/#",
        "$SYS/broker/clients/connected",
        "ch/#",
        "$share/g/#",
        f"$share/g/u/{alice.user}/in/#",
        f"$share/g/u/{bob.user}/in/#",
        "$queue/#",
        f"$queue/u/{alice.user}/in/#",
    ]
    granted = [pattern for pattern in closed if (peer.subscribe(pattern) or [0x80])[0] < 0x80]
    assert granted == []
    writer = t.bearer(allow=(("publish", "u/#"),))
    writer.publish(f"u/{bob.user}/in/msg", b"secret")
    peer.nothing()


@case()
def a_refused_filter_beside_a_granted_one(t):
    """In one SUBSCRIBE each filter has its own answer."""
    alice = t.person()
    peer = t.enter(alice)
    own = f"u/{alice.user}/in/#"
    codes = peer.subscribe("#", own)
    assert codes[0] >= 0x80
    assert codes[1] == 1
    t.bearer(allow=(("publish", "u/#"),)).publish(f"u/{alice.user}/in/msg", b"hello")
    assert peer.texts(1) == ["hello"]


@case()
def deny_wins(t):
    """A deny of the token wins over its allow, for topics and for every filter that touches it."""
    writer = t.bearer(allow=(("all", "x/#"),), deny=(("all", "x/secret/#"),))
    observer = t.observer()
    attempt(writer, "x/secret/a")
    writer = t.bearer(allow=(("all", "x/#"),), deny=(("all", "x/secret/#"),))
    writer.publish("x/open", b"open")
    assert t.seen(observer, t.person()) == [("x/open", b"open")]
    assert writer.subscribe("x/open") == [1]
    for pattern in ("x/#", "x/+/y", "x/secret/a", "x/secret/#", "+/secret/#"):
        assert writer.subscribe(pattern)[0] >= 0x80, pattern


@case()
def quality_2_is_not_offered_to_devices(t):
    """A device's QoS 2 publish reaches nobody."""
    alice = t.person()
    observer = t.observer()
    attempt(t.enter(alice), f"{alice.own}/do/{alice.lane}/heads", qos=2)
    assert t.seen(observer, alice) == []


# Wills and retain.


@case()
def foreign_wills_are_not_sent(t):
    """A will goes where a publish may go: a forged one is refused at CONNECT, or at least never sent."""
    alice, bob = t.person(), t.person()
    observer = t.observer()
    for topic in (f"u/{bob.user}/in/msg", f"{bob.own}/state/{bob.lane}", f"{alice.own}/in/msg", "s/00/do", "$SYS/x"):
        will = {"topic": topic, "payload": b"forged", "qos": 1}
        try:
            t.enter(alice, will=will).cut()
        except AssertionError:
            continue
    assert t.seen(observer, alice) == []


@case()
def an_own_will_is_sent(t):
    """A device's will on its own state topic is sent when it is cut off."""
    alice = t.person()
    observer = t.observer()
    topic = f"{alice.own}/state/{alice.lane}"
    t.enter(alice, will={"topic": topic, "payload": b"offline", "qos": 1}).cut()
    assert [(message.topic, message.text) for message in observer.expect(1)] == [(topic, "offline")]


@case()
def devices_keep_nothing_retained(t):
    """A device's retained publish and retained will are kept for nobody."""
    alice = t.person()
    topic = f"{alice.own}/state/{alice.lane}"
    attempt(t.enter(alice), topic, b"kept", retain=True)
    with contextlib.suppress(AssertionError):
        t.enter(alice, will={"topic": topic, "payload": b"kept", "qos": 1, "retain": True}).cut()
    late = t.bearer(allow=(("subscribe", "u/#"),))
    late.subscribe(topic)
    late.nothing()


# What ends a connection, and what a new one finds.


@case()
def expiry_disconnects(t):
    """A connection ends with its token: not before, and within two seconds after."""
    alice = t.person()
    began = time.time()
    peer = t.enter(alice, token=alice.token(life=2_000))
    peer.is_cut(8)
    lasted = time.time() - began
    assert 0.8 <= lasted <= 2.0 + WITHIN + 0.3
    t.enter(alice)


@case()
def revocation_disconnects_that_device(t):
    """A revoked device is cut off within two seconds and stays out; the user's other device stays."""
    phone = t.person()
    tablet = phone.other_device()
    token = phone.token()
    lost, kept = t.enter(phone, token=token), t.enter(tablet)
    t.site.revoke(user=phone.user, device=phone.device, gone=True)
    assert is_cut_within(lost, WITHIN)
    assert t.is_refused(phone, token=token).how in REFUSALS
    assert t.is_refused(phone, token=phone.token()).how in REFUSALS
    kept.publish(f"{tablet.own}/do/{tablet.lane}/heads", b"")
    assert not kept.lost


@case()
def a_ban_disconnects_all_devices(t):
    """A banned user is cut off everywhere within two seconds, and stays out."""
    phone = t.person()
    tablet = phone.other_device()
    peers = [t.enter(phone), t.enter(tablet)]
    t.site.revoke(user=phone.user, device="", gone=True)
    began = time.monotonic()
    for peer in peers:
        peer.is_cut(5)
    assert time.monotonic() - began <= WITHIN + 0.5
    assert t.is_refused(tablet).how in REFUSALS


@case()
def changed_grants_disconnect_older_tokens(t):
    """Tokens from before a change of grants end within two seconds; a new token enters."""
    alice = t.person()
    old = alice.token(issued=int(time.time() * 1000) - 10_000)
    peer = t.enter(alice, token=old)
    t.site.revoke(user=alice.user, device=alice.device, gone=False, tokens_from=int(time.time() * 1000) - 5_000)
    assert is_cut_within(peer, WITHIN)
    assert t.is_refused(alice, token=old).how in REFUSALS
    t.enter(alice)


@case()
def a_kept_session_has_no_more_rights_than_its_new_token(t):
    """A session that was subscribed with wide grants delivers nothing beyond those of the token it comes back with."""
    who = t.person()
    wide = t.enter(who, token=who.token(allow=(("subscribe", "x/#"),)), clean=False)
    assert wide.subscribe("x/secret", f"u/{who.user}/in/#") == [1, 1]
    wide.disconnect()
    narrow = t.enter(who, clean=False)
    writer = t.bearer(allow=(("publish", "#"),))
    writer.publish("x/secret", b"secret")
    writer.publish(f"u/{who.user}/in/msg", b"own")
    assert narrow.texts(1) == ["own"]
    narrow.nothing()


@case()
def packets_behind_a_refused_connect_are_not_read(t):
    """What follows a refused CONNECT on the same connection is never done."""
    alice = t.person()
    observer = t.observer()
    wire = Wire(t.site)
    wire.send(
        mqtt5.ConnectPacket(alice.client_id, clean_start=True, username=alice.user, password=b"forged"),
        mqtt5.PublishPacket(f"{alice.own}/do/{alice.lane}/heads", b"forged"),
    )
    try:
        while True:
            wire.receive()
    except Closed:
        pass
    assert t.seen(observer, alice) == []


@case()
def a_kicked_device_that_is_gone_leaves_no_queue(t):
    """A revoked device's session is deleted: what was queued for it is nobody's."""
    alice = t.person()
    peer = t.enter(alice, clean=False)
    peer.subscribe(f"u/{alice.user}/in/#")
    peer.disconnect()
    writer = t.bearer(allow=(("publish", "u/#"),))
    writer.publish(f"u/{alice.user}/in/msg", b"secret")
    t.site.kick(alice.client_id, forget=True)
    back = t.enter(alice, clean=False)
    assert not back.present
    back.nothing()


@case()
def new_devices_start_with_nothing(t):
    """A new device of a user has no session of an older one."""
    alice = t.person()
    t.enter(alice, clean=False).subscribe(f"u/{alice.user}/in/#")
    fresh = alice.other_device()
    assert fresh.device != alice.device != new_device()
    assert not t.enter(fresh, clean=False).present
