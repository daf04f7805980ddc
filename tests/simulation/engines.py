"""The stores of a simulated installation: one engine for all processes, with faults that can be set at any time.

Rules
- `cql` is the real write path (`stores.cql`) over simulated cells; each process has its own path object.
- `sql` is the atomic model (`stores.memory`) behind a connection that refuses, or breaks before or after a commit.
- Either shows every journal entry at the instant it stands: the checker's truth.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from stores.cql.path import CqlLog
from stores.memory.log import MemoryLog
from stores.ports.entries import JournalEntry
from tests.simulation.cells import NO_FAULTS, CellFaults, SimCells
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable

Appended = Callable[[JournalEntry], None]
BUCKET = 4
"""Rows of a partition: few, so that batches lie over several."""


class Engine(Protocol):
    """One engine. `faults` may be set at any time."""

    faults: CellFaults

    def log(self) -> Any:
        """Make a process' `LogWriter`, `LogReader` and `Journal`."""
        ...


class CqlEngine:
    """The path over cells. `kind` makes each process' log: a known-bad one in tests of the simulation."""

    def __init__(self, dice: random.Random, appended: Appended, kind: type[CqlLog] = CqlLog) -> None:
        self._cells = SimCells(dice, NO_FAULTS, appended)
        self._kind = kind

    @property
    def faults(self) -> CellFaults:
        return self._cells.faults

    @faults.setter
    def faults(self, faults: CellFaults) -> None:
        self._cells.faults = faults

    def log(self) -> Any:
        return self._kind(self._cells, BUCKET)


class _ShownLog(MemoryLog):
    """The model, showing what is appended."""

    def __init__(self, appended: Appended) -> None:
        super().__init__()
        self._appended = appended

    def _append(self, entry: JournalEntry) -> None:
        super()._append(entry)
        self._appended(entry)


class SqlEngine:
    """The atomic model behind a connection that fails."""

    def __init__(self, dice: random.Random, appended: Appended) -> None:
        self.faults = NO_FAULTS
        self._dice = dice
        self._log = _ShownLog(appended)

    def log(self) -> Any:
        return _Connection(self, self._log, self._dice)


class _Connection:
    """One process' connection: every method of the log, with latency and faults."""

    def __init__(self, engine: SqlEngine, log: MemoryLog, dice: random.Random) -> None:
        self._engine = engine
        self._log = log
        self._dice = dice

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._log, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            faults = self._engine.faults
            await asyncio.sleep(self._dice.uniform(*faults.latency))
            fate = self._dice.random()
            if fate < faults.refused:
                raise StoreUnavailable("simulated: refused")
            breaks = name in ("open", "commit") and fate < faults.refused + faults.lost + faults.unheard
            if breaks and fate < faults.refused + faults.lost:
                await asyncio.sleep(faults.timeout)
                raise OutcomeUnknown("simulated: broken before the commit")
            answer = await method(*args, **kwargs)
            if breaks:
                raise OutcomeUnknown("simulated: broken after the commit")
            await asyncio.sleep(self._dice.uniform(*faults.latency))
            return answer

        return call


ENGINES: dict[str, Callable[[random.Random, Appended], Engine]] = {"cql": CqlEngine, "sql": SqlEngine}
