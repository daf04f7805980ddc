"""Answering a device's questions (`do`): where do my conversations stand, and what was said there?

Rules
- Only committed reads (`LogReader`), never the owner's memory: a device must not see what may still be given up.
- Who is not and never was a member gets the same answer as for a conversation that does not exist.
- A page ascends; with `after` it is the oldest above it, else the newest below `before`. It is cut by count and by
  bytes, so that the reply fits a packet; `hasMore` tells.
- A member's mark is told to others up to the last move that was shown.
"""

import logging
from typing import Final, assert_never

from bridge import metrics
from bridge.asking import Question
from stores import visible
from stores.marks import shown_marks
from stores.ports.entries import Member, Snapshot
from stores.ports.log import LogReader
from tidings.protocol import codec, limits
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import UserId
from tidings.protocol.payloads import DoHeads, DoSync, DoWatch, Head, HeadsReply, Message, SyncReply, Wire

log = logging.getLogger(__name__)

REPLY_BYTES: Final = limits.PACKET_BYTES * 3 // 4
"""Entries of one reply; the rest of a packet is for marks, names and MQTT."""


async def answer(reader: LogReader, question: Question) -> Wire:
    """Answer a question. Raises `Refusal`, `StoreUnavailable`."""
    match question.request:
        case DoHeads():
            return await _heads(reader, question.user, question.request)
        case DoSync():
            return await _sync(reader, question.user, question.request)
        case DoWatch():
            raise Refusal(Code.INTERNAL, "a watch is answered by its lane group")
    assert_never(question.request)


async def _heads(reader: LogReader, user: UserId, ask: DoHeads) -> HeadsReply:
    found = await reader.heads(user, ask.after, limits.HEADS_PAGE)
    heads = tuple(Head(of.conv, of.first, of.head, of.receipts) for of in found)
    return HeadsReply(ask.id, heads, next=heads[-1].conv if len(heads) == limits.HEADS_PAGE else "")


async def _sync(reader: LogReader, user: UserId, ask: DoSync) -> SyncReply:
    snapshot = await reader.header(ask.conv)
    member = _member(snapshot, user)
    if snapshot is None or member is None:
        raise Refusal(Code.UNKNOWN_CONVERSATION)
    first, head = visible.span(member, snapshot.conversation.head)
    limit = min(max(1, ask.limit), limits.HISTORY_PAGE_MOST)
    after = ask.after if ask.after >= 0 else None
    low, high, more = visible.bounds(first, head, after, ask.before if ask.before > 0 else None, limit)
    rows = await reader.rows(ask.conv, low, high) if low <= high else []
    page = visible.page(rows, member, low, high)
    if page.missing:
        metrics.MISSING.inc(len(page.missing))
        log.error("rows are missing: %s %s", ask.conv, page.missing[:10])
    entries = visible.fitting(page.entries, REPLY_BYTES, from_the_end=ask.after < 0)
    return SyncReply(
        ask.id,
        ask.conv,
        tuple(codec.decode(entry, Message) for entry in entries),
        has_more=more or len(entries) < len(page.entries),
        first=first,
        head=head,
        marks=await shown_marks(reader, snapshot, member),
        receipts=visible.receipts_told(member, snapshot.conversation.receipts),
    )


def _member(snapshot: Snapshot | None, user: UserId) -> Member | None:
    members = snapshot.members if snapshot else ()
    return next((member for member in members if member.user == user and member.windows), None)
