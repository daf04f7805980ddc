"""Groups and membership: numbered entries, windows, roles."""

import pytest

from bridge.decision import NOTHING
from stores.ports.directory import Person
from stores.ports.entries import Window
from tests.unit.bridge.deciding import GROUP, REQUEST, Talk, direct, done, group, repeat_of
from tests.unit.bridge.house import ALICE, BOB, CAROL, DAN, user
from tidings.protocol import ids, limits
from tidings.protocol.commands import AddMembers, ChangeGroup, CreateGroup, RemoveMember, SetRole
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import MessageId, UserId


def windows(talk: Talk, who: UserId) -> list[tuple[int, int]]:
    return [(window.first, window.last) for window in talk.state.members[who].windows]


def roles(talk: Talk) -> dict[UserId, str]:
    return {who: talk.state.members[who].role for who in talk.state.active}


def test_a_group_begins_with_its_creator_as_admin() -> None:
    talk = group(BOB, BOB, ALICE)
    assert roles(talk) == {ALICE: "admin", BOB: "member"}
    (created,) = talk.log
    assert (created.seq, created.kind, created.from_) == (1, "group.created", ALICE)
    assert created.data == {"name": "walkers", "description": "", "members": [ALICE, BOB], "history": True}


def test_case_a_repeated_creation_makes_one_group() -> None:
    talk = group(BOB)
    assert repeat_of(talk.alter(CreateGroup("walkers", (BOB,)), id_=REQUEST)) == 1
    with pytest.raises(Refusal) as refused:
        talk.alter(CreateGroup("others", (BOB,)), id_=REQUEST)
    assert refused.value.code is Code.ID_REUSED


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (CreateGroup("", (BOB,)), Code.BAD_VALUE),
        (CreateGroup("x" * 256, (BOB,)), Code.BAD_VALUE),
        (CreateGroup("g", (BOB,), description="d" * 2_049), Code.BAD_VALUE),
        (CreateGroup("g", (user(99),)), Code.UNKNOWN_RECIPIENT),
        (CreateGroup("g", tuple(user(n) for n in range(10, 10 + limits.GROUP_MEMBERS))), Code.GROUP_FULL),
    ],
)
def test_a_group_outside_the_limits_is_refused(change: CreateGroup, code: Code) -> None:
    talk = Talk(GROUP)
    with pytest.raises(Refusal) as refused:
        talk.alter(change, id_=REQUEST)
    assert refused.value.code is code
    assert talk.state.head == 0


def test_a_group_at_the_limit_is_made_and_takes_nobody_more() -> None:
    talk = Talk(GROUP)
    many = tuple(user(n) for n in range(10, 9 + limits.GROUP_MEMBERS))
    talk.people.update({who: Person(who) for who in many})
    done(talk.alter(CreateGroup("all of us", many), id_=REQUEST))
    assert len(talk.state.active) == limits.GROUP_MEMBERS
    with pytest.raises(Refusal) as refused:
        talk.alter(AddMembers((DAN,)))
    assert refused.value.code is Code.GROUP_FULL
    done(talk.alter(RemoveMember(many[0])))
    done(talk.alter(AddMembers((DAN,))))


def test_a_groups_id_must_derive_from_its_request() -> None:
    with pytest.raises(Refusal) as refused:
        Talk(GROUP).alter(CreateGroup("g"), id_="another")
    assert refused.value.code is Code.BAD_ID


def test_a_new_member_sees_a_hundred_entries_back_where_the_group_says_so() -> None:
    talk = group(BOB)
    for _ in range(150):
        talk.say(BOB)
    added = done(talk.alter(AddMembers((CAROL,))))
    assert added.seq == 152
    assert windows(talk, CAROL) == [(52, 0)]
    assert talk.state.members[BOB].windows == (Window(1),)


def test_a_new_member_sees_from_its_own_entry_on_where_the_group_says_so() -> None:
    talk = group(BOB, history=False)
    talk.say(BOB)
    talk.alter(AddMembers((CAROL,)))
    assert windows(talk, CAROL) == [(3, 0)]


def test_case_who_left_sees_its_leaving_and_nothing_later() -> None:
    talk = group(BOB, CAROL)
    talk.say(ALICE)
    left = done(talk.alter(RemoveMember(BOB), by=BOB))
    talk.say(ALICE)
    member = talk.state.members[BOB]
    assert (left.rows[0].kind, left.seq) == ("member.left", 3)
    assert (member.sees(3), member.sees(4), member.active) == (True, False, False)


def test_who_comes_back_has_windows_that_do_not_overlap() -> None:
    talk = group(BOB)
    talk.alter(RemoveMember(BOB))
    talk.say(ALICE)
    talk.alter(AddMembers((BOB,)))
    assert windows(talk, BOB) == [(1, 2), (3, 0)]
    assert roles(talk)[BOB] == "member"


