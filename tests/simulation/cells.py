"""A store of cells with the faults that CQL stores have: parts of a commit land late, or never, or unheard.

Rules
- A request touches one partition. It lands at one instant or not at all; parts of one commit land each at its own.
- A request may be refused (never lands), lost (a time-out; never lands), unheard (lands now, answered by a time-out) or
  late (a time-out; lands up to a minute later, whether its sender lives or not).
- A cell keeps its timestamp: the highest wins; of equal timestamps the greater value, as Cassandra has it.
- The journal's insert-if-absent happens at the instant it lands: linearizable, though its outcome may be unknown.
- What was acknowledged, every later read sees.
"""

import asyncio
import random
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from stores.cql.cells import EpochRow
from stores.ports.entries import Conversation, Epoch, IdKey, IdRecord, JournalEntry, MarkMove, Member
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable
from tidings.protocol.ids import ConvId, Group, UserId

T = TypeVar("T")


class CellFaults(NamedTuple):
    """How often a request meets which fate (probabilities), and the spans of virtual seconds drawn for it."""

    refused: float = 0.0
    lost: float = 0.0
    unheard: float = 0.0
    late: float = 0.0
    latency: tuple[float, float] = (0.0005, 0.005)
    timeout: float = 2.0
    lateness: tuple[float, float] = (0.01, 60.0)


_FORGOTTEN: Final = "forgotten"
"""The owner of what stands where an entry was forgotten."""
NO_FAULTS: Final = CellFaults()


class Table(Generic[T]):
    """Cells by key, each with the timestamp of the write that won."""

    def __init__(self) -> None:
        self._cells: dict[Hashable, tuple[int, bytes, T]] = {}

    def put(self, key: Hashable, value: T, timestamp: int) -> None:
        """Write a cell; it stays as it is if what stands there is newer."""
        mine = (timestamp, msgspec.msgpack.encode(value))
        stands = self._cells.get(key)
        if stands is None or mine > stands[:2]:
            self._cells[key] = (*mine, value)

    def get(self, key: Hashable) -> T | None:
        """Read a cell."""
        stands = self._cells.get(key)
        return None if stands is None else stands[2]

    def under(self, *prefix: Any) -> list[tuple[Any, T]]:
        """Read the cells whose key begins so, ascending by key."""
        found = [(key, cell[2]) for key, cell in self._cells.items() if key[: len(prefix)] == prefix]  # type: ignore[index]
        return sorted(found, key=lambda pair: pair[0])


