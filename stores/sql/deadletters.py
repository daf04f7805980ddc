"""Dead letters on SQL. Engine of `Chain.LOG`.

Rules: numbers rise and are never given twice. Above `most` the oldest are deleted, counted in a metric: a flood of bad
messages must neither fill the disk nor stop a bridge.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select

from stores.ports.deadletters import DeadLetter
from stores.sql.chunks import chunks
from stores.sql.engine import SqlEngine
from stores.sql.schema import dead_letters


class SqlDeadLetters:
    """See the module's rules."""

    def __init__(self, engine: SqlEngine, most: int = 100_000) -> None:
        self._engine: Final = engine
        self._most: Final = most

    async def put(self, letters: list[DeadLetter]) -> None:
        """Keep them, durably."""
        if not letters:
            return
        dropped = await self._engine.write(partial(_put, letters=letters, most=self._most), weight=len(letters))
        self._engine.metrics.letters_dropped.inc(dropped)

    async def page(self, *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """List by rising number, those above `after`."""
        query = select(dead_letters).where(dead_letters.c.number > after).order_by(dead_letters.c.number)
        return await self._engine.read(lambda connection: [_letter(r) for r in connection.execute(query.limit(limit))])

    async def get(self, number: int) -> DeadLetter | None:
        """Show one."""
        found = await self.page(after=number - 1, limit=1)
        return found[0] if found and found[0].number == number else None

    async def drop(self, numbers: list[int]) -> int:
        """Delete; tells how many were there."""
        return await self._engine.write(partial(_drop, numbers=sorted(set(numbers))))

    async def count(self) -> int:
        """How many are kept."""
        return await self._engine.read(_count)


def _put(connection: Connection, *, letters: list[DeadLetter], most: int) -> int:
    values = [
        {
            "grp": letter.group,
            "topic": letter.topic,
            "payload": letter.payload,
            "code": letter.code,
            "reason": letter.reason,
            "at": letter.at,
        }
        for letter in letters
    ]
    connection.execute(insert(dead_letters), values)
    beyond = _count(connection) - most
    if beyond <= 0:
        return 0
    oldest = select(dead_letters.c.number).order_by(dead_letters.c.number).limit(beyond)
    connection.execute(delete(dead_letters).where(dead_letters.c.number.in_(oldest)))
    return beyond


def _drop(connection: Connection, *, numbers: list[int]) -> int:
    return sum(
        connection.execute(delete(dead_letters).where(dead_letters.c.number.in_(chunk))).rowcount
        for chunk in chunks(numbers)
    )


def _count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(dead_letters)).scalar_one()


def _letter(values: Sequence[Any]) -> DeadLetter:
    number, group, topic, payload, code, reason, at = values
    return DeadLetter(group, topic, payload, code, reason, at, number)
