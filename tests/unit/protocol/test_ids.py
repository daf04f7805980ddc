"""Ids: their forms, and what is derived from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.protocol import ids
from tidings.protocol.errors import KINDS, Code, Refusal
from tidings.protocol.ids import MessageId

users = st.binary(min_size=11, max_size=11).map(ids.make_user_id)
requests = st.from_regex(r"[A-Za-z0-9_-]{1,36}", fullmatch=True).map(MessageId)
CHECKS = (ids.user_id, ids.device_id, ids.conv_id, ids.message_id, ids.lane)


@given(entropy=st.binary(min_size=11, max_size=40))
def test_what_is_made_has_the_form(entropy: bytes) -> None:
    user = ids.user_id(ids.make_user_id(entropy))
    assert ids.lane_of(user) == f"{entropy[0]:02x}"
    assert ids.cell_of(user) == ids.CELL
    ids.device_id(ids.make_device_id(entropy))


@given(one=users, other=users)
def test_a_direct_conversation_is_the_same_from_both_sides(one: ids.UserId, other: ids.UserId) -> None:
    conv = ids.conv_id(ids.direct_conversation(one, other))
    assert conv == ids.direct_conversation(other, one)
    assert ids.kind_of(conv) == ("s" if one == other else "d")
    assert ids.lane_of(conv) in ids.lanes_of(ids.group_of(ids.lane_of(conv)))


@given(one=users, other=users, third=users)
def test_different_peers_have_different_conversations(one: ids.UserId, other: ids.UserId, third: ids.UserId) -> None:
    same = ids.direct_conversation(one, other) == ids.direct_conversation(one, third)
    assert same == (other == third)


@given(creator=users, request=requests)
def test_a_groups_id_follows_from_creator_and_request(creator: ids.UserId, request: MessageId) -> None:
    conv = ids.conv_id(ids.group_conversation(creator, request))
    assert conv == ids.group_conversation(creator, request)
    assert ids.kind_of(conv) == "g"


@given(user=users)
def test_a_self_log_is_on_its_users_lane(user: ids.UserId) -> None:
    conv = ids.conv_id(ids.self_conversation(user))
    assert (ids.cell_of(conv), ids.lane_of(conv), ids.kind_of(conv)) == (ids.cell_of(user), ids.lane_of(user), "s")


@pytest.mark.parametrize("length", [0, 1, 2, 35, 36, 37])
def test_a_message_id_has_1_to_36_characters(length: int) -> None:
    if 1 <= length <= 36:
        assert ids.message_id("x" * length) == "x" * length
    else:
        with pytest.raises(Refusal, match="badId"):
            ids.message_id("x" * length)


@pytest.mark.parametrize("check", CHECKS)
@given(text=st.text(max_size=50))
def test_any_text_is_an_id_or_refused(check, text: str) -> None:  # type: ignore[no-untyped-def]
    try:
        assert check(text) == text
    except Refusal as refusal:
        assert refusal.code is Code.BAD_ID  # noqa: PT017 - it need not be raised


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("bad", ["", " ", "x\n", "a/b", "+", "#", "é", "٣", "\0"])
def test_no_id_has_a_character_that_means_something_to_a_broker(check, bad: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Refusal, match="badId"):
        check(bad)


def test_all_lanes_are_in_one_group_each() -> None:
    assert sorted(lane for group in ids.GROUPS for lane in ids.lanes_of(group)) == sorted(ids.LANES)
    assert all(lane in ids.lanes_of(ids.group_of(lane)) for lane in ids.LANES)


def test_every_code_has_a_row_and_a_sentence() -> None:
    assert set(KINDS) == set(Code)
    for code, kind in KINDS.items():
        assert str(Refusal(code)) == f"{code}: {kind.advice}"
        assert kind.advice.endswith(".")
        assert 400 <= kind.status < 600