class SimCells:
    """`CellStore` in memory, on the running loop's virtual time. `faults` may be changed at any time."""

    def __init__(
        self,
        dice: random.Random,
        faults: CellFaults = NO_FAULTS,
        appended: Callable[[JournalEntry], None] = lambda _: None,
    ) -> None:
        """`appended` is shown every journal entry at the instant it stands."""
        self.faults = faults
        self._dice = dice
        self.show = appended
        self._rows: Table[EpochRow] = Table()
        self._journal: dict[Group, dict[int, JournalEntry]] = {}
        self._published: Table[int] = Table()
        self._ids: Table[IdRecord] = Table()
        self._lists: Table[bool] = Table()
        self._members: Table[Member] = Table()
        self._marks: Table[int] = Table()
        self._moves: Table[MarkMove] = Table()
        self._headers: Table[Conversation] = Table()
        self._heads: Table[int] = Table()

    # Rows.

    async def put_rows(self, bucket: int, rows: Sequence[EpochRow], timestamp: int) -> None:
        assert len({written.row.conv for written in rows}) == 1, "an unlogged batch stays in one partition"

        def land() -> None:
            for written in rows:
                key = (written.row.conv, bucket, written.row.seq, written.epoch)
                self._rows.put(key, written, timestamp)

        await self._write(land)

    async def rows(self, conv: ConvId, bucket: int, low: int, high: int) -> list[EpochRow]:
        await self._read()
        return [row for key, row in self._rows.under(conv, bucket) if low <= key[2] <= high]

    # Journals.

    async def append_journal(self, entry: JournalEntry) -> JournalEntry:
        def land() -> JournalEntry:
            journal = self._journal.setdefault(entry.group, {})
            if entry.n not in journal:
                journal[entry.n] = entry
                self.show(entry)
            return journal[entry.n]

        return await self._write(land)

    async def journal(self, group: Group, after: int, limit: int) -> list[JournalEntry]:
        await self._read()
        entries = self._journal.get(group, {})
        kept = [entries[n] for n in sorted(entries) if n > after and entries[n].owner != _FORGOTTEN]
        return kept[:limit]

    async def put_published(self, group: Group, n: int) -> None:
        await self._write(lambda: self._published.put((group,), n, n))

    async def published(self, group: Group) -> int:
        await self._read()
        return self._published.get((group,)) or 0

    async def forget_journal(self, group: Group, below: int) -> int:
        def land() -> int:
            journal = self._journal.get(group, {})
            forgotten = [n for n, entry in journal.items() if n < below and entry.owner != _FORGOTTEN]
            for n in forgotten:
                journal[n] = JournalEntry(group, n, Epoch(0), 0, fence=True, owner=_FORGOTTEN)
            return len(forgotten)

        return await self._write(land)

    # The index and the lists.

    async def put_ids(self, records: Sequence[IdRecord], timestamp: int) -> None:
        partitions = {(record.key.conv, record.key.user, record.key.device) for record in records}
        assert len(partitions) == 1, "an unlogged batch stays in one partition"

        def land() -> None:
            for record in records:
                self._ids.put(record.key, record, timestamp)

        await self._write(land)

    async def id(self, key: IdKey) -> IdRecord | None:
        await self._read()
        return self._ids.get(key)

    async def put_listed(self, user: UserId, conv: ConvId, timestamp: int) -> None:
        await self._write(lambda: self._lists.put((user, conv), True, timestamp))

    async def listed(self, user: UserId, after: str, limit: int) -> list[ConvId]:
        await self._read()
        return [key[1] for key, _ in self._lists.under(user) if key[1] > after][:limit]

    # What stands beside a log.

    async def put_members(self, members: Sequence[Member], timestamp: int) -> None:
        def land() -> None:
            for member in members:
                self._members.put((member.conv, member.user), member, timestamp)

        await self._write(land)

    async def members(self, conv: ConvId) -> list[Member]:
        await self._read()
        return [member for _, member in self._members.under(conv)]

    async def put_marks(self, moves: Sequence[MarkMove], timestamp: int) -> None:
        def land() -> None:
            for move in moves:
                self._moves.put((move.conv, move.version), move, timestamp)
                self._marks.put((move.conv, move.user, move.kind), move.to, move.to)

        await self._write(land)

    async def marks(self, conv: ConvId) -> dict[tuple[UserId, str], int]:
        await self._read()
        return {(key[1], key[2]): to for key, to in self._marks.under(conv)}

    async def moves(self, conv: ConvId) -> list[MarkMove]:
        await self._read()
        return [move for _, move in self._moves.under(conv)]

    async def put_head(self, header: Conversation, timestamp: int) -> None:
        def land() -> None:
            self._headers.put((header.conv,), header, timestamp)
            self._heads.put((header.conv,), header.head, header.head)

        await self._write(land)

    async def head(self, conv: ConvId) -> Conversation | None:
        await self._read()
        header, head = self._headers.get((conv,)), self._heads.get((conv,))
        return None if header is None or head is None else msgspec.structs.replace(header, head=head)

    # Fates.

    async def _read(self) -> None:
        await self._pass_time(self.faults.latency)
        if self._dice.random() < self.faults.refused:
            raise StoreUnavailable("simulated: refused")

    async def _write(self, land: Callable[[], T]) -> T:
        faults = self.faults
        await self._pass_time(faults.latency)
        fate = self._dice.random()
        if fate < faults.refused:
            raise StoreUnavailable("simulated: refused")
        fate -= faults.refused
        if fate < faults.lost + faults.unheard + faults.late:
            if faults.lost <= fate < faults.lost + faults.unheard:
                land()
            elif fate >= faults.lost:
                loop = asyncio.get_running_loop()
                loop.call_later(self._dice.uniform(*faults.lateness), land)
            await asyncio.sleep(faults.timeout)
            raise OutcomeUnknown("simulated: time-out")
        answer = land()
        await self._pass_time(faults.latency)
        return answer

    async def _pass_time(self, span: tuple[float, float]) -> None:
        await asyncio.sleep(self._dice.uniform(*span))
