"""The message log on SQL: `LogWriter`, `LogReader` and `Journal` in one class.

Rules
- An entry and everything derived from it is one durable transaction, shared with the entries of other groups that wait
  at the same time (`writer`, `writing`). So there is never anything for a successor to finish.
- A fence is appended like any entry; from then on the predecessor's next entry finds its place taken.
- Entries and ids are kept at least `KEPT_MS`; `prune` forgets older ones that are known to have been published.
"""

from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection, delete, func, select

from stores.ports.entries import Epoch, IdKey, IdRecord, JournalEntry, MarkMove, Member, Opened, Row, Snapshot
from stores.ports.log import HeadOf, Outcome
from stores.sql import reading, writing
from stores.sql.engine import SqlEngine
from stores.sql.schema import journal
from tidings.protocol import limits
from tidings.protocol.ids import GROUPS, ConvId, Group, UserId

KEPT_MS: Final = limits.ID_KEPT_SECONDS * 1000
_UNPUBLISHED_MOST: Final = 1_000
_PRUNED_AT_ONCE: Final = 200

_log: Final = structlog.get_logger("stores.sql.log")


class SqlLog:
    """See the module's rules. The engine is of `Chain.LOG`."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine: Final = engine

    async def open(self, group: Group, owner: str, now: int) -> Opened:
        """Fence the group. Of very many unpublished entries the newest 1,000 are told; devices find the rest by
        comparing heads (promise 4)."""
        return await self._engine.write(partial(_open, group=group, owner=owner, now=now))

    async def commit(self, entry: JournalEntry) -> Outcome:
        """Commit the entry. Raises `Contradiction` for an entry that no correct owner makes."""
        weight = 1 + len(entry.rows) + len(entry.members) + len(entry.marks)
        return await self._engine.merge(writing.commit_all, entry, weight=weight)

    async def load(self, conv: ConvId, *, ids_since: int, ids_most: int = 10_000) -> Snapshot | None:
        """Load a conversation; of more than `ids_most` ids the newest, in order of seq."""
        query = partial(reading.snapshot, conv=conv, ids_since=ids_since, ids_most=ids_most)
        return await self._engine.read(query)

    async def find_id(self, key: IdKey) -> IdRecord | None:
        """Look one idempotency key up."""
        return await self._engine.read(partial(reading.find_id, key=key))

    async def rows(self, conv: ConvId, low: int, high: int) -> list[Row]:
        """Read rows `low … high`, cut at the stored head."""
        return await self._engine.read(partial(reading.rows, conv=conv, low=low, high=high))

    async def header(self, conv: ConvId) -> Snapshot | None:
        """Read header, members and marks."""
        return await self._engine.read(partial(reading.header, conv=conv))

    async def heads(self, user: UserId, after: str, limit: int) -> list[HeadOf]:
        """List a user's conversations, those above `after`."""
        return await self._engine.read(partial(reading.heads, user=user, after=after, limit=limit))

    async def moves(self, conv: ConvId, seq: int) -> list[MarkMove]:
        """List the watermark moves that covered an entry."""
        return await self._engine.read(partial(reading.moves, conv=conv, seq=seq))

    async def members(self, conv: ConvId) -> list[Member]:
        """List all members, present and past."""
        return await self._engine.read(partial(reading.members_of, conv=conv))

    async def read(self, group: Group, after: int, limit: int) -> list[JournalEntry]:
        """Read a journal above `after`."""
        return await self._engine.read(partial(_read, group=group, after=after, limit=limit))

    async def prune(self, now: int) -> int:
        """Forget old entries, published and not their group's last, with their ids; tells how many. One call forgets
        a bounded number a group: call it again while it tells more than 0."""
        pruned = 0
        for group in GROUPS:
            pruned += await self._engine.write(partial(_prune, group=group, before=now - KEPT_MS))
        return pruned


def _open(connection: Connection, *, group: Group, owner: str, now: int) -> Opened:
    n = 1 + _largest(connection, group, journal.c.n)
    published = _largest(connection, group, journal.c.published)
    found = connection.execute(
        select(journal.c.body)
        .where(journal.c.grp == group, journal.c.n > published, ~journal.c.fence)
        .order_by(journal.c.n.desc())
        .limit(_UNPUBLISHED_MOST + 1)
    )
    unpublished = [writing.decoded(values.body) for values in found]
    if len(unpublished) > _UNPUBLISHED_MOST:
        _log.warning("unpublished entries cut", group=group, published=published, told=_UNPUBLISHED_MOST)
    fence = JournalEntry(group, n, Epoch(n), now, fence=True, owner=owner, published=published)
    writing.append(connection, [(fence, writing.encoded(fence))])
    return Opened(Epoch(n), n + 1, tuple(reversed(unpublished[:_UNPUBLISHED_MOST])))


def _largest(connection: Connection, group: Group, column: Any) -> int:
    found: int | None = connection.execute(select(func.max(column)).where(journal.c.grp == group)).scalar()
    return found or 0


def _read(connection: Connection, *, group: Group, after: int, limit: int) -> list[JournalEntry]:
    found = connection.execute(
        select(journal.c.body).where(journal.c.grp == group, journal.c.n > after).order_by(journal.c.n).limit(limit)
    )
    return [writing.decoded(values.body) for values in found]


def _prune(connection: Connection, *, group: Group, before: int) -> int:
    highest = min(_largest(connection, group, journal.c.published), _largest(connection, group, journal.c.n) - 1)
    found = connection.execute(
        select(journal.c.body)
        .where(journal.c.grp == group, journal.c.n <= highest)
        .order_by(journal.c.n)
        .limit(_PRUNED_AT_ONCE)
    )
    old: list[JournalEntry] = []
    for values in found:
        entry = writing.decoded(values.body)
        if max(entry.at, *(row.at for row in entry.rows), 0) >= before:
            break  # the rest is younger: entries are in order of time
        old.append(entry)
    if old:
        connection.execute(delete(journal).where(journal.c.grp == group, journal.c.n <= old[-1].n))
        writing.forget_ids(connection, old)
    return len(old)