def test_adding_members_again_changes_nothing_and_needs_no_number() -> None:
    talk = group(BOB)
    assert talk.alter(AddMembers((BOB, ALICE))) == NOTHING
    added = done(talk.alter(AddMembers((BOB, CAROL, CAROL))))
    assert talk.log[-1].data == {"members": [CAROL]}
    assert added.seq == 2


def test_who_blocks_the_asker_is_not_added() -> None:
    talk = group(BOB)
    talk.block(CAROL, ALICE)
    done(talk.alter(AddMembers((CAROL, DAN))))
    assert set(talk.state.active) == {ALICE, BOB, DAN}
    with pytest.raises(Refusal) as refused:
        talk.alter(AddMembers((CAROL,)))
    assert refused.value.code is Code.NOT_ALLOWED


@pytest.mark.parametrize(
    "change", [AddMembers((DAN,)), RemoveMember(CAROL), SetRole(BOB, "admin"), ChangeGroup(name="mine")]
)
def test_only_an_admin_changes_a_group(change: AddMembers | RemoveMember | SetRole | ChangeGroup) -> None:
    talk = group(BOB, CAROL)
    with pytest.raises(Refusal) as refused:
        talk.alter(change, by=BOB)
    assert refused.value.code is Code.NOT_ALLOWED
    with pytest.raises(Refusal) as refused:
        talk.alter(change, by=DAN)
    assert refused.value.code is Code.UNKNOWN_CONVERSATION
    done(talk.alter(SetRole(BOB, "admin")))
    if not isinstance(change, SetRole):
        done(talk.alter(change, by=BOB))


def test_the_last_admin_who_leaves_is_followed_by_the_longest_member() -> None:
    talk = group(BOB, history=False)
    talk.alter(AddMembers((CAROL,)))
    left = done(talk.alter(RemoveMember(ALICE)))
    assert [(row.seq, row.kind) for row in left.rows] == [(3, "member.left"), (4, "member.role")]
    assert roles(talk) == {BOB: "admin", CAROL: "member"}
    assert not talk.state.members[ALICE].sees(4)


def test_an_admin_beside_others_leaves_without_an_heir_and_the_last_member_without_any() -> None:
    talk = group(BOB)
    talk.alter(SetRole(BOB, "admin"))
    assert len(done(talk.alter(RemoveMember(ALICE))).rows) == 1
    assert len(done(talk.alter(RemoveMember(BOB), by=BOB)).rows) == 1
    assert talk.state.active == ()


def test_roles() -> None:
    talk = group(BOB)
    with pytest.raises(Refusal) as refused:
        talk.alter(SetRole(ALICE, "member"))
    assert refused.value.code is Code.CONFLICT
    with pytest.raises(Refusal) as refused:
        talk.alter(SetRole(BOB, "king"))
    assert refused.value.code is Code.BAD_VALUE
    with pytest.raises(Refusal) as refused:
        talk.alter(SetRole(CAROL, "admin"))
    assert refused.value.code is Code.NOT_FOUND
    assert talk.alter(SetRole(BOB, "member")) == NOTHING
    done(talk.alter(SetRole(BOB, "admin")))
    done(talk.alter(SetRole(ALICE, "member")))
    assert roles(talk) == {ALICE: "member", BOB: "admin"}


def test_settings_say_only_what_changed() -> None:
    talk = group(BOB)
    done(talk.alter(ChangeGroup(name="  hikers ", history=True)))
    assert talk.log[-1].data == {"name": "hikers"}
    assert (talk.state.name, talk.state.history) == ("hikers", True)
    assert talk.alter(ChangeGroup(name="hikers")) == NOTHING
    done(talk.alter(ChangeGroup(description="two\nlines", history=False)))
    assert talk.log[-1].data == {"description": "two\nlines", "history": False}


def test_a_direct_conversation_has_no_members_to_change() -> None:
    talk = direct()
    with pytest.raises(Refusal) as refused:
        talk.alter(AddMembers((CAROL,)))
    assert refused.value.code is Code.UNKNOWN_CONVERSATION
    talk.say(ALICE)
    with pytest.raises(Refusal) as refused:
        talk.alter(AddMembers((CAROL,)))
    assert refused.value.code is Code.NOT_ALLOWED


def test_the_heirs_entry_has_an_id_of_its_own() -> None:
    talk = group(BOB, CAROL)
    talk.alter(RemoveMember(ALICE))
    talk.alter(RemoveMember(BOB), by=BOB)
    keys = [(row.sender, row.device, row.id) for row in talk.state.tail]
    assert len(set(keys)) == len(keys)
    assert all(ids.message_id(MessageId(row.id)) for row in talk.state.tail)
