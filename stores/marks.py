"""How far the members of a conversation have come, as one of them may see it.

Rules: one's own marks are told as they are; others' up to the last move that was shown, since what was read while read
receipts were hidden never shows. Members mostly stand at the same few numbers, each looked up once; what would cost
more look-ups than the bound is not told.
"""

from typing import Final

from stores.ports.entries import MarkMove, Member, Snapshot
from stores.ports.log import LogReader
from stores.visible import last_seen_below
from tidings.protocol.ids import ConvId
from tidings.protocol.payloads import Mark

LOOK_UPS: Final = 64


async def shown_marks(reader: LogReader, snapshot: Snapshot, viewer: Member) -> tuple[Mark, ...]:
    """Tell the marks of the present members to `viewer`. Raises `StoreUnavailable`."""
    moves = _Moves(reader, snapshot.conversation.conv)
    marks: list[Mark] = []
    for member in snapshot.members:
        delivered = snapshot.marks.get((member.user, "delivered"), 0)
        read = snapshot.marks.get((member.user, "read"), 0)
        if member.user != viewer.user:
            if not (member.active and viewer.active):
                continue
            delivered = await moves.shown(member, "delivered", delivered)
            read = await moves.shown(member, "read", read)
        if delivered or read:
            marks.append(Mark(member.user, max(delivered, read), read))
    return tuple(marks)


class _Moves:
    """Moves by the number they cover, each read once, at most `LOOK_UPS` of them."""

    def __init__(self, reader: LogReader, conv: ConvId) -> None:
        self._reader = reader
        self._conv = conv
        self._known: dict[int, list[MarkMove]] = {}

    async def shown(self, member: Member, kind: str, mark: int) -> int:
        """Tell the end of the last shown move that ends at or below `mark`, 0 when there is none."""
        while (mark := last_seen_below(member, mark)) > 0:
            covering = [move for move in await self._covering(mark) if move.user == member.user and move.kind == kind]
            if any(move.shown for move in covering):
                return mark
            mark = min((move.from_ for move in covering), default=0)
        return 0

    async def _covering(self, seq: int) -> list[MarkMove]:
        if seq not in self._known:
            if len(self._known) >= LOOK_UPS:
                return []
            self._known[seq] = await self._reader.moves(self._conv, seq)
        return self._known[seq]
