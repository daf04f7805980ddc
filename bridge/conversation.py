"""The conversation state machine: `(state, order, what was looked up, at) -> verdict`.

Rules
- Pure: no clock, no I/O, no change of the state. `State.apply` takes a decision in.
- Numbers are given without gaps, from head + 1 (promise 2). `at` never goes back within a conversation.
- The key (conversation, user, device, id) has one number for 7 days. It is fresh, without a read, only if all ids of
  that time are in memory; else the index is asked first. The same key with another digest is refused (`idReused`).
- What a member may not see is written into the row at commit (`hidden_for`) and never decided again: who blocks the
  sender has a tombstone there, and the sender is not told.
- A direct conversation, or one's own log, begins with its first message, which proves the id by naming the other.
"""

from collections.abc import Iterable, Mapping
from typing import Final, assert_never

from msgspec import Struct, field

from bridge import groups, receipts
from bridge.decision import Decision, NeedId, Repeat, Verdict
from bridge.members import check_member
from bridge.numbering import event, numbered
from bridge.orders import Acknowledge, Alter, Order, Say, Type
from bridge.state import KEPT_MS, Key, Known, State
from stores.ports.directory import Person
from stores.ports.entries import IdKey, Member, Row, Window
from tidings.protocol import ids
from tidings.protocol.codec import encode
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId, MessageId, UserId
from tidings.protocol.payloads import Message

CREATED: Final = MessageId("created")
"""The id of the entry that begins a direct conversation: it has no other sender than the first message's."""


class Found(Struct):
    """What was looked up for the order at hand: index records (None: no such id), the hidden numbers of rows that
    are older than the state remembers (`{user: seqs}`, complete from `hidden_from` on), and single rows."""

    ids: dict[Key, Known | None] = field(default_factory=dict)
    hidden: dict[UserId, frozenset[int]] = field(default_factory=dict)
    hidden_from: int = 0
    rows: dict[int, Row | None] = field(default_factory=dict)


People = Mapping[UserId, Person]


def decide(state: State, order: Order, people: People, at: int, found: Found) -> Verdict:
    """Decide one order. `people` holds those of `concerned` that exist. Raises `Refusal`."""
    match order:
        case Say():
            return _say(state, order, people, at, found)
        case Acknowledge():
            return receipts.decide(state, order, people, at, found.hidden, found.hidden_from)
        case Alter():
            before = _repeat(state, (order.user, order.device, order.id), order.digest, at, found)
            return before if before is not None else groups.decide(state, order, people, at)
        case Type():
            check_member(state, order.user)
            return Decision()
    assert_never(order)


def concerned(state: State, order: Order) -> Iterable[UserId]:
    """List the users whose accounts the decision depends on."""
    match order:
        case Say():
            return state.active if state.head else (order.user, order.message.to or order.user)
        case Type():
            return state.active
        case Acknowledge():
            return (order.user,)
        case Alter():
            return groups.concerned(order)
    assert_never(order)


def blockers(state: State, sender: UserId, people: People) -> tuple[UserId, ...]:
    """List the members that block the sender: what it says is hidden from them."""
    return tuple(
        user
        for user in state.active
        if user != sender and (person := people.get(user)) is not None and sender in person.blocks
    )


def _say(state: State, order: Say, people: People, at: int, found: Found) -> Verdict:
    message = order.message
    before = _repeat(state, (order.user, order.device, message.id), order.digest, at, found)
    if before is not None:
        return before
    at = max(at, state.last_at)
    if state.head:
        check_member(state, order.user)
        hidden = blockers(state, order.user, people)
    else:
        other = people.get(message.to)
        hidden = (other.user,) if other is not None and order.user in other.blocks else ()
    begun = _begin(state, order, people, at, hidden) if not state.head else None
    head = state.head + len(begun.rows if begun else ())
    if message.reply_to > head:
        raise Refusal(Code.BAD_VALUE, "replyTo must be the seq of an earlier message")
    row = _row(order, head + 1, at, hidden)
    if begun is None:
        return Decision(rows=(row,), seq=row.seq)
    return Decision(rows=(*begun.rows, row), members=begun.members, seq=row.seq)


def _row(order: Say, seq: int, at: int, hidden: tuple[UserId, ...]) -> Row:
    said = order.message
    canonical = Message(
        conv=order.conv,
        seq=seq,
        id=said.id,
        from_=order.user,
        device=order.device,
        sent_at=said.sent_at,
        at=at,
        kind=said.kind,
        body=said.body,
        reply_to=said.reply_to,
        forwarded_from=said.forwarded_from,
        attachments=said.attachments,
        mentions=said.mentions,
    )
    return Row(
        order.conv,
        seq,
        said.id,
        order.user,
        order.device,
        at,
        said.kind,
        encode(canonical),
        order.digest,
        hidden,
    )


def _repeat(state: State, key: Key, digest: bytes, at: int, found: Found) -> Repeat | NeedId | None:
    known = state.ids.get(key)
    if known is None and not state.ids_whole:
        if key not in found.ids:
            user, device, id_ = key
            return NeedId(IdKey(state.conv, user, device, id_))
        known = found.ids[key]
    if known is None or at - known.at > KEPT_MS:
        return None
    if known.digest != digest:
        raise Refusal(Code.ID_REUSED)
    return Repeat(known.seq)


def _begin(state: State, order: Say, people: People, at: int, hidden: tuple[UserId, ...]) -> Decision:
    """Begin a direct conversation or one's own log; from whom the first message is hidden, its beginning is too."""
    one, other = order.user, order.message.to or order.user
    if ids.direct_conversation(one, other) != order.conv:
        raise Refusal(Code.UNKNOWN_CONVERSATION)
    if other not in people:
        raise Refusal(Code.UNKNOWN_RECIPIENT)
    users = (one,) if one == other else (one, other)
    created = numbered(
        state,
        at,
        sender=one,
        id_=CREATED,
        device=DeviceId(""),
        content=event("direct.created", members=users),
        hidden=hidden,
    )
    members = tuple(Member(order.conv, user, "member", (Window(1),)) for user in users)
    return Decision(rows=(created,), members=members)
