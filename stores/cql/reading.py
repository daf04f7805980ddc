"""Committed reads over cells, for history, sync, heads and lists; from any process.

Rules
- The stored head is read first, and nothing above it is shown: a row not above the head is known to have landed.
- Not above the head, the row of the highest epoch is the row: whoever wrote another one there was fenced out before.
- A row that is missing is left out; the caller raises alarm (`stores.visible.page`).
"""

from collections.abc import Sequence

from stores.cql.cells import CellStore
from stores.ports.entries import Conversation, JournalEntry, MarkMove, Member, Row, Snapshot
from stores.ports.log import HeadOf
from stores.visible import receipts_told, span
from tidings.protocol.ids import ConvId, Group, UserId


class CqlReader:
    """`LogReader` and `Journal` over a store of cells. `bucket` rows lie in one partition."""

    def __init__(self, cells: CellStore, bucket: int) -> None:
        self._cells = cells
        self._bucket = bucket

    async def rows(self, conv: ConvId, low: int, high: int) -> list[Row]:
        """Read rows `low … high` (both included, cut at the stored head), ascending by seq."""
        header = await self._cells.head(conv)
        if header is None:
            return []
        return await self._committed(conv, max(low, 1), min(high, header.head))

    async def header(self, conv: ConvId) -> Snapshot | None:
        """Read header, members and marks of a conversation (no tail, no ids)."""
        conversation = await self._cells.head(conv)
        if conversation is None:
            return None
        members = await self._cells.members(conv)
        return Snapshot(conversation, tuple(members), await self._cells.marks(conv), tail=(), ids=(), ids_whole=False)

    async def heads(self, user: UserId, after: str, limit: int) -> list[HeadOf]:
        """List the conversations that the user is or was a member of, ascending by id, those above `after`."""
        found: list[HeadOf] = []
        while len(found) < limit and (page := await self._cells.listed(user, after, limit)):
            after = page[-1]
            found += [head for conv in page if (head := await self._head_of(conv, user)) is not None]
        return found[:limit]

    async def moves(self, conv: ConvId, seq: int) -> list[MarkMove]:
        """List the watermark moves that covered entry `seq`, oldest first."""
        return [move for move in await self._cells.moves(conv) if move.from_ < seq <= move.to]

    async def members(self, conv: ConvId) -> list[Member]:
        """List all members, present and past."""
        return await self._cells.members(conv)

    async def read(self, group: Group, after: int, limit: int) -> list[JournalEntry]:
        """Read committed entries with `n > after`, in order."""
        return await self._cells.journal(group, after, limit)

    async def _head_of(self, conv: ConvId, user: UserId) -> HeadOf | None:
        """Tell where one conversation stands for a user; None while its first entry is not yet finished."""
        header = await self._cells.head(conv)
        member = next((member for member in await self._cells.members(conv) if member.user == user), None)
        if header is None or member is None:
            return None
        return _seen(header, member)

    async def _committed(self, conv: ConvId, low: int, high: int) -> list[Row]:
        """Read rows that are all known to lie not above the head."""
        found: list[Row] = []
        for bucket in range(low // self._bucket, high // self._bucket + 1) if low <= high else ():
            by_seq = {written.row.seq: written.row for written in await self._cells.rows(conv, bucket, low, high)}
            found += by_seq.values()  # ascending by epoch within a seq: the last one stays
        return found


def _seen(header: Conversation, member: Member) -> HeadOf | None:
    first, last = span(member, header.head)
    told = receipts_told(member, header.receipts)
    return HeadOf(header.conv, first, last, told) if first <= last else None


def oldest_first(pages: Sequence[list[Row]]) -> list[Row]:
    """Join pages that were read backwards."""
    return [row for page in reversed(pages) for row in page]
