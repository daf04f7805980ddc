"""The accounts as the bridge sees them, on SQL. Engine of `Chain.APP`."""

from collections import defaultdict
from functools import partial
from typing import Final

from sqlalchemy import Connection, select

from stores.ports.directory import Person
from stores.sql.chunks import chunks
from stores.sql.engine import SqlEngine
from stores.sql.schema import blocks, users
from tidings.protocol.ids import UserId


class SqlDirectory:
    """`Directory` on SQL: two queries for up to 500 users."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine: Final = engine

    async def people(self, users: frozenset[UserId]) -> dict[UserId, Person]:
        """Tell of those users that exist. Raises `StoreUnavailable`."""
        return await self._engine.read(partial(_people, wanted=users)) if users else {}


def _people(connection: Connection, *, wanted: frozenset[UserId]) -> dict[UserId, Person]:
    people: dict[UserId, Person] = {}
    for chunk in chunks(wanted):
        blocked = _blocked(connection, chunk)
        query = select(users.c.id, users.c.hides_read, users.c.banned).where(users.c.id.in_(chunk))
        for id_, hides_read, banned in connection.execute(query):
            own = frozenset(blocked[id_])
            people[id_] = Person(id_, blocks=own, hides_read=hides_read, banned=banned)
    return people


def _blocked(connection: Connection, owners: list[UserId]) -> defaultdict[UserId, list[UserId]]:
    blocked: defaultdict[UserId, list[UserId]] = defaultdict(list)
    for owner, other in connection.execute(select(blocks.c.owner, blocks.c.blocked).where(blocks.c.owner.in_(owners))):
        blocked[owner].append(other)
    return blocked
