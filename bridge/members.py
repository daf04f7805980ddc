"""Membership: numbered entries and the windows they open and close.

Rules
- A window opens at the entry that lets a member in, or up to 100 entries before it where the group's `history` says so,
  and closes at the entry that takes the member out: that entry is the last one seen (design, section 4).
- Windows of one member rise and never overlap: who comes back does not see again what it saw, nor two windows at once.
- The last admin who leaves is followed by the longest member, so that a group with members has an admin.
"""

from collections.abc import Iterable, Mapping

from bridge.decision import NOTHING, Decision
from bridge.numbering import event, numbered
from bridge.orders import Alter
from bridge.state import State
from stores.ports.directory import Person
from stores.ports.entries import Member, Row, Window
from tidings.protocol import limits
from tidings.protocol.commands import AddMembers, RemoveMember, SetRole
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId, MessageId, UserId

ADMIN = "admin"
MEMBER = "member"


def check_member(state: State, user: UserId) -> Member:
    """Refuse who is no member now, without telling a stranger that the conversation exists."""
    member = state.members.get(user)
    if member is None:
        raise Refusal(Code.UNKNOWN_CONVERSATION)
    if not member.active:
        raise Refusal(Code.NOT_MEMBER)
    return member


def check_admin(state: State, user: UserId) -> Member:
    """Refuse who is no admin now."""
    member = check_member(state, user)
    if member.role != ADMIN:
        raise Refusal(Code.NOT_ALLOWED, "only an admin of the group may do this")
    return member


def check_known(users: Iterable[UserId], people: Mapping[UserId, Person]) -> None:
    """Refuse users that do not exist, naming the first."""
    for user in users:
        if user not in people:
            raise Refusal(Code.UNKNOWN_RECIPIENT, f"there is no user {user}")


def check_room(members: int) -> None:
    """Refuse a group above the limit."""
    if members > limits.GROUP_MEMBERS:
        raise Refusal(Code.GROUP_FULL, f"a group has at most {limits.GROUP_MEMBERS} members, not {members}")


def admitted(state: State, user: UserId, seq: int, role: str = MEMBER) -> Member:
    """Tell a member as it stands after entry `seq` let it in."""
    before = state.members.get(user)
    windows = before.windows if before else ()
    first = max(1, seq - limits.HISTORY_FOR_NEW_MEMBERS) if state.history else seq
    if windows:
        first = max(first, windows[-1].last + 1)
    return Member(state.conv, user, role, (*windows, Window(first)))


def dismissed(member: Member, seq: int) -> Member:
    """Tell a member as it stands after entry `seq` took it out."""
    *before, last = member.windows
    return Member(member.conv, member.user, MEMBER, (*before, Window(last.first, seq)))


def add(state: State, order: Alter, change: AddMembers, people: Mapping[UserId, Person], at: int) -> Decision:
    """Let users in. Who is in already stays as it is; who blocks the asker is not let in."""
    check_admin(state, order.user)
    wanted = [user for user in dict.fromkeys(change.members) if user not in state.active]
    if not wanted:
        return NOTHING
    check_room(len(state.active) + len(wanted))
    check_known(wanted, people)
    willing = [user for user in wanted if order.user not in people[user].blocks]
    if not willing:
        raise Refusal(Code.NOT_ALLOWED, "these users cannot be added by you")
    row = _entry(state, order, at, "member.added", members=willing)
    return Decision(rows=(row,), members=tuple(admitted(state, user, row.seq) for user in willing), seq=row.seq)


def remove(state: State, order: Alter, change: RemoveMember, at: int) -> Decision:
    """Take a member out; of oneself it is leaving."""
    if change.user == order.user:
        return _leave(state, order, at)
    check_admin(state, order.user)
    member = state.members.get(change.user)
    if member is None or not member.active:
        return NOTHING
    row = _entry(state, order, at, "member.removed", user=change.user)
    return Decision(rows=(row,), members=(dismissed(member, row.seq),), seq=row.seq)


def set_role(state: State, order: Alter, change: SetRole, at: int) -> Decision:
    """Make a member an admin, or an admin a member; the last admin cannot be made a member."""
    check_admin(state, order.user)
    if change.role not in (ADMIN, MEMBER):
        raise Refusal(Code.BAD_VALUE, "a role is 'admin' or 'member'")
    member = state.members.get(change.user)
    if member is None or not member.active:
        raise Refusal(Code.NOT_FOUND, "this user is no member")
    if member.role == change.role:
        return NOTHING
    if change.role == MEMBER and not _other_admins(state, change.user):
        raise Refusal(Code.CONFLICT, "a group needs an admin: make another member admin first")
    row = _entry(state, order, at, "member.role", user=change.user, role=change.role)
    changed = Member(member.conv, member.user, change.role, member.windows)
    return Decision(rows=(row,), members=(changed,), seq=row.seq)


def _leave(state: State, order: Alter, at: int) -> Decision:
    member = check_member(state, order.user)
    left = _entry(state, order, at, "member.left", user=order.user)
    heir = _longest(state, order.user) if member.role == ADMIN and not _other_admins(state, order.user) else None
    if heir is None:
        return Decision(rows=(left,), members=(dismissed(member, left.seq),), seq=left.seq)
    promoted = numbered(
        state,
        at,
        sender=heir.user,
        device=DeviceId(""),
        id_=MessageId(f"heir-{left.seq + 1}"),
        content=event("member.role", user=heir.user, role=ADMIN),
        after=1,
    )
    members = (dismissed(member, left.seq), Member(heir.conv, heir.user, ADMIN, heir.windows))
    return Decision(rows=(left, promoted), members=members, seq=left.seq)


def _other_admins(state: State, user: UserId) -> bool:
    return any(state.members[other].role == ADMIN for other in state.active if other != user)


def _longest(state: State, leaver: UserId) -> Member | None:
    """Tell who has been in for longest: whose present window begins first, by name among equals."""
    others = (state.members[user] for user in state.active if user != leaver)
    return min(others, key=lambda member: (member.windows[-1].first, member.user), default=None)


def _entry(state: State, order: Alter, at: int, kind: str, **data: object) -> Row:
    return numbered(
        state,
        at,
        sender=order.user,
        device=order.device,
        id_=order.id,
        content=event(kind, **data),
        digest=order.digest,
    )
