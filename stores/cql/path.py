"""The write path over cells: rows → journal (the commit) → id index, members, lists, marks → head.

Rules (design, promise 3; every interleaving is searched in `tests/model`, this code is tried in `tests/simulation`)
- Appending `(group, n)` to the journal *if absent* is the commit. Nothing before it is visible, and everything after it
  is derived from the entry, so that any later owner can finish it.
- Each step is known to have landed before the next is sent. Every write's timestamp is the entry's `n` (a head's is the
  head, a mark's the mark): a repeat, or a predecessor's write that lands late, changes nothing.
- An owner that did not hear the outcome sends the same entry again, byte for byte, and is told what stands at its `n`.
- A fence at `n` opens the epoch `n`. Whoever was fenced out can still write rows, but of a lower epoch than those that
  its successors commit, and never a journal entry.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from stores.cql.cells import CellStore, EpochRow
from stores.cql.reading import CqlReader, oldest_first
from stores.cql.requests import together
from stores.ports.entries import Epoch, IdKey, IdRecord, JournalEntry, MarkMove, Member, Opened, Row, Snapshot
from stores.ports.log import Outcome
from tidings.protocol import limits
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable
from tidings.protocol.ids import GROUPS, ConvId, DeviceId, Group, UserId

BUCKET: Final = 1_000
"""Rows of a partition: at 1 KiB a row about 1 MB, far below what the engines advise against."""
TAIL: Final = 100
"""Rows a snapshot brings along."""
KEPT_MS: Final = limits.ID_KEPT_SECONDS * 1_000
"""How long journal entries are kept at least; records of the id index have their own, longer life in the store."""
_PAGE: Final = 200
"""Journal entries read at once."""
_NOTE_EVERY: Final = 16
"""Commits between two notes of the published position: about so many entries does a successor read in vain."""

_Part = TypeVar("_Part", Member, MarkMove)


class CqlLog(CqlReader):
    """The message log over a store of cells: `LogWriter`, `LogReader` and `Journal`.

    `bucket` rows lie in one partition; it must never change for a store that has rows.
    """

    def __init__(self, cells: CellStore, bucket: int = BUCKET) -> None:
        super().__init__(cells, bucket)
        self._begun: set[tuple[Group, int]] = set()

    async def open(self, group: Group, owner: str, now: int) -> Opened:
        """Fence the group at the next free `n`, then finish what predecessors left unfinished. After any error, call
        again: a fence too many harms nobody. `owner` must be unique among processes."""
        published = await self._cells.published(group)
        entries = await self._journal_above(group, published)
        fence = await self._do_fence(group, owner, now, entries, published)
        for entry in entries:
            await self._do_derive(entry)
        unpublished = tuple(entry for entry in entries if entry.n > fence.published and not entry.fence)
        return Opened(epoch=fence.epoch, next_n=fence.n + 1, unpublished=unpublished)

    async def commit(self, entry: JournalEntry) -> Outcome:
        """Carry one entry through the path. Raises `StoreUnavailable` only when no attempt left anything behind."""
        at = (entry.group, entry.n)
        await self._do_rows(entry)
        self._begun.add(at)
        try:
            if await self._cells.append_journal(entry) != entry:
                self._begun.discard(at)
                return Outcome.FENCED
            await self._do_derive(entry)
        except StoreUnavailable as error:
            raise OutcomeUnknown(f"{entry.group}/{entry.n}: the rows stand, the rest may not") from error
        self._begun.discard(at)
        await self._note_published(entry)
        return Outcome.COMMITTED

    async def load(self, conv: ConvId, *, ids_since: int, ids_most: int = 10_000) -> Snapshot | None:
        """Load a conversation for its owner."""
        header = await self.header(conv)
        if header is None:
            return None
        head = header.conversation.head
        tail = await self._committed(conv, max(1, head - TAIL + 1), head)
        ids, whole = await self._young_ids(conv, head, ids_since, ids_most)
        return Snapshot(header.conversation, header.members, header.marks, tuple(tail), ids, whole)

    async def find_id(self, key: IdKey) -> IdRecord | None:
        """Look one idempotency key up in the index."""
        return await self._cells.id(key)

    async def prune(self, now: int) -> int:
        """Forget journal entries that are older than `KEPT_MS` and noted as published, by whole partitions; tells how
        many. One call forgets a bounded number a group: call it again while it tells more than 0. May run beside the
        owners, and twice at once."""
        return sum([await self._prune(group, now - KEPT_MS) for group in GROUPS])

    async def _prune(self, group: Group, before: int) -> int:
        published = await self._cells.published(group)
        below = 0
        for entry in await self._cells.journal(group, 0, _PAGE) if published else ():
            if entry.n >= published or entry.at >= before:
                break
            below = entry.n + 1
        return await self._cells.forget_journal(group, below) if below else 0

    async def _journal_above(self, group: Group, after: int) -> list[JournalEntry]:
        entries: list[JournalEntry] = []
        while page := await self._cells.journal(group, entries[-1].n if entries else after, _PAGE):
            entries += page
        return entries

    async def _do_fence(
        self, group: Group, owner: str, now: int, entries: list[JournalEntry], published: int
    ) -> JournalEntry:
        """Append a fence at the first free `n`. What a predecessor appended meanwhile joins `entries`."""
        while True:
            n = (entries[-1].n if entries else published) + 1
            known = max((entry.published for entry in entries), default=published)
            fence = JournalEntry(group, n, Epoch(n), now, fence=True, owner=owner, published=max(known, published))
            stands = await self._cells.append_journal(fence)
            if stands == fence:
                return fence
            entries.append(stands)

    async def _do_rows(self, entry: JournalEntry) -> None:
        """Write the rows, one request a partition. What was once sent may land later with these numbers, so a failure
        is unknown, unless every part of a first attempt was refused."""
        parts: dict[tuple[ConvId, int], list[EpochRow]] = {}
        for row in entry.rows:
            parts.setdefault((row.conv, row.seq // self._bucket), []).append(EpochRow(entry.epoch, row))
        failures = await together(self._cells.put_rows(bucket, rows, entry.n) for (_, bucket), rows in parts.items())
        if not failures:
            return
        refused = len(failures) == len(parts) and all(isinstance(error, StoreUnavailable) for error in failures)
        if refused and (entry.group, entry.n) not in self._begun:
            raise failures[0]
        self._begun.add((entry.group, entry.n))
        raise OutcomeUnknown(f"{entry.group}/{entry.n}: rows may have landed") from failures[0]

    async def _do_derive(self, entry: JournalEntry) -> None:
        """Write everything but the rows; the heads last, for they make it visible."""
        cells, n = self._cells, entry.n
        derived = [
            *(cells.put_ids(records, n) for records in _by_device(entry.rows)),
            *(cells.put_listed(member.user, member.conv, n) for member in entry.members),
            *(cells.put_members(members, n) for members in _by_conversation(entry.members)),
            *(cells.put_marks(moves, n) for moves in _by_conversation(entry.marks)),
        ]
        _raise_first(await together(derived))
        _raise_first(await together(cells.put_head(header, n) for header in entry.conversations))

    async def _note_published(self, entry: JournalEntry) -> None:
        """Spare a successor work now and then. Losing the note costs it only time."""
        if entry.n % _NOTE_EVERY == 0 and entry.published:
            with suppress(StoreUnavailable, OutcomeUnknown):
                await self._cells.put_published(entry.group, entry.published)

    async def _young_ids(self, conv: ConvId, head: int, since: int, most: int) -> tuple[tuple[IdRecord, ...], bool]:
        """Read the ids with `at >= since`, at most `most`, and tell whether these are all. Owners' clocks differ, so
        `at` may fall within a log: the search ends only below a whole bucket of old rows."""
        pages: list[list[Row]] = []
        count = 0
        for bucket in range(head // self._bucket, -1, -1):
            low, high = bucket * self._bucket, min(head, (bucket + 1) * self._bucket - 1)
            young = [row for row in await self._committed(conv, max(low, 1), high) if row.at >= since]
            if not young and high < head:
                break
            pages.append([row for row in young if row.id])
            count += len(pages[-1])
            if count > most:  # perhaps an id used twice: that is told as not whole, and costs a look-up
                break
        newest = {record.key: record for record in map(_record, oldest_first(pages))}
        records = sorted(newest.values(), key=lambda record: record.seq)
        return tuple(records[max(0, len(records) - most) :]), count <= most


def _record(row: Row) -> IdRecord:
    return IdRecord(IdKey(row.conv, row.sender, row.device, row.id), row.seq, row.digest, row.at)


def _by_device(rows: Iterable[Row]) -> Iterable[Sequence[IdRecord]]:
    """Tell the ids' records by conversation, user and device. A key that stands twice in an entry is told once, as it
    last stood: what one request writes twice to one cell would be the store's choice."""
    found: dict[tuple[ConvId, UserId, DeviceId], dict[IdKey, IdRecord]] = {}
    for record in (_record(row) for row in rows if row.id):
        key = record.key
        found.setdefault((key.conv, key.user, key.device), {})[key] = record
    return [tuple(records.values()) for records in found.values()]


def _by_conversation(parts: Iterable[_Part]) -> Iterable[Sequence[_Part]]:
    found: dict[ConvId, list[_Part]] = {}
    for part in parts:
        found.setdefault(part.conv, []).append(part)
    return found.values()


def _raise_first(failures: list[BaseException]) -> None:
    if failures:
        raise failures[0]
