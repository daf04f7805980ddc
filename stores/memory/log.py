"""The message log's model: `LogWriter`, `LogReader` and `Journal` over dictionaries.

Rules
- A commit is one step: nothing is awaited within it, so nobody sees a part of it.
- Derived things never go back: heads, receipt versions and marks only rise.
"""

from bisect import insort
from collections import defaultdict

import msgspec

from stores.ports.entries import (
    Conversation,
    Epoch,
    IdKey,
    IdRecord,
    JournalEntry,
    MarkMove,
    Member,
    Opened,
    Row,
    Snapshot,
)
from stores.ports.log import HeadOf, Outcome
from stores.visible import receipts_told, span
from tidings.protocol import limits
from tidings.protocol.ids import ConvId, Group, UserId

KEPT_MS = limits.ID_KEPT_SECONDS * 1000
_TAIL = 100


class MemoryLog:
    """See the module's rules."""

    def __init__(self) -> None:
        self._journals: defaultdict[Group, dict[int, JournalEntry]] = defaultdict(dict)
        self._last: defaultdict[Group, int] = defaultdict(int)
        self._rows: defaultdict[ConvId, dict[int, Row]] = defaultdict(dict)
        self._ids: dict[IdKey, IdRecord] = {}
        self._headers: dict[ConvId, Conversation] = {}
        self._members: defaultdict[ConvId, dict[UserId, Member]] = defaultdict(dict)
        self._lists: defaultdict[UserId, list[ConvId]] = defaultdict(list)
        self._marks: defaultdict[ConvId, dict[tuple[UserId, str], int]] = defaultdict(dict)
        self._moves: defaultdict[ConvId, list[MarkMove]] = defaultdict(list)

    async def open(self, group: Group, owner: str, now: int) -> Opened:
        """Fence the group."""
        n, published = self._last[group] + 1, self._published(group)
        unpublished = tuple(e for e in await self.read(group, published, n) if not e.fence)
        fence = JournalEntry(group, n, Epoch(n), now, fence=True, owner=owner, published=published)
        self._append(fence)
        return Opened(Epoch(n), n + 1, unpublished)

    async def commit(self, entry: JournalEntry) -> Outcome:
        """Commit the entry."""
        standing = self._journals[entry.group].get(entry.n)
        if standing is not None:
            return Outcome.COMMITTED if standing == entry else Outcome.FENCED
        self._check(entry)
        self._append(entry)
        for row in entry.rows:
            self._put_row(row)
        for member in entry.members:
            self._put_member(member)
        for move in entry.marks:
            self._put_move(move)
        for header in entry.conversations:
            self._put_header(header)
        return Outcome.COMMITTED

    async def load(self, conv: ConvId, *, ids_since: int, ids_most: int = 10_000) -> Snapshot | None:
        """Load a conversation; of more than `ids_most` ids the newest, in order of seq."""
        found = await self.header(conv)
        if found is None:
            return None
        head = found.conversation.head
        ids = [record for record in self._ids.values() if record.key.conv == conv and record.at >= ids_since]
        ids.sort(key=lambda record: record.seq)
        return msgspec.structs.replace(
            found,
            tail=tuple(await self.rows(conv, head - _TAIL + 1, head)),
            ids=tuple(ids[max(len(ids) - ids_most, 0) :]),
            ids_whole=len(ids) <= ids_most,
        )

    async def find_id(self, key: IdKey) -> IdRecord | None:
        """Look one idempotency key up."""
        return self._ids.get(key)

    async def rows(self, conv: ConvId, low: int, high: int) -> list[Row]:
        """Read rows `low … high`, cut at the stored head."""
        head = self._headers[conv].head if conv in self._headers else 0
        rows = self._rows.get(conv, {})
        return [rows[seq] for seq in sorted(rows) if low <= seq <= min(high, head)]

    async def header(self, conv: ConvId) -> Snapshot | None:
        """Read header, members and marks."""
        header = self._headers.get(conv)
        if header is None:
            return None
        marks = dict(self._marks.get(conv, {}))
        return Snapshot(header, tuple(await self.members(conv)), marks, tail=(), ids=(), ids_whole=False)

    async def heads(self, user: UserId, after: str, limit: int) -> list[HeadOf]:
        """List a user's conversations, those above `after`."""
        listed = self._lists.get(user, [])
        return [self._head(conv, user) for conv in listed if conv > after and conv in self._headers][:limit]

    async def moves(self, conv: ConvId, seq: int) -> list[MarkMove]:
        """List the watermark moves that covered an entry."""
        return [move for move in self._moves.get(conv, []) if move.from_ < seq <= move.to]

    async def members(self, conv: ConvId) -> list[Member]:
        """List all members, present and past."""
        members = self._members.get(conv, {})
        return [members[user] for user in sorted(members)]

    async def read(self, group: Group, after: int, limit: int) -> list[JournalEntry]:
        """Read a journal above `after`."""
        entries = self._journals[group]
        return [entries[n] for n in sorted(entries) if n > after][:limit]

    async def prune(self, now: int) -> int:
        """Forget entries older than `KEPT_MS`, published and not their group's last, with their ids."""
        pruned = 0
        for group, entries in self._journals.items():
            highest = min(self._published(group), self._last[group] - 1)
            for n in sorted(entries):
                times = (entries[n].at, *(row.at for row in entries[n].rows))
                if n > highest or max(times) >= now - KEPT_MS:
                    break
                self._forget_ids(entries.pop(n))
                pruned += 1
        return pruned

    def _published(self, group: Group) -> int:
        return max((entry.published for entry in self._journals[group].values()), default=0)

    def _check(self, entry: JournalEntry) -> None:
        if any(row.seq in self._rows[row.conv] for row in entry.rows):
            raise ValueError(f"an entry writes a row again: group {entry.group}, n {entry.n}")

    def _append(self, entry: JournalEntry) -> None:
        self._journals[entry.group][entry.n] = entry
        self._last[entry.group] = max(self._last[entry.group], entry.n)

    def _put_row(self, row: Row) -> None:
        self._rows[row.conv][row.seq] = row
        if row.id:
            key = IdKey(row.conv, row.sender, row.device, row.id)
            self._ids[key] = IdRecord(key, row.seq, row.digest, row.at)

    def _put_member(self, member: Member) -> None:
        if member.user not in self._members[member.conv]:
            insort(self._lists[member.user], member.conv)
        self._members[member.conv][member.user] = member

    def _put_move(self, move: MarkMove) -> None:
        marks = self._marks[move.conv]
        marks[move.user, move.kind] = max(move.to, marks.get((move.user, move.kind), 0))
        self._moves[move.conv].append(move)

    def _put_header(self, header: Conversation) -> None:
        old = self._headers.get(header.conv)
        if old is None:
            self._headers[header.conv] = header
        elif header.head >= old.head and header.receipts >= old.receipts:
            self._headers[header.conv] = msgspec.structs.replace(
                header, kind=old.kind, created_at=old.created_at, created_by=old.created_by
            )

    def _head(self, conv: ConvId, user: UserId) -> HeadOf:
        header = self._headers[conv]
        member = self._members[conv][user]
        first, last = span(member, header.head)
        return HeadOf(conv, first, last, receipts_told(member, header.receipts))

    def _forget_ids(self, entry: JournalEntry) -> None:
        for row in entry.rows:
            key = IdKey(row.conv, row.sender, row.device, row.id)
            known = self._ids.get(key)
            if known is not None and known.seq == row.seq:
                del self._ids[key]
