"""Reading conversations: what one member may see of history, heads, marks and receipts, without HTTP.

Rules
- Who is not and never was a member gets the same answer as for a conversation that does not exist: a direct
  conversation's id can be computed by anybody, and must not tell that two people talk.
- What may be seen is decided by `stores.visible`; what happened after a member left is not told.
- A member's mark is told to others up to the last move that was shown: what was read while read receipts were hidden,
  and entries hidden from that reader, never show.
"""

from typing import Final, NamedTuple

from msgspec import Struct

from stores import visible
from stores.ports.entries import Conversation, MarkMove, Member, Row, Snapshot
from stores.ports.log import LogReader
from tidings.protocol import payloads
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import ConvId, UserId

_LOOK_UPS: Final = 64


class View(NamedTuple):
    """A conversation as one member sees it: entries `first … head`."""

    conversation: Conversation
    member: Member
    members: tuple[Member, ...]
    marks: dict[tuple[UserId, str], int]
    first: int
    head: int


class History(NamedTuple):
    """A page of entries, ascending, JSON each. `cursor` continues in the direction asked, 0 when there is no more."""

    entries: tuple[bytes, ...]
    missing: tuple[int, ...]
    cursor: int


class Told(Struct, frozen=True, rename="camel"):
    """When an entry was delivered to, and read by, one member (ms, 0 not yet or not told)."""

    user: UserId
    delivered_at: int
    read_at: int


def view_of(snapshot: Snapshot | None, user: UserId) -> View:
    """Take one member's view. Raises `Refusal(unknownConversation)`."""
    member = next((m for m in snapshot.members if m.user == user and m.windows), None) if snapshot else None
    if snapshot is None or member is None:
        raise Refusal(Code.UNKNOWN_CONVERSATION, "you have no such conversation")
    first, head = visible.span(member, snapshot.conversation.head)
    return View(snapshot.conversation, member, snapshot.members, snapshot.marks, first, head)


async def open_view(log: LogReader, conv: ConvId, user: UserId) -> View:
    """Read a conversation for one member. Raises `Refusal(unknownConversation)`, `StoreUnavailable`."""
    return view_of(await log.header(conv), user)


def bounds(view: View, after: int | None, before: int | None, limit: int) -> tuple[int, int, int]:
    """Tell which numbers `low … high` answer a request, and the cursor for the next one (0: no more).

    With `after`, the oldest above it; otherwise the newest below `before` (or at all).
    """
    high = view.head if before is None else min(view.head, before - 1)
    low = view.first if after is None else max(view.first, after + 1)
    if after is not None:
        cut = min(high, low + limit - 1)
        return low, cut, cut if cut < high else 0
    cut = max(low, high - limit + 1)
    return cut, high, cut if cut > low else 0


async def history(log: LogReader, view: View, after: int | None, before: int | None, limit: int) -> History:
    """Read a page of history: every number is answered."""
    low, high, cursor = bounds(view, after, before, limit)
    if low > high:
        return History((), (), 0)
    found = await log.rows(view.conversation.conv, low, high)
    page = visible.page(found, view.member, low, high)
    return History(page.entries, page.missing, cursor)


async def shown_marks(log: LogReader, view: View) -> list[payloads.Mark]:
    """Tell the marks of the present members, as far as the viewer may see them: its own as they are, others' up to the
    last move that was shown."""
    shown = _Shown(log, view.conversation.conv)
    marks: list[payloads.Mark] = []
    for member in view.members:
        own = member.user == view.member.user
        if not own and not (member.active and view.member.active):
            continue
        marks_of = {kind: view.marks.get((member.user, kind), 0) for kind in payloads.RECEIPT_KINDS}
        if not own:
            marks_of = {kind: await shown.up_to(member.user, kind, mark) for kind, mark in marks_of.items()}
        delivered, read = (min(marks_of[kind], view.head) for kind in payloads.RECEIPT_KINDS)
        if delivered or read:
            marks.append(payloads.Mark(member.user, max(delivered, read), read))
    return marks


class _Shown:
    """Looks up how far members' marks may be told. Members mostly stand at the same few numbers, each read once; what
    would cost more reads than `_LOOK_UPS` is not told."""

    def __init__(self, log: LogReader, conv: ConvId) -> None:
        self._log = log
        self._conv = conv
        self._known: dict[int, list[MarkMove]] = {}

    async def up_to(self, user: UserId, kind: str, mark: int) -> int:
        """Tell the end of the last shown move at or below `mark`; 0 when there is none."""
        while mark > 0:
            moves = [move for move in await self._moves(mark) if move.user == user and move.kind == kind]
            if any(move.shown for move in moves):
                return mark
            mark = min((move.from_ for move in moves), default=0)
        return 0

    async def _moves(self, seq: int) -> list[MarkMove]:
        if seq not in self._known:
            if len(self._known) >= _LOOK_UPS:
                return []
            self._known[seq] = await self._log.moves(self._conv, seq)
        return self._known[seq]


async def receipts_of(log: LogReader, view: View, seq: int) -> list[Told]:
    """Tell who has received and read an entry when. Raises `Refusal(notFound)` when the viewer may not see it."""
    rows = await log.rows(view.conversation.conv, seq, seq)
    if not rows or not visible.is_visible(rows[0], view.member):
        raise Refusal(Code.NOT_FOUND, f"there is no message {seq} for you")
    return told(rows[0], view.members, await log.moves(view.conversation.conv, seq))


def told(row: Row, members: tuple[Member, ...], moves: list[MarkMove]) -> list[Told]:
    """Tell of every member who could see the entry, but its sender, when it was delivered and read."""
    delivered: dict[UserId, int] = {}
    read: dict[UserId, int] = {}
    for move in moves:
        if move.shown:
            (read if move.kind == "read" else delivered).setdefault(move.user, move.at)
    return [
        Told(m.user, delivered.get(m.user, read.get(m.user, 0)), read.get(m.user, 0))
        for m in members
        if m.user != row.sender and visible.is_visible(row, m)
    ]


def unread(rows: list[Row], view: View) -> int:
    """Count messages of others above the read mark among these rows: entries that are no messages do not count."""
    mark = view.marks.get((view.member.user, "read"), 0)
    return sum(
        row.seq > mark
        and row.sender != view.member.user
        and not payloads.is_event(row.kind)
        and visible.is_visible(row, view.member)
        for row in rows
    )
