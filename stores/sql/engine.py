"""One database file: its schema, its one writer, its readers, its health; asynchronous to the outside.

Rules
- `start` migrates, under the database's own write lock; then a thread owns the writing connection (`writer`) and a few
  read (`readers`). Nothing of it runs before `start`, nothing after `close`.
- Driver errors do not leave this package (`faults`).
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from stores.metrics import StoreMetrics
from stores.sql.connecting import SqliteFile
from stores.sql.faults import translate
from stores.sql.migrate import migrate
from stores.sql.readers import Readers
from stores.sql.schema import Chain
from stores.sql.writer import Writer, WriterLimits
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

_FREE_LEAST: Final = 64 * 1024**2
_PROBE_SECONDS: Final = 2.0
_PROBE: Final = "INSERT INTO probe (id, tried) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET tried = probe.tried + 1"


class SqlEngine:
    """A database file. `busy_ms`: how long a write waits for another process' lock before it is `StoreUnavailable`;
    `free_least`: bytes of free disk below which it tells that it is not well; `fault_seconds`: how long it tells of a
    fault at least when nobody has written since, though writing works again."""

    def __init__(
        self,
        path: Path,
        chain: Chain,
        *,
        busy_ms: int = 2_000,
        readers: int = 2,
        limits: WriterLimits | None = None,
        free_least: int = _FREE_LEAST,
        fault_seconds: float = 5.0,
        metrics: StoreMetrics | None = None,
    ) -> None:
        self.metrics: Final = metrics or StoreMetrics(CollectorRegistry())
        self._path: Final = path
        self._chain: Final = chain
        self._free_least: Final = free_least
        self._fault_seconds: Final = fault_seconds
        self._limits: Final = limits or WriterLimits()
        self._file: Final = SqliteFile(path, busy_ms=busy_ms)
        self._writer: Final = Writer(self._file, chain.value, self._limits, self.metrics)
        self._readers: Final = Readers(self._file, chain.value, self.metrics, threads=readers)

    async def start(self) -> None:
        """Open or create the file, migrate, and serve. Raises `StoreUnavailable`; then it may be called again."""
        await asyncio.to_thread(self._migrate)
        self._writer.start()

    async def close(self) -> None:
        """Finish what waits, and close."""
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._readers.close)

    async def merge(self, work: Callable[[Connection, Sequence[I]], Sequence[R]], item: I, *, weight: int = 1) -> R:
        """Write an item by a work that takes all waiting items at once and gives a verdict for each (see `writer`).
        `weight` is about its number of rows. Raises `StoreUnavailable`, `OutcomeUnknown`."""
        return await self._writer.write(work, item, weight)

    async def write(self, work: Callable[[Connection], R], *, weight: int = 1) -> R:
        """Do one piece of writing, in a transaction that it shares with others. Raises as `merge`."""
        return await self._writer.write(_one_by_one, work, weight)

    async def read(self, query: Callable[[Connection], R]) -> R:
        """Run a query on one committed state. Raises `StoreUnavailable`."""
        return await self._readers.read(query)

    async def check(self) -> list[str]:
        """Tell why the store is not well, one line a reason; after a fault it tries whether writing works again."""
        reasons = []
        if self._writer.fault:
            await self._probe()
        if self._writer.fault:
            reasons.append(f"{self._chain.value} store: {self._writer.fault}")
        if self._writer.waiting > self._limits.waiting // 2:
            reasons.append(f"{self._chain.value} store: {self._writer.waiting} rows wait to be written")
        free = await asyncio.to_thread(self._free)
        if free < self._free_least:
            reasons.append(f"{self._chain.value} store: {free // 1024**2} MiB of disk left")
        return reasons

    async def _probe(self) -> None:
        with contextlib.suppress(StoreUnavailable, OutcomeUnknown, TimeoutError):
            await asyncio.wait_for(self.write(_try_to_write, weight=0), _PROBE_SECONDS)
            if time.monotonic() - self._writer.faulty_since >= self._fault_seconds:
                self._writer.forgive()

    def _free(self) -> int:
        with contextlib.suppress(OSError):
            return shutil.disk_usage(self._path.parent).free
        return 0

    def _migrate(self) -> None:
        try:
            with contextlib.closing(self._file.create()) as connection, connection.begin():
                migrate(connection, self._chain)
        except Exception as error:
            raise translate(error, committing=False) from error


def _one_by_one(connection: Connection, works: Sequence[Callable[[Connection], R]]) -> list[R]:
    return [work(connection) for work in works]


def _try_to_write(connection: Connection) -> None:
    connection.exec_driver_sql(_PROBE)
