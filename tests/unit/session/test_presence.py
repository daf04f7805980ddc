"""Looking at others' presence: said again before it ends, and after a reconnect at once."""

import random

import pytest

from tests.unit.session.server import ALICE, BOB, CAROL, PHONE
from tidings.protocol import codec, ids, topics
from tidings.protocol.errors import Refusal
from tidings.protocol.ids import UserId
from tidings.protocol.payloads import DeviceState, DoWatch
from tidings.session import Effect, Publish, Session
from tidings.session.presence import AGAIN_MS, state_of


def watches(effects: list[Effect]) -> list[tuple[UserId, ...]]:
    found = [effect for effect in effects if isinstance(effect, Publish) and effect.topic.endswith("/watch")]
    return [codec.decode(each.payload, DoWatch).users for each in found]


def connected() -> Session:
    session = Session(ALICE, PHONE, boot="boot", jitter=random.Random(1).random)
    session.connected(0)
    return session


def test_a_watch_is_said_again_before_it_ends_and_wakes_the_shell_for_it() -> None:
    session = connected()
    assert watches(session.watch([BOB, CAROL, BOB], 10)) == [(BOB, CAROL)]
    assert watches(session.tick(10 + AGAIN_MS - 1)) == []
    wake = session.wake_at
    assert wake is not None
    assert wake <= 10 + AGAIN_MS
    assert watches(session.tick(10 + AGAIN_MS)) == [(BOB, CAROL)]


def test_a_watch_is_said_at_the_next_connect() -> None:
    session = connected()
    session.disconnected(5)
    assert watches(session.watch([BOB], 10)) == []
    assert watches(session.connected(20)) == [(BOB,)]


def test_nobody_is_looked_at_any_more() -> None:
    session = connected()
    session.watch([BOB], 10)
    assert watches(session.watch([], 20)) == []
    assert watches(session.tick(1_000_000)) == []


def test_too_many_are_refused_and_the_others_stay() -> None:
    session = connected()
    session.watch([BOB], 10)
    with pytest.raises(Refusal, match="at most 200"):
        session.watch([ids.make_user_id(bytes([0, n, *range(9)])) for n in range(201)], 20)
    assert watches(session.tick(10 + AGAIN_MS)) == [(BOB,)]


def test_a_state_names_its_connection_on_the_devices_own_topic() -> None:
    said = state_of(ALICE, PHONE, "away", "c1")
    assert topics.parse(said.topic) == topics.Presence(ALICE, PHONE, ids.lane_of(ALICE))
    assert codec.decode(said.payload, DeviceState) == DeviceState("away", "c1")
