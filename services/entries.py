"""Reading conversations: what one member may see of history, heads, marks and receipts, without HTTP.

Rules
- Who is not and never was a member gets the same answer as for a conversation that does not exist: a direct
  conversation's id can be computed by anybody, and must not tell that two people talk.
- What may be seen is decided by `stores.visible`; what happened after a member left is not told.
"""

from typing import Final, NamedTuple

from stores import visible
from stores.ports.entries import Conversation, MarkMove, Member, Row, Snapshot
from stores.ports.log import LogReader
from tidings.protocol import payloads
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import ConvId, UserId

_PAGE_BYTES: Final = 2 * 1024 * 1024
"""Entries of one page; fewer when they are long, and at least one."""


class View(NamedTuple):
    """A conversation as one member sees it: entries `first … head`."""

    snapshot: Snapshot
    member: Member
    first: int
    head: int

    @property
    def conversation(self) -> Conversation:
        """The header."""
        return self.snapshot.conversation

    @property
    def receipts(self) -> int:
        """The receipt version, as far as the member may know it."""
        return visible.receipts_told(self.member, self.conversation.receipts)


class History(NamedTuple):
    """A page of entries, ascending, JSON each. `cursor` continues in the direction asked, 0 when there is no more."""

    entries: tuple[bytes, ...]
    missing: tuple[int, ...]
    cursor: int


class Told(NamedTuple):
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
    return View(snapshot, member, first, head)


async def open_view(log: LogReader, conv: ConvId, user: UserId) -> View:
    """Read a conversation for one member. Raises `Refusal(unknownConversation)`, `StoreUnavailable`."""
    return view_of(await log.header(conv), user)


async def history(log: LogReader, view: View, after: int | None, before: int | None, limit: int) -> History:
    """Read a page of history: every number is answered. The newest below `before` (or at all), or the oldest above
    `after`; cut by count and by bytes."""
    low, high, more = visible.bounds(view.first, view.head, after, before, limit)
    if low > high:
        return History((), (), 0)
    forward = after is not None
    page = visible.page(await log.rows(view.conversation.conv, low, high), view.member, low, high)
    shown = visible.fitting(page.entries, _PAGE_BYTES, from_the_end=not forward)
    if not more and len(shown) == len(page.entries):
        return History(shown, page.missing, 0)
    return History(shown, page.missing, low + len(shown) - 1 if forward else high - len(shown) + 1)


async def receipts_of(log: LogReader, view: View, seq: int) -> list[Told]:
    """Tell who has received and read an entry when. Raises `Refusal(notFound)` when the viewer may not see it."""
    rows = await log.rows(view.conversation.conv, seq, seq)
    if not rows or not visible.is_visible(rows[0], view.member):
        raise Refusal(Code.NOT_FOUND, f"there is no message {seq} for you")
    return told(rows[0], view.snapshot.members, await log.moves(view.conversation.conv, seq))


def told(row: Row, members: tuple[Member, ...], moves: list[MarkMove]) -> list[Told]:
    """Tell of every member whose windows hold the entry, but its sender, when it was delivered and read. From whom it
    is hidden looks like who has not received it: a block is not told."""
    delivered: dict[UserId, int] = {}
    read: dict[UserId, int] = {}
    for move in moves:
        if move.shown:
            (read if move.kind == "read" else delivered).setdefault(move.user, move.at)
    return [
        Told(m.user, delivered.get(m.user, read.get(m.user, 0)), read.get(m.user, 0))
        for m in members
        if m.user != row.sender and m.sees(row.seq)
    ]


def unread(rows: list[Row], view: View) -> int:
    """Count messages of others above the read mark among these rows: entries that are no messages do not count."""
    mark = view.snapshot.marks.get((view.member.user, "read"), 0)
    return sum(
        row.seq > mark
        and row.sender != view.member.user
        and not payloads.is_event(row.kind)
        and visible.is_visible(row, view.member)
        for row in rows
    )
