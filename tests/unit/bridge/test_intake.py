"""Intake: any topic and any bytes give an item or one refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.intake import Item, Unreadable, digest, read
from tests.unit.bridge.house import ALICE, BOB, DIRECT, PHONE, text
from tidings.protocol import ids, topics
from tidings.protocol.errors import Code
from tidings.protocol.ids import CELL, Cell, MessageId
from tidings.protocol.link import Handle, Inbound

LANE = ids.lane_of(DIRECT)
OWN = ids.lane_of(ALICE)
TOPICS = [
    topics.build(form)
    for form in (
        topics.Out(ALICE, PHONE, LANE, DIRECT, "msg"),
        topics.Out(ALICE, PHONE, LANE, DIRECT, "receipt"),
        topics.Out(ALICE, PHONE, LANE, DIRECT, "typing"),
        topics.Out(ALICE, PHONE, LANE, DIRECT, "edit"),
        topics.Doormat(ALICE, PHONE, LANE, BOB, MessageId("d")),
        topics.DoormatPlain(ALICE, PHONE, LANE, BOB),
        topics.Do(ALICE, PHONE, OWN, "heads"),
        topics.Do(ALICE, PHONE, OWN, "sync"),
        topics.Do(ALICE, PHONE, OWN, "watch"),
        topics.Presence(ALICE, PHONE, OWN),
        topics.LaneDo(LANE),
    )
]
TEXTS = st.sampled_from(
    [
        '{"id":"m","body":"x"}',
        '{"kind":"read","from":0,"to":1}',
        '{"status":"online","connection":"c"}',
        '{"id":"m","verb":"group.create","conv":"x","user":"u","replyTo":"s","deadline":1,"args":{"name":7}}',
        '{"id":"m","verb":"presence.watch","conv":"","user":"u","replyTo":"","deadline":1,"args":{"id":"w","users":["a"]}}',
        '{"id":"m","body":"\\ud800"}',
        '{"id":"' + "i" * 99 + '","body":"x"}',
        '{"id":"m","kind":"a.b","body":"x"}',
        "{" * 5_000,
        "",
    ]
).map(str.encode)


def take(topic: str, payload: bytes, cell: Cell = CELL) -> Item | Unreadable:
    """Read an inbound message; whatever is not `Unreadable` escapes."""
    try:
        return read(Inbound(topic, payload, 1, Handle(1, 1)), cell, lambda: MessageId("new"))
    except Unreadable as unreadable:
        return unreadable


@given(st.one_of(st.sampled_from(TOPICS), st.text(max_size=90)), st.one_of(TEXTS, st.binary(max_size=300)))
def test_anything_is_read_or_refused(topic: str, payload: bytes) -> None:
    taken = take(topic, payload)
    if isinstance(taken, Unreadable):
        assert taken.refusal.code in Code
    else:
        assert taken.inbound.payload == payload


@pytest.mark.parametrize("topic", TOPICS)
@given(payload=st.binary(max_size=200))
def test_any_bytes_on_any_topic(topic: str, payload: bytes) -> None:
    take(topic, payload)


def test_what_is_not_of_the_protocol_is_dead_and_what_is_wrong_is_not() -> None:
    topic, _ = text()
    for payload, dead in (
        (b"\xff", True),
        (b'{"id":1}', True),
        (b'{"id":"m"}', False),
        (b'{"id":"!","body":"x"}', False),
    ):
        taken = take(topic, payload)
        assert isinstance(taken, Unreadable)
        assert taken.dead is dead, payload


def test_another_cells_conversation_is_refused() -> None:
    taken = take(*text(), cell=Cell("01"))
    assert isinstance(taken, Unreadable)
    assert taken.refusal.code is Code.WRONG_CELL


def test_the_sender_is_the_topics_whatever_the_payload_says() -> None:
    topic, _ = text()
    taken = take(topic, b'{"id":"m","body":"x","from":"%s","device":"other"}' % BOB.encode())
    assert isinstance(taken, Item)
    assert taken.sender is not None
    assert (taken.sender.user, taken.sender.device) == (ALICE, PHONE)


def test_a_digest_is_of_what_is_said_and_not_of_when() -> None:
    topic, _ = text()
    said = [
        b'{"id":"m","body":"x"}',
        b'{"id":"m","body":"x","sentAt":5,"to":"%s"}' % BOB.encode(),
        b'{"id":"n","body":"x"}',
        b'{"id":"m","body":"y"}',
        b'{"id":"m","body":"x","replyTo":1}',
    ]
    digests = [getattr(getattr(take(topic, payload), "wish", None), "digest", None) for payload in said]
    assert digests[0] == digests[1] == digests[2]
    assert len({*digests}) == 3
    assert digest("x") != digest("x", "")
    assert len(digest("x")) == 16
