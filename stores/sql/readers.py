"""Readers: a few threads, a connection each while it reads, every read in a transaction of its own.

Rules
- A read sees one committed state, and everything whose commit was answered before it began.
- A connection that failed is closed; the next read opens another.
- Bounded: more than `waiting_most` reads at once are refused with `StoreUnavailable`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from sqlalchemy import Connection

from stores.metrics import StoreMetrics
from stores.sql.connecting import SqliteFile
from stores.sql.faults import translate
from tidings.protocol.errors import StoreUnavailable

R = TypeVar("R")


class Readers:
    """See the module's rules. Made and closed by `SqlEngine`."""

    def __init__(
        self, file: SqliteFile, name: str, metrics: StoreMetrics, *, threads: int, waiting_most: int = 10_000
    ) -> None:
        self._file: Final = file
        self._name: Final = name
        self._metrics: Final = metrics
        self._waiting_most: Final = waiting_most
        self._waiting = 0
        self._closed = False
        self._idle: deque[Connection] = deque()
        self._pool: Final = ThreadPoolExecutor(threads, thread_name_prefix=f"{name}-reader")

    async def read(self, query: Callable[[Connection], R]) -> R:
        """Run the query. Raises `StoreUnavailable`."""
        if self._closed:
            raise StoreUnavailable(f"{self._name}: closed")
        if self._waiting >= self._waiting_most:
            self._metrics.refused.labels(self._name).inc()
            raise StoreUnavailable(f"{self._name}: too many reads wait")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, query)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what was asked and close. Blocks."""
        self._closed = True
        self._pool.shutdown()
        while self._idle:
            self._idle.pop().close()

    def _run(self, query: Callable[[Connection], R]) -> R:
        try:
            self._file.check()
            connection = self._idle.pop() if self._idle else self._file.reader()
            try:
                with connection.begin():
                    result = query(connection)
            except BaseException:
                connection.close()
                raise
        except Exception as error:
            raise translate(error, committing=False) from error
        self._idle.append(connection)
        return result
