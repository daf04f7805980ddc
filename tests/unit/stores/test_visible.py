"""What one member may see: windows, hidden entries, deletions, and a row the store does not have."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.ports.entries import Member, Row, Window
from stores.visible import bounds, fitting, page, span, tombstone, visible
from tidings.protocol import codec, ids
from tidings.protocol.payloads import Message

ALICE = ids.make_user_id(bytes(range(11)))
BOB = ids.make_user_id(bytes(range(11, 22)))
CONV = ids.direct_conversation(ALICE, BOB)


def row(seq: int, *, kind: str = "text", hidden: bool = False, **data: int) -> Row:
    entry = Message(conv=CONV, seq=seq, from_=ALICE, kind=kind, body=f"number {seq}", data=dict(data))
    return Row(
        CONV,
        seq,
        ids.MessageId(f"m{seq}"),
        ALICE,
        ids.DeviceId("d"),
        1,
        kind,
        codec.encode(entry),
        b"",
        (BOB,) if hidden else (),
    )


def member(*windows: tuple[int, int]) -> Member:
    return Member(CONV, BOB, "member", tuple(Window(*window) for window in windows))


def test_a_visible_entry_is_the_stored_bytes() -> None:
    assert visible(row(3), member((1, 0))) is not None
    assert visible(row(3), member((3, 3))) == row(3).payload


@pytest.mark.parametrize(
    ("entry", "windows"),
    [
        (row(3, hidden=True), [(1, 0)]),
        (row(3, kind="tombstone"), [(1, 0)]),
        (row(3), [(4, 0)]),
        (row(3), [(1, 2)]),
        (row(3), []),
        (row(3, kind="message.deleted", target=1), [(2, 0)]),
        (row(3, kind="message.deleted"), [(1, 0)]),
    ],
)
def test_a_tombstone_has_its_number_and_nothing_else(entry: Row, windows: list[tuple[int, int]]) -> None:
    seen = msgspec.json.decode(visible(entry, member(*windows)))
    assert seen == {"conv": CONV, "seq": 3, "kind": "tombstone"}


def test_an_entry_that_points_into_the_window_is_seen() -> None:
    entry = row(3, kind="message.deleted", target=2)
    assert visible(entry, member((2, 0))) == entry.payload


@pytest.mark.parametrize(
    ("windows", "head", "expected"),
    [
        ([(1, 0)], 9, (1, 9)),
        ([(3, 5)], 9, (3, 5)),
        ([(3, 5), (8, 0)], 9, (3, 9)),
        ([], 9, (1, 0)),
        ([(3, 0)], 2, (3, 2)),
    ],
)
def test_span(windows: list[tuple[int, int]], head: int, expected: tuple[int, int]) -> None:
    assert span(member(*windows), head) == expected


@given(st.sets(st.integers(1, 20)), st.integers(1, 20), st.integers(0, 20))
def test_every_number_asked_is_answered_once(have: set[int], low: int, high: int) -> None:
    answer = page([row(n) for n in sorted(have)], member((1, 0)), low, high)
    assert [msgspec.json.decode(entry)["seq"] for entry in answer.entries] == list(range(low, high + 1))
    assert set(answer.missing) == set(range(low, high + 1)) - have


def test_tombstones_decode_as_messages() -> None:
    assert codec.decode(tombstone(CONV, 7), Message).seq == 7


@given(st.integers(1, 12), st.integers(0, 12), st.integers(1, 5), st.booleans())
def test_following_the_cursor_reads_every_number_once(first: int, head: int, limit: int, forward: bool) -> None:
    cursor, found, more = (0 if forward else None), [], True
    while more:
        low, high, more = bounds(first, head, cursor if forward else None, None if forward else cursor, limit)
        assert high - low < limit
        found += range(low, high + 1)
        cursor = high if forward else low
    assert sorted(found) == list(range(first, head + 1))


@given(st.lists(st.binary(max_size=9), min_size=1), st.integers(0, 40), st.booleans())
def test_a_page_fits_its_room_but_has_one_entry_at_least(entries: list[bytes], room: int, from_the_end: bool) -> None:
    whole = tuple(entries)
    taken = fitting(whole, room, from_the_end=from_the_end)
    assert taken == (whole[len(whole) - len(taken) :] if from_the_end else whole[: len(taken)])
    assert len(taken) == 1 or sum(map(len, taken)) + len(taken) <= room
    more = whole[len(whole) - len(taken) - 1 :] if from_the_end else whole[: len(taken) + 1]
    assert len(taken) == len(whole) or sum(map(len, more)) + len(more) > room
