"""`CellStore` on the tables of `schema`: each call one prepared request, or one unlogged batch, to one partition.

Rules
- Timestamps are given (`USING TIMESTAMP`), so a repeat changes nothing and a late write never wins over a newer one. A
  lightweight transaction has its own.
- A journal's slot that was pruned stays sealed: whoever appends there is told that another entry stands.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Self, TypeVar

import msgspec

from stores.cql.cells import EpochRow
from stores.cql.driver import Ask, CqlSession, Request
from stores.ports.entries import Conversation, Epoch, IdKey, IdRecord, JournalEntry, MarkMove, Member, Row
from tidings.protocol.ids import ConvId, Group, UserId

SLOT: Final = 100
"""Journal entries of a partition: at 200 rows of 1 KiB an entry about 20 MB."""

STATEMENTS: Final[dict[str, tuple[Ask, str]]] = {
    "put_row": (
        Ask.WRITE,
        "INSERT INTO {k}.rows (conv, bucket, seq, epoch, row) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
    ),
    "rows": (
        Ask.READ,
        "SELECT epoch, row FROM {k}.rows WHERE conv = ? AND bucket = ? AND seq >= ? AND seq <= ?",
    ),
    "append": (
        Ask.COMPARE,
        "UPDATE {k}.journal SET entry = ? WHERE lane_group = ? AND slot = ? AND n = ?"
        " IF entry = null AND sealed = null",
    ),
    "journal": (
        Ask.SERIAL_READ,
        "SELECT entry FROM {k}.journal WHERE lane_group = ? AND slot = ? AND n > ? LIMIT ?",
    ),
    "seal": (
        Ask.COMPARE,
        "UPDATE {k}.journal SET sealed = true WHERE lane_group = ? AND slot = ? IF sealed = null",
    ),
    "empty": (Ask.WRITE, "DELETE FROM {k}.journal WHERE lane_group = ? AND slot = ? AND n >= 0"),
    "put_published": (
        Ask.WRITE,
        "INSERT INTO {k}.positions (lane_group, published) VALUES (?, ?) USING TIMESTAMP ?",
    ),
    "put_pruned": (
        Ask.WRITE,
        "INSERT INTO {k}.positions (lane_group, pruned) VALUES (?, ?) USING TIMESTAMP ?",
    ),
    "positions": (Ask.READ, "SELECT published, pruned FROM {k}.positions WHERE lane_group = ?"),
    "put_id": (
        Ask.WRITE,
        "INSERT INTO {k}.ids (conv, sender, device, id, record) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?",
    ),
    "id": (Ask.READ, "SELECT record FROM {k}.ids WHERE conv = ? AND sender = ? AND device = ? AND id = ?"),
    "put_listed": (Ask.WRITE, "INSERT INTO {k}.lists (member, conv) VALUES (?, ?) USING TIMESTAMP ?"),
    "listed": (Ask.READ, "SELECT conv FROM {k}.lists WHERE member = ? AND conv > ? LIMIT ?"),
    "put_member": (Ask.WRITE, "INSERT INTO {k}.members (conv, member, entry) VALUES (?, ?, ?) USING TIMESTAMP ?"),
    "members": (Ask.READ, "SELECT entry FROM {k}.members WHERE conv = ?"),
    "put_mark": (
        Ask.WRITE,
        "INSERT INTO {k}.marks (conv, part, version, member, kind, mark) VALUES (?, 0, 0, ?, ?, ?) USING TIMESTAMP ?",
    ),
    "put_move": (
        Ask.WRITE,
        "INSERT INTO {k}.marks (conv, part, version, member, kind, move) VALUES (?, 1, ?, '', '', ?) USING TIMESTAMP ?",
    ),
    "marks": (Ask.READ, "SELECT member, kind, mark FROM {k}.marks WHERE conv = ? AND part = 0"),
    "moves": (Ask.READ, "SELECT move FROM {k}.marks WHERE conv = ? AND part = 1"),
    "put_header": (Ask.WRITE, "INSERT INTO {k}.headers (conv, header) VALUES (?, ?) USING TIMESTAMP ?"),
    "put_head": (Ask.WRITE, "INSERT INTO {k}.headers (conv, head) VALUES (?, ?) USING TIMESTAMP ?"),
    "head": (Ask.READ, "SELECT header, head FROM {k}.headers WHERE conv = ?"),
}
"""Every statement, by the name under which it is prepared. `{k}`: the keyspace. `schema` tells the parts of `marks`."""

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


class CqlCells:
    """`CellStore` on a migrated keyspace: `await CqlCells.prepare(session, keyspace)`.

    `slot` is how many journal entries lie in one partition; it must never change for a store that has entries.
    """

    def __init__(self, session: CqlSession, requests: dict[str, Request], slot: int) -> None:
        self._session = session
        self._ask = requests
        self._slot = slot

    @classmethod
    async def prepare(cls, session: CqlSession, keyspace: str, slot: int = SLOT) -> Self:
        """Prepare all statements. Raises `StoreUnavailable`, also when the keyspace is not there."""
        prepared = await asyncio.gather(
            *(session.prepare(cql.replace("{k}", keyspace), ask) for ask, cql in STATEMENTS.values())
        )
        return cls(session, dict(zip(STATEMENTS, prepared, strict=True)), slot)

    # Rows.

    async def put_rows(self, bucket: int, rows: Sequence[EpochRow], timestamp: int) -> None:
        """Write rows of one conversation and bucket, all or none."""
        put = self._ask["put_row"]
        await self._session.write(
            [(put, (row.conv, bucket, row.seq, epoch, _encode(row), timestamp)) for epoch, row in rows]
        )

    async def rows(self, conv: ConvId, bucket: int, low: int, high: int) -> list[EpochRow]:
        """Read every epoch's rows of `low … high`, ascending by seq, then epoch."""
        found = await self._session.execute(self._ask["rows"], (conv, bucket, low, high))
        return [EpochRow(Epoch(epoch), _decoded(row, Row)) for epoch, row in found]

    # Journals.

    async def append_journal(self, entry: JournalEntry) -> JournalEntry:
        """Append if absent; tells what stands there."""
        values = (_encode(entry), entry.group, entry.n // self._slot, entry.n)
        applied, *stands = (await self._session.execute(self._ask["append"], values))[0]
        if applied:
            return entry
        other = next((value for value in stands if isinstance(value, bytes)), None)
        return _decoded(other, JournalEntry) if other is not None else _pruned(entry)

    async def journal(self, group: Group, after: int, limit: int) -> list[JournalEntry]:
        """Read entries above `after`, at serial consistency. Numbers have no gaps: a slot that is not full, or is empty
        and not pruned, is the last."""
        found: list[JournalEntry] = []
        slot = (after + 1) // self._slot
        while len(found) < limit:
            page = await self._session.execute(self._ask["journal"], (group, slot, after, limit - len(found)))
            found += [_decoded(entry, JournalEntry) for (entry,) in page if entry is not None]
            if page and (found[-1].n + 1) % self._slot:
                break
            further = slot + 1 if page else await self._pruned(group)
            if further <= slot:
                break
            slot = further
        return found

    async def put_published(self, group: Group, n: int) -> None:
        """Note what is finished and published."""
        await self._session.execute(self._ask["put_published"], (group, n, n))

    async def published(self, group: Group) -> int:
        """Read that note."""
        return (await self._positions(group))[0]

    async def forget_journal(self, group: Group, below: int) -> int:
        """Seal, then empty, the slots that end below; tells how many entries they held."""
        first = slot = await self._pruned(group)
        while (slot + 1) * self._slot <= below:
            await self._session.execute(self._ask["seal"], (group, slot))
            await self._session.execute(self._ask["empty"], (group, slot))
            slot += 1
            await self._session.execute(self._ask["put_pruned"], (group, slot, slot))
        return (slot - first) * self._slot - (first == 0 < slot)  # numbers begin at 1

    async def _pruned(self, group: Group) -> int:
        """Read the first slot that is not pruned."""
        return (await self._positions(group))[1]

    async def _positions(self, group: Group) -> tuple[int, int]:
        found = await self._session.execute(self._ask["positions"], (group,))
        published, pruned = found[0] if found else (None, None)
        return published or 0, pruned or 0

    # The index and the lists.

    async def put_ids(self, records: Sequence[IdRecord], timestamp: int) -> None:
        """Write one device's records of the id index; the table's time to live begins."""
        put = self._ask["put_id"]
        await self._session.write([(put, (*_parts(record.key), _encode(record), timestamp)) for record in records])

    async def id(self, key: IdKey) -> IdRecord | None:
        """Read one record of the id index."""
        found = await self._session.execute(self._ask["id"], _parts(key))
        return _decoded(found[0][0], IdRecord) if found else None

    async def put_listed(self, user: UserId, conv: ConvId, timestamp: int) -> None:
        """Put a conversation on a user's list."""
        await self._session.execute(self._ask["put_listed"], (user, conv, timestamp))

    async def listed(self, user: UserId, after: str, limit: int) -> list[ConvId]:
        """Read a user's list above `after`."""
        found = await self._session.execute(self._ask["listed"], (user, after, limit))
        return [ConvId(conv) for (conv,) in found]

    # What stands beside a log.

    async def put_members(self, members: Sequence[Member], timestamp: int) -> None:
        """Write members of one conversation, all or none."""
        put = self._ask["put_member"]
        await self._session.write([(put, (member.conv, member.user, _encode(member), timestamp)) for member in members])

    async def members(self, conv: ConvId) -> list[Member]:
        """Read all members, ascending by user."""
        found = await self._session.execute(self._ask["members"], (conv,))
        return [_decoded(entry, Member) for (entry,) in found]

    async def put_marks(self, moves: Sequence[MarkMove], timestamp: int) -> None:
        """Write moves and where the marks arrive, all or none."""
        put_mark, put_move = self._ask["put_mark"], self._ask["put_move"]
        moved = [(put_move, (move.conv, move.version, _encode(move), timestamp)) for move in moves]
        stand = [(put_mark, (move.conv, move.user, move.kind, move.to, move.to)) for move in moves]
        await self._session.write([*moved, *stand])

    async def marks(self, conv: ConvId) -> dict[tuple[UserId, str], int]:
        """Read where the marks stand."""
        found = await self._session.execute(self._ask["marks"], (conv,))
        return {(UserId(user), kind): mark for user, kind, mark in found}

    async def moves(self, conv: ConvId) -> list[MarkMove]:
        """Read all moves, ascending by version."""
        found = await self._session.execute(self._ask["moves"], (conv,))
        return [_decoded(move, MarkMove) for (move,) in found]

    async def put_head(self, header: Conversation, timestamp: int) -> None:
        """Write a header and its head, both or none."""
        put_header = (self._ask["put_header"], (header.conv, _encode(header), timestamp))
        put_head = (self._ask["put_head"], (header.conv, header.head, header.head))
        await self._session.write([put_header, put_head])

    async def head(self, conv: ConvId) -> Conversation | None:
        """Read a header."""
        found = await self._session.execute(self._ask["head"], (conv,))
        if not found or None in found[0]:
            return None
        header, head = found[0]
        return msgspec.structs.replace(_decoded(header, Conversation), head=head)


def _decoded(stored: bytes, kind: type[T]) -> T:
    return msgspec.msgpack.decode(stored, type=kind)


def _parts(key: IdKey) -> tuple[str, str, str, str]:
    return key.conv, key.user, key.device, key.id


def _pruned(entry: JournalEntry) -> JournalEntry:
    """What is told to have stood where nothing stands any more: a fence of nobody."""
    return JournalEntry(entry.group, entry.n, Epoch(0), 0, fence=True, owner="pruned")
