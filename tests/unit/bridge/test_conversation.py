"""Messages: beginnings, numbers, repeats, blocks."""

import pytest

from bridge.decision import NeedId
from bridge.state import KEPT_MS, Known
from stores.ports.entries import IdKey
from tests.unit.bridge.deciding import Talk, direct, done, group, repeat_of
from tests.unit.bridge.house import ALICE, BOB, CAROL, NOW, PHONE, TABLET, user
from tidings.protocol import ids
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import MessageId


def test_a_direct_conversation_begins_with_its_first_message() -> None:
    talk = direct()
    decision = done(talk.say(ALICE, "hello"))
    assert [(row.seq, row.kind, row.id) for row in decision.rows] == [
        (1, "direct.created", "created"),
        (2, "text", "m1"),
    ]
    assert decision.seq == 2
    assert {member.user for member in decision.members} == {ALICE, BOB}
    assert talk.log[0].data == {"members": [ALICE, BOB]}


def test_ones_own_log_begins_with_ones_first_message() -> None:
    talk = Talk(ids.self_conversation(ALICE))
    done(talk.say(ALICE, "note", to=ALICE))
    assert talk.state.active == (ALICE,)
    done(talk.say(ALICE, "another", to=ids.UserId("")))
    assert talk.state.head == 3


@pytest.mark.parametrize(
    ("sender", "to", "code"),
    [
        (ALICE, CAROL, Code.UNKNOWN_CONVERSATION),
        (ALICE, ids.UserId(""), Code.UNKNOWN_CONVERSATION),
        (CAROL, BOB, Code.UNKNOWN_CONVERSATION),
    ],
)
def test_a_first_message_must_prove_the_conversation(sender: ids.UserId, to: ids.UserId, code: Code) -> None:
    with pytest.raises(Refusal) as refused:
        direct().say(sender, to=to)
    assert refused.value.code is code


def test_an_unknown_recipient_is_refused() -> None:
    stranger = user(77)
    talk = Talk(ids.direct_conversation(ALICE, stranger))
    with pytest.raises(Refusal) as refused:
        talk.say(ALICE, to=stranger)
    assert refused.value.code is Code.UNKNOWN_RECIPIENT
    assert talk.state.head == 0


def test_a_strangers_message_does_not_tell_that_the_conversation_exists() -> None:
    talk = direct()
    talk.say(ALICE)
    with pytest.raises(Refusal) as refused:
        talk.say(CAROL)
    assert refused.value.code is Code.UNKNOWN_CONVERSATION


def test_numbers_have_no_gaps_and_time_never_goes_back() -> None:
    talk = direct()
    for step in (0, 50, -10_000, 20):
        talk.now = NOW + step
        talk.say(ALICE)
    assert [message.seq for message in talk.log] == [1, 2, 3, 4, 5]
    times = [message.at for message in talk.log]
    assert times == sorted(times)


def test_case_repeated_id_within_the_cache_has_one_number() -> None:
    talk = direct()
    first = done(talk.say(ALICE, "one", id_="m"))
    talk.say(BOB, "two")
    assert repeat_of(talk.say(ALICE, "one", id_="m")) == first.seq
    assert talk.state.head == 3


@pytest.mark.parametrize("on", [TABLET])
def test_another_device_may_use_the_same_id(on: ids.DeviceId) -> None:
    talk = direct()
    done(talk.say(ALICE, "one", id_="m"))
    assert done(talk.say(ALICE, "two", id_="m", on=on)).seq == 3
    assert done(talk.say(BOB, "three", id_="m")).seq == 4


def test_case_the_same_id_with_another_body_is_refused() -> None:
    talk = direct()
    talk.say(ALICE, "one", id_="m")
    with pytest.raises(Refusal) as refused:
        talk.say(ALICE, "another", id_="m")
    assert refused.value.code is Code.ID_REUSED
    assert talk.state.head == 2


def test_case_repeated_id_beyond_the_cache_is_looked_up() -> None:
    talk = direct()
    first = done(talk.say(ALICE, "one", id_="m"))
    known = talk.state.ids.pop((ALICE, PHONE, MessageId("m")))
    talk.state.ids_whole = False
    key = IdKey(talk.state.conv, ALICE, PHONE, MessageId("m"))
    assert talk.say(ALICE, "one", id_="m") == NeedId(key)
    talk.found.ids[ALICE, PHONE, MessageId("m")] = known
    assert repeat_of(talk.say(ALICE, "one", id_="m")) == first.seq
    talk.found.ids[ALICE, PHONE, MessageId("m")] = None
    assert done(talk.say(ALICE, "one", id_="m")).seq == 3


def test_a_fresh_id_costs_no_look_up_while_all_ids_are_known() -> None:
    talk = direct()
    talk.say(ALICE)
    assert talk.state.ids_whole
    done(talk.say(ALICE, id_="never-heard-of"))


@pytest.mark.parametrize(("age", "fresh"), [(KEPT_MS, False), (KEPT_MS + 1, True)])
def test_an_id_is_kept_for_seven_days(age: int, fresh: bool) -> None:
    talk = direct()
    talk.say(ALICE, "one", id_="m")
    talk.state.ids[ALICE, PHONE, MessageId("m")] = Known(2, talk.state.tail[-1].digest, NOW)
    talk.now = NOW + age
    if fresh:
        assert done(talk.say(ALICE, "one", id_="m")).seq == 3
    else:
        assert repeat_of(talk.say(ALICE, "one", id_="m")) == 2


def test_what_a_blocked_user_says_is_hidden_from_the_blocker_from_its_first_message_on() -> None:
    talk = direct()
    talk.block(BOB, ALICE)
    first = done(talk.say(ALICE))
    assert first.rows[-1].hidden_for == (BOB,)
    assert done(talk.say(BOB)).rows[-1].hidden_for == ()
    assert done(talk.say(ALICE)).rows[-1].hidden_for == (BOB,)


def test_a_blocked_user_cannot_even_show_that_it_began_a_conversation() -> None:
    talk = direct()
    talk.block(BOB, ALICE)
    begun = done(talk.say(ALICE))
    assert [(row.kind, row.hidden_for) for row in begun.rows] == [("direct.created", (BOB,)), ("text", (BOB,))]


def test_a_block_counts_in_groups_and_for_the_blocker_alone() -> None:
    talk = group(BOB, CAROL)
    talk.block(CAROL, BOB)
    assert done(talk.say(BOB)).rows[-1].hidden_for == (CAROL,)
    assert done(talk.say(ALICE)).rows[-1].hidden_for == ()


def test_a_reply_must_point_back() -> None:
    talk = direct()
    done(talk.say(ALICE, reply_to=1))
    with pytest.raises(Refusal) as refused:
        talk.say(ALICE, reply_to=3)
    assert refused.value.code is Code.BAD_VALUE


def test_the_sender_of_a_repeat_need_not_be_a_member_any_more() -> None:
    from tidings.protocol.commands import RemoveMember

    talk = group(BOB)
    said = done(talk.say(BOB, "last words", id_="m"))
    talk.alter(RemoveMember(BOB))
    assert repeat_of(talk.say(BOB, "last words", id_="m")) == said.seq
    with pytest.raises(Refusal) as refused:
        talk.say(BOB, "one more")
    assert refused.value.code is Code.NOT_MEMBER
