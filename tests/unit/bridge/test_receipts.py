"""Receipts: which ranges move which watermarks, and what of it is shown."""

import msgspec
import pytest

from bridge.decision import NOTHING, NeedRows
from bridge.orders import Acknowledge
from tests.unit.bridge.deciding import Talk, direct, done, group
from tests.unit.bridge.house import ALICE, BOB, CAROL
from tidings.protocol.commands import AddMembers, MarkRead, RemoveMember
from tidings.protocol.errors import Code, Refusal

Moves = list[tuple[str, int, int, bool]]


def talked(messages: int = 9) -> Talk:
    """Alice has said so many messages to Bob: the head is one more."""
    talk = direct()
    for _ in range(messages):
        talk.say(ALICE)
    return talk


def moves(talk: Talk, kind: str, low: int, to: int) -> Moves:
    return [(m.kind, m.from_, m.to, m.shown) for m in done(talk.acknowledge(BOB, kind, low, to)).marks]


def test_a_range_from_the_mark_moves_it() -> None:
    talk = talked()
    assert moves(talk, "delivered", 0, 4) == [("delivered", 0, 4, True)]
    assert moves(talk, "delivered", 4, 6) == [("delivered", 4, 6, True)]
    assert talk.state.receipts == 2


@pytest.mark.parametrize(("low", "to"), [(5, 7), (0, 4), (1, 3), (3, 4)])
def test_a_gap_or_what_is_known_already_moves_nothing(low: int, to: int) -> None:
    talk = talked()
    talk.acknowledge(BOB, "delivered", 0, 4)
    assert talk.acknowledge(BOB, "delivered", low, to) == NOTHING


def test_an_overlapping_range_moves_the_rest() -> None:
    talk = talked()
    talk.acknowledge(BOB, "delivered", 0, 4)
    assert moves(talk, "delivered", 2, 7) == [("delivered", 4, 7, True)]


def test_what_was_read_was_delivered() -> None:
    talk = talked()
    assert moves(talk, "read", 0, 3) == [("delivered", 0, 3, True), ("read", 0, 3, True)]
    talk.acknowledge(BOB, "delivered", 3, 8)
    assert moves(talk, "read", 3, 6) == [("read", 3, 6, True)]
    assert [talk.state.marks[BOB, kind] for kind in ("delivered", "read")] == [8, 6]


def test_a_receipt_ahead_of_the_log_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        talked().acknowledge(BOB, "delivered", 0, 11)
    assert refused.value.code is Code.BAD_VALUE


def test_a_strangers_receipt_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        talked().acknowledge(CAROL, "read", 0, 1)
    assert refused.value.code is Code.UNKNOWN_CONVERSATION


def test_case_what_is_read_while_receipts_are_hidden_never_shows() -> None:
    talk = talked()
    talk.people[BOB] = msgspec.structs.replace(talk.people[BOB], hides_read=True)
    assert moves(talk, "read", 0, 5) == [("delivered", 0, 5, True), ("read", 0, 5, False)]
    talk.people[BOB] = msgspec.structs.replace(talk.people[BOB], hides_read=False)
    assert moves(talk, "read", 5, 7) == [("delivered", 5, 7, True), ("read", 5, 7, True)]


def test_case_entries_hidden_from_the_reader_never_show() -> None:
    talk = direct()
    talk.say(ALICE)  # 2
    talk.block(BOB, ALICE)
    talk.say(ALICE)  # 3, hidden
    talk.say(ALICE)  # 4, hidden
    talk.say(BOB)  # 5
    talk.say(ALICE)  # 6, hidden
    assert moves(talk, "delivered", 0, 6) == [
        ("delivered", 0, 2, True),
        ("delivered", 2, 4, False),
        ("delivered", 4, 5, True),
        ("delivered", 5, 6, False),
    ]
    assert talk.state.receipts == 4


def test_hidden_entries_older_than_what_is_remembered_are_looked_up() -> None:
    talk = talked()
    talk.state.known_from = 6
    wanted = talk.acknowledge(BOB, "delivered", 0, 8)
    assert wanted == NeedRows(1, 5)
    talk.found.hidden, talk.found.hidden_from = {BOB: frozenset({3})}, 1
    assert moves(talk, "delivered", 0, 8) == [
        ("delivered", 0, 2, True),
        ("delivered", 2, 3, False),
        ("delivered", 3, 8, True),
    ]


def test_a_new_members_first_receipt_steps_over_what_it_cannot_see() -> None:
    talk = group(BOB, history=False)
    talk.say(BOB)
    talk.alter(AddMembers((CAROL,)))  # 3
    talk.say(BOB)  # 4
    decision = done(talk.acknowledge(CAROL, "delivered", 2, 4))
    assert [(m.from_, m.to) for m in decision.marks] == [(2, 4)]


def test_between_two_windows_nothing_need_be_held() -> None:
    talk = group(BOB, CAROL, history=False)  # 1
    talk.alter(RemoveMember(BOB))  # 2
    talk.say(CAROL)  # 3
    talk.alter(AddMembers((BOB,)))  # 4
    talk.say(CAROL)  # 5
    decision = done(talk.acknowledge(BOB, "delivered", 0, 5))
    assert [(m.from_, m.to, m.shown) for m in decision.marks] == [(0, 2, True), (3, 5, True)]


def test_who_left_may_still_acknowledge_what_it_saw() -> None:
    talk = group(BOB)
    talk.alter(RemoveMember(BOB))  # 2
    talk.say(ALICE)  # 3
    assert [(m.from_, m.to) for m in done(talk.acknowledge(BOB, "delivered", 0, 3)).marks] == [(0, 2)]


def test_by_http_only_the_end_is_told() -> None:
    talk = talked()
    decision = done(talk.put(Acknowledge(talk.state.conv, BOB, MarkRead("read", 5))))
    assert [(m.kind, m.from_, m.to) for m in decision.marks] == [("delivered", 0, 5), ("read", 0, 5)]
