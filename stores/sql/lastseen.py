"""Last-seen times on SQL. Engine of `Chain.LOG`."""

from functools import partial
from typing import Final

from sqlalchemy import Connection, select

from stores.sql import statements
from stores.sql.chunks import chunks
from stores.sql.engine import SqlEngine
from stores.sql.schema import last_seen
from tidings.protocol.ids import UserId


class SqlLastSeen:
    """`LastSeen` on SQL."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine: Final = engine

    async def put(self, seen: dict[UserId, int]) -> None:
        """Keep the times (ms); an older one never replaces a newer."""
        times = list(seen.items())
        await self._engine.write(lambda connection: statements.LAST_SEEN.do(connection, times), weight=len(times))

    async def get(self, users: frozenset[UserId]) -> dict[UserId, int]:
        """Tell the times (ms) of those that have one."""
        return await self._engine.read(partial(_get, users=users))


def _get(connection: Connection, *, users: frozenset[UserId]) -> dict[UserId, int]:
    found: dict[UserId, int] = {}
    for chunk in chunks(users):
        query = select(last_seen).where(last_seen.c.member.in_(chunk))
        found.update((UserId(seen.member), seen.at) for seen in connection.execute(query))
    return found
