"""The one writer: a thread that owns the connection and merges all that waits into one transaction.

Rules
- Work is given as (work, item). In a transaction each work is called once, with all of its items that wait, and gives
  a verdict for each: so a commit's syncs and statements are shared (group commit).
- Work is a function of its connection and its items alone: it may be run again. When it raises, the transaction is
  rolled back and each item is tried alone, so that one bad item harms no other.
- An item is answered only after COMMIT. After any fault of the store the connection is closed and the next
  transaction opens a new one: the writer heals by itself.
- A fault is told until writing as much as failed has worked again, or `forgive` is called: a full disk may still take a
  small write.
- Bounded: more than `limits.waiting` weight waiting is refused with `StoreUnavailable`; nothing is dropped.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection

from stores.metrics import StoreMetrics
from stores.sql.connecting import SqliteFile
from stores.sql.faults import translate
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")
Work = Callable[[Connection, Sequence[Any]], Sequence[Any]]


class WriterLimits(NamedTuple):
    """`waiting`: weight (about rows) that may wait; `merged`: weight after which a transaction takes no more."""

    waiting: int = 100_000
    merged: int = 4_000


class _Job(NamedTuple):
    work: Work
    item: Any
    weight: int
    future: asyncio.Future[Any]


class Writer:
    """See the module's rules. Made and closed by `SqlEngine`."""

    def __init__(self, file: SqliteFile, name: str, limits: WriterLimits, metrics: StoreMetrics) -> None:
        self.fault = ""
        self.faulty_since = 0.0
        self.waiting = 0
        self._file: Final = file
        self._name: Final = name
        self._limits: Final = limits
        self._metrics: Final = metrics
        self._jobs: deque[_Job] = deque()
        self._wake: Final = threading.Condition()
        self._closing = False
        self._failed_weight = 0
        self._connection: Connection | None = None
        self._thread: Final = threading.Thread(target=self._serve, name=f"{name}-writer", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    async def write(self, work: Callable[[Connection, Sequence[I]], Sequence[R]], item: I, weight: int) -> R:
        """Have the item written; returns its verdict after the commit. Raises `StoreUnavailable`, `OutcomeUnknown`, or
        what the work raised for this item."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        with self._wake:
            if self._closing:
                raise StoreUnavailable(f"{self._name}: closed")
            if self.waiting and self.waiting + weight > self._limits.waiting:
                self._metrics.refused.labels(self._name).inc()
                raise StoreUnavailable(f"{self._name}: too much waits to be written")
            self.waiting += weight
            self._jobs.append(_Job(work, item, weight, future))
            self._wake.notify()
        return await future

    def forgive(self) -> None:
        """Tell no more of the last fault."""
        self.fault = ""
        self._failed_weight = 0

    def close(self) -> None:
        """Finish what waits and stop. Blocks."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._disconnect()

    def _serve(self) -> None:
        while jobs := self._take():
            started = time.perf_counter()
            verdicts = self._attempt(jobs)
            self._metrics.transaction_seconds.labels(self._name).observe(time.perf_counter() - started)
            self._metrics.merged_writes.labels(self._name).observe(len(jobs))
            _answer(jobs, verdicts)

    def _take(self) -> list[_Job]:
        with self._wake:
            while not self._jobs and not self._closing:
                self._wake.wait()
            taken: list[_Job] = []
            weight = 0
            while self._jobs and (not taken or weight + self._jobs[0].weight <= self._limits.merged):
                taken.append(self._jobs.popleft())
                weight += taken[-1].weight
            self.waiting -= weight
            self._metrics.waiting_weight.labels(self._name).set(self.waiting)
            return taken

    def _attempt(self, jobs: list[_Job]) -> list[Any]:
        weight = sum(job.weight for job in jobs)
        try:
            verdicts = self._transact(jobs)
        except (StoreUnavailable, OutcomeUnknown) as fault:
            self._note(fault, weight)
            self._disconnect()
            return [fault] * len(jobs)
        except Exception as error:
            if len(jobs) == 1:
                return [error]
            return [verdict for job in jobs for verdict in self._attempt([job])]
        if self.fault and weight >= self._failed_weight:
            self.forgive()
        return verdicts

    def _note(self, fault: Exception, weight: int) -> None:
        self.fault = str(fault)
        self.faulty_since = time.monotonic()
        self._failed_weight = max(self._failed_weight, weight)
        self._metrics.faults.labels(self._name).inc()

    def _transact(self, jobs: list[_Job]) -> list[Any]:
        committing = False
        try:
            self._file.check()
            if self._connection is None:
                self._connection = self._file.writer()
            with self._connection.begin() as transaction:
                verdicts = _run(self._connection, jobs)
                committing = True
                transaction.commit()
        except Exception as error:
            raise translate(error, committing=committing) from error
        return verdicts

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                self.fault = self.fault or str(error)


def _run(connection: Connection, jobs: list[_Job]) -> list[Any]:
    places: dict[Work, list[int]] = {}
    for place, job in enumerate(jobs):
        places.setdefault(job.work, []).append(place)
    verdicts: list[Any] = [None] * len(jobs)
    for work, of_work in places.items():
        for place, verdict in zip(of_work, work(connection, [jobs[place].item for place in of_work]), strict=True):
            verdicts[place] = verdict
    return verdicts


def _answer(jobs: list[_Job], verdicts: list[Any]) -> None:
    # One wake-up of a loop for all of its answers: a wake-up costs more than a row.
    of_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, verdict in zip(jobs, verdicts, strict=True):
        of_loop.setdefault(job.future.get_loop(), []).append((job.future, verdict))
    for loop, answers in of_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, answers)


def _resolve(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, verdict in answers:
        if future.done():
            continue  # whoever asked was cancelled
        if isinstance(verdict, Exception):
            future.set_exception(verdict)
        else:
            future.set_result(verdict)
