"""Groups: creation and settings. Membership is in `members`.

Rules
- A group's id derives from its creator and the request's id, so that a repeated request makes nothing new.
- The creator is its first admin. Names and descriptions are cleaned here, whoever sent them.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

from bridge import members
from bridge.decision import NOTHING, Decision, Settings
from bridge.numbering import event, numbered
from bridge.orders import Alter
from bridge.state import State
from stores.ports.directory import Person
from stores.ports.entries import Member, Window
from tidings.protocol import ids, limits
from tidings.protocol.commands import AddMembers, ChangeGroup, CreateGroup, RemoveMember, SetRole
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import UserId
from tidings.protocol.payloads import clean_about, clean_name


def decide(state: State, order: Alter, people: Mapping[UserId, Person], at: int) -> Decision:
    """Decide a change of a group. Raises `Refusal`."""
    change = order.change
    if isinstance(change, CreateGroup):
        return _create(state, order, change, people, at)
    if not state.head:
        raise Refusal(Code.UNKNOWN_CONVERSATION)
    if ids.kind_of(state.conv) != "g":
        raise Refusal(Code.NOT_ALLOWED, "only a group has settings, roles and changing members")
    match change:
        case ChangeGroup():
            return _change(state, order, change, at)
        case AddMembers():
            return members.add(state, order, change, people, at)
        case RemoveMember():
            return members.remove(state, order, change, at)
        case SetRole():
            return members.set_role(state, order, change, at)
    assert_never(change)


def concerned(order: Alter) -> Iterable[UserId]:
    """List the users whose accounts a change depends on."""
    change = order.change
    if isinstance(change, CreateGroup | AddMembers):
        return (order.user, *change.members[: limits.GROUP_MEMBERS + 1])
    return ()


def _create(state: State, order: Alter, change: CreateGroup, people: Mapping[UserId, Person], at: int) -> Decision:
    if ids.group_conversation(order.user, order.id) != order.conv:
        raise Refusal(Code.BAD_ID, "a new group's id derives from its creator and the request's id")
    if state.head:
        raise Refusal(Code.CONFLICT, "this group exists already")
    wanted = tuple(dict.fromkeys((order.user, *change.members)))
    members.check_room(len(wanted))
    members.check_known(wanted, people)
    users = tuple(user for user in wanted if order.user not in people[user].blocks)
    settings = Settings(clean_name(change.name), clean_about(change.description), change.history)
    said = event(
        "group.created",
        name=settings.name,
        description=settings.description,
        members=users,
        history=settings.history,
    )
    row = numbered(state, at, sender=order.user, device=order.device, id_=order.id, content=said, digest=order.digest)
    joined = tuple(
        Member(state.conv, user, members.ADMIN if user == order.user else members.MEMBER, (Window(1),))
        for user in users
    )
    return Decision(rows=(row,), members=joined, settings=settings, seq=row.seq)


def _change(state: State, order: Alter, change: ChangeGroup, at: int) -> Decision:
    members.check_admin(state, order.user)
    before = Settings(state.name, state.description, state.history)
    after = Settings(
        before.name if change.name is None else clean_name(change.name),
        before.description if change.description is None else clean_about(change.description),
        before.history if change.history is None else change.history,
    )
    changed = {
        name: getattr(after, name)
        for name in ("name", "description", "history")
        if getattr(after, name) != getattr(before, name)
    }
    if not changed:
        return NOTHING
    row = numbered(
        state,
        at,
        sender=order.user,
        device=order.device,
        id_=order.id,
        content=event("group.changed", **changed),
        digest=order.digest,
    )
    return Decision(rows=(row,), settings=after, seq=row.seq)
