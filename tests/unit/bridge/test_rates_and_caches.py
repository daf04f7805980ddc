"""The small machines: rates, people, slots, notices, presence, retries."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bridge.notices import MERGED_MS, RANGES, Notices
from bridge.people import KEPT_MS, PeopleCache
from bridge.presence import PresenceTable
from bridge.rates import Rates
from bridge.retrying import FIRST, MOST, pause
from bridge.slots import Slots
from stores.ports.directory import Person
from stores.ports.entries import MarkMove
from tests.unit.bridge.house import ALICE, BOB, CAROL, DIRECT, NOW, PHONE, TABLET
from tidings.protocol.ids import ConvId
from tidings.protocol.payloads import DeviceState


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    rates: Rates[str] = Rates(10, 60_000)
    assert [rates.take("a", 0) for _ in range(10)] == [0] * 10
    assert rates.take("a", 0) == pytest.approx(6.0)
    assert rates.take("b", 0) == 0
    assert rates.take("a", 5_999) > 0
    assert rates.take("a", 6_001) == 0


@given(st.lists(st.integers(0, 2_000), max_size=300))
def test_never_more_than_burst_and_rate_allow(gaps: list[int]) -> None:
    rates: Rates[str] = Rates(5, 1_000)
    now, taken = 0, 0
    for gap in gaps:
        now += gap
        taken += rates.take("a", now) == 0
    assert taken <= 5 + now * 5 / 1_000 + 1e-6


def test_buckets_are_bounded() -> None:
    rates: Rates[int] = Rates(1, 1_000, most=10)
    for key in range(100):
        rates.take(key, 0)
    assert len(rates) <= 11
    rates.take(1_000, 5_000)
    for _ in range(10):
        rates.take(1_000, 5_000)
    assert len(rates) <= 2


def test_people_are_asked_once_and_kept_for_their_time() -> None:
    cache = PeopleCache()
    assert cache.known_until((ALICE, BOB), 0) == 0
    asked = cache.question()
    assert asked == {ALICE, BOB}
    assert cache.known_until((CAROL,), 0) == 0
    assert cache.question() == frozenset(), "one question at a time"
    cache.told(asked, {ALICE: Person(ALICE)}, 10)
    assert cache.question() == {CAROL}
    assert cache.known_until((ALICE, BOB), 20) == 10 + KEPT_MS
    assert BOB not in cache.people
    assert cache.known_until((ALICE,), 10 + KEPT_MS) == 0


def test_people_are_bounded_and_say_when_answers_were_dropped() -> None:
    cache = PeopleCache(most=1)
    cache.known_until((ALICE, BOB), 0)
    cache.told(cache.question(), {}, 0)
    assert len(cache) == 1
    assert cache.generation == 1


def test_slots_in_use_stay_and_the_oldest_other_goes() -> None:
    slots = Slots(2)
    one, two = slots.take(ConvId("1")), slots.take(ConvId("2"))
    one.pins = 1
    slots.take(ConvId("3"))
    assert slots.get(ConvId("1")) is one
    assert slots.get(ConvId("2")) is None
    two.blocked = True
    slots.take(ConvId("4"))
    assert len(slots) == 2
    assert slots.get(ConvId("3")) is None


def move(low: int, to: int, kind: str = "delivered") -> MarkMove:
    return MarkMove(DIRECT, BOB, kind, low, to, NOW, to)


def test_the_first_notice_goes_at_once_and_later_ones_together() -> None:
    notices = Notices()
    assert notices.take([move(0, 1)], 0) == [move(0, 1)]
    assert notices.take([move(1, 2)], 100) == []
    assert notices.take([move(2, 5)], 200) == []
    assert notices.wake_at() == MERGED_MS
    assert notices.due(MERGED_MS - 1) == []
    assert [(m.from_, m.to, m.version) for m in notices.due(MERGED_MS)] == [(1, 5, 5)]
    assert notices.take([move(5, 6)], MERGED_MS + 1) == [], "the next 3 s have begun"
    assert [(m.from_, m.to) for m in notices.due(2 * MERGED_MS)] == [(5, 6)]
    assert notices.due(3 * MERGED_MS) == []
    assert notices.take([move(6, 7)], 3 * MERGED_MS + 1) == [move(6, 7)]
    assert notices.wake_at() is None


def test_ranges_that_do_not_touch_are_told_one_by_one_and_bounded() -> None:
    notices = Notices()
    notices.take([move(0, 1)], 0)
    for place in range(RANGES):
        assert notices.take([move(10 * place + 10, 10 * place + 11)], 1) == []
    assert len(notices.take([move(999, 1_000)], 1)) == 1
    assert len(notices.due(MERGED_MS)) == RANGES


def test_a_move_that_is_not_shown_holds_back_no_shown_one_and_merges_with_none() -> None:
    notices = Notices()
    hidden = [replace(move(low, low + 1, "read"), shown=False) for low in range(3)]
    assert notices.take(hidden[:1], 0) == hidden[:1]
    assert notices.take([move(0, 1, "read")], 1) == [move(0, 1, "read")]
    assert notices.take([*hidden[1:], move(3, 4, "read")], 2) == []
    assert [(m.from_, m.to, m.shown) for m in notices.flush()] == [(1, 3, False), (3, 4, True)]


@given(st.lists(st.tuples(st.integers(0, 4_000), st.integers(1, 5)), max_size=50))
def test_what_is_told_covers_what_was_taken(steps: list[tuple[int, int]]) -> None:
    notices = Notices()
    now, mark = 0, 0
    told: list[MarkMove] = []
    times: list[int] = []
    for gap, size in steps:
        now += gap
        for taken in (notices.due(now), notices.take([move(mark, mark + size)], now)):
            told += taken
            times += [now] * len(taken)
        mark += size
    told += notices.flush()
    assert [m.from_ for m in told] == [0, *(m.to for m in told[:-1])][: len(told)]
    assert (told[-1].to if told else 0) == mark
    assert all(later >= earlier + MERGED_MS for earlier, later in pairwise(dict.fromkeys(times[1:])))


def test_presence_is_the_best_of_a_users_devices() -> None:
    table = PresenceTable()
    table.watch(ALICE, BOB, 0, 0)
    steps = [
        (PHONE, "away", "c1", "away"),
        (TABLET, "online", "t1", "online"),
        (PHONE, "offline", "c1", None),
        (TABLET, "offline", "other", None),
        (TABLET, "offline", "t1", "offline"),
    ]
    for place, (on, status, connection, expected) in enumerate(steps):
        now = 3_000 * (place + 1)
        told = table.appear(BOB, on, DeviceState(status, connection), NOW + now, now)
        assert (told.notice.status if told else None) == expected


def test_presence_changes_are_merged_to_one_in_two_seconds() -> None:
    table = PresenceTable()
    table.watch(ALICE, BOB, 0, 0)
    assert table.appear(BOB, PHONE, DeviceState("online", "c"), NOW, 0) is not None
    for place in range(10):
        status = "away" if place % 2 else "online"
        assert table.appear(BOB, PHONE, DeviceState(status, "c"), NOW, 10 + place) is None
    assert table.wake_at() == 2_000
    (told,) = table.due(2_000)
    assert (told.notice.status, told.watchers) == ("away", (ALICE,))
    assert table.due(9_000) == []


def test_last_seen_is_handed_out_in_batches() -> None:
    table = PresenceTable()
    table.appear(BOB, PHONE, DeviceState("online", "c"), NOW, 0)
    table.appear(ALICE, PHONE, DeviceState("online", "c"), NOW + 5, 5)
    assert table.seen(9_999) == {}
    assert table.seen(10_000) == {BOB: NOW, ALICE: NOW + 5}
    assert table.seen(99_999) == {}


def test_presence_is_bounded() -> None:
    table = PresenceTable(users=1)
    table.appear(BOB, PHONE, DeviceState("online", "c"), NOW, 0)
    table.appear(ALICE, PHONE, DeviceState("online", "c"), NOW, 0)
    assert len(table) == 1
    assert table.watch(CAROL, BOB, 7, 0).last_seen == 7


def test_pauses_double_to_a_limit_and_half_of_each_is_chance() -> None:
    assert pause(0, 0) == FIRST / 2
    assert [pause(n, 1.0) for n in range(4)] == [FIRST, FIRST * 2, FIRST * 4, FIRST * 8]
    assert pause(10_000, 1.0) == MOST
    assert pause(10_000, 0.0) == MOST / 2
