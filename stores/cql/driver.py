"""The one file that knows the driver: prepared requests out, rows or our two kinds of error back, on the caller's loop.

Rules
- A plain write is sent to one coordinator once, never again by the driver: whether to repeat is the write path's
  decision, and only so can an error tell what is surely not done.
- What is surely not done is `StoreUnavailable`: no connection to send it on, too few replicas known alive for a plain
  write, a request refused as invalid. All else that fails a write (a time-out, a lost connection, an overloaded
  coordinator) is `OutcomeUnknown`. A conditional write that finds too few replicas is unknown as well: its last phase
  tells that after the value was agreed on.
- Driver errors have no common ancestor (a lost connection's is none of `DriverException`): whatever comes out of a
  request is translated, what it does not know as unknown.
- Reads may be sent to a second node when the first is slow, and again after a time-out. A failed read is
  `StoreUnavailable`.
- The driver's thread and the caller's loop meet in `call_soon_threadsafe` alone. At most 1,024 requests are in flight;
  further ones wait.
"""

import asyncio
import enum
import socket
from collections.abc import Sequence
from typing import Any, Final, Self, TypeAlias

from cassandra import ConsistencyLevel, RequestValidationException, Unavailable
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    ResponseFuture,
    Session,
)
from cassandra.policies import (
    ConstantReconnectionPolicy,
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    FallthroughRetryPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.query import BatchStatement, BatchType, PreparedStatement, tuple_factory

from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable

Values: TypeAlias = tuple[Any, ...]
Found: TypeAlias = list[Values]

IN_FLIGHT_MOST: Final = 1_024
_PROTOCOL: Final = 4  # the newest that both ScyllaDB and Cassandra speak
_WRITE_SECONDS: Final = 5.0  # above the servers' own 2 s, so that their answer, which tells more, comes first
_READ_SECONDS: Final = 5.0
_SECOND_READ_SECONDS: Final = 0.1  # about the p99 of a healthy cluster: one read in a hundred is sent twice
_RECONNECT_SECONDS: Final = 1.0
_READS: Final = "reads"


class Ask(enum.Enum):
    """How a statement is sent."""

    READ = "read"
    """At LOCAL_QUORUM: sees every write that was acknowledged."""
    SERIAL_READ = "serial read"
    """At LOCAL_SERIAL: sees, and finishes, every conditional write that was agreed on."""
    WRITE = "write"
    """At LOCAL_QUORUM, once."""
    COMPARE = "compare"
    """A lightweight transaction, agreed on at LOCAL_SERIAL, once."""


class Request:
    """A prepared statement and how it is sent."""

    def __init__(self, statement: PreparedStatement, ask: Ask) -> None:
        self.ask = ask
        self.statement = statement
        statement.consistency_level = ConsistencyLevel.LOCAL_QUORUM
        if ask is Ask.COMPARE:
            statement.serial_consistency_level = ConsistencyLevel.LOCAL_SERIAL
        if ask is Ask.SERIAL_READ:
            statement.consistency_level = ConsistencyLevel.LOCAL_SERIAL
        statement.is_idempotent = ask is Ask.READ


class CqlSession:
    """A connection to a cluster, for one event loop: `await CqlSession.connect(…)`, and `close()` at the end."""

    def __init__(self, cluster: Cluster, session: Session) -> None:
        self._cluster = cluster
        self._session = session
        self._slots = asyncio.Semaphore(IN_FLIGHT_MOST)

    @classmethod
    async def connect(cls, hosts: Sequence[str], port: int = 9042, *, datacenter: str | None = None) -> Self:
        """Connect through any of `hosts`. `datacenter` is the one whose quorum counts; None: the one that `hosts` are
        in. Raises `StoreUnavailable`."""
        return cls(*await asyncio.to_thread(_connected, list(hosts), port, datacenter))

    async def close(self) -> None:
        """End all connections. What is in flight ends as unknown."""
        await asyncio.to_thread(self._cluster.shutdown)

    async def define(self, cql: str) -> None:
        """Carry out a statement that changes the schema, and wait until all nodes agree. Raises `StoreUnavailable`."""
        try:
            await asyncio.to_thread(self._session.execute, cql, timeout=30.0)
        except Exception as error:
            raise StoreUnavailable(_told(error)) from error

    async def prepare(self, cql: str, ask: Ask) -> Request:
        """Prepare a statement on the cluster. Raises `StoreUnavailable`."""
        try:
            return Request(await asyncio.to_thread(self._session.prepare, cql), ask)
        except Exception as error:
            raise StoreUnavailable(_told(error)) from error

    async def execute(self, request: Request, values: Values) -> Found:
        """Carry out one request; tells all rows of the answer, whatever number of pages."""
        profile = _READS if request.ask in (Ask.READ, Ask.SERIAL_READ) else EXEC_PROFILE_DEFAULT
        return await self._carried_out(request.statement.bind(values), request.ask, profile)

    async def write(self, requests: Sequence[tuple[Request, Values]]) -> None:
        """Write to one partition, all or none: an unlogged batch is one mutation there."""
        if len(requests) == 1:
            await self.execute(*requests[0])
            return
        batch = BatchStatement(BatchType.UNLOGGED, consistency_level=ConsistencyLevel.LOCAL_QUORUM)
        for request, values in requests:
            batch.add(request.statement, values)
        await self._carried_out(batch, Ask.WRITE, EXEC_PROFILE_DEFAULT)

    async def _carried_out(self, statement: Any, ask: Ask, profile: str) -> Found:
        async with self._slots:
            try:
                return await _Answer(self._session.execute_async(statement, execution_profile=profile)).future
            except Exception as error:
                raise _translated(error, ask) from error


class _Answer:
    """One answer on its way from the driver's thread to the loop that waits for it."""

    def __init__(self, response: ResponseFuture) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Found] = self._loop.create_future()
        self._found: Found = []
        self._response = response
        response.add_callbacks(self._on_page, self._on_error)

    def _on_page(self, page: Sequence[Values] | None) -> None:
        self._found += page or ()
        if not self._response.has_more_pages:
            self._hand_over(None)
            return
        try:
            self._response.start_fetching_next_page()
        except Exception as error:  # raised here it would only be logged, and who asked would wait for ever
            self._hand_over(error)

    def _on_error(self, error: Exception) -> None:
        self._hand_over(error)

    def _hand_over(self, error: Exception | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, error)

    def _settle(self, error: Exception | None) -> None:
        if self.future.done():  # who asked was cancelled
            return
        if error is None:
            self.future.set_result(self._found)
        else:
            self.future.set_exception(error)


def _connected(hosts: list[str], port: int, datacenter: str | None) -> tuple[Cluster, Session]:
    cluster = Cluster(
        hosts,
        port=port,
        protocol_version=_PROTOCOL,
        sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        reconnection_policy=ConstantReconnectionPolicy(_RECONNECT_SECONDS, max_attempts=None),
        execution_profiles={EXEC_PROFILE_DEFAULT: _writes(datacenter), _READS: _reads(datacenter)},
    )
    try:
        return cluster, cluster.connect()
    except Exception as error:
        cluster.shutdown()
        raise StoreUnavailable(_told(error)) from error


def _writes(datacenter: str | None) -> ExecutionProfile:
    return ExecutionProfile(
        load_balancing_policy=_nearest(datacenter),
        retry_policy=FallthroughRetryPolicy(),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        request_timeout=_WRITE_SECONDS,
        row_factory=tuple_factory,
    )


def _reads(datacenter: str | None) -> ExecutionProfile:
    return ExecutionProfile(
        load_balancing_policy=_nearest(datacenter),
        retry_policy=RetryPolicy(),
        speculative_execution_policy=ConstantSpeculativeExecutionPolicy(_SECOND_READ_SECONDS, 1),
        request_timeout=_READ_SECONDS,
        row_factory=tuple_factory,
    )


def _nearest(datacenter: str | None) -> TokenAwarePolicy:
    return TokenAwarePolicy(DCAwareRoundRobinPolicy(datacenter or ""))


def _translated(error: Exception, ask: Ask) -> Exception:
    """Tell which of our kinds a driver's error is; the table stands in the module's rules."""
    match ask, error:
        case Ask.READ | Ask.SERIAL_READ, _:
            return StoreUnavailable(_told(error))
        case _, NoHostAvailable() | RequestValidationException():
            return StoreUnavailable(_told(error))
        case Ask.WRITE, Unavailable():
            return StoreUnavailable(_told(error))
        case _:
            return OutcomeUnknown(_told(error))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
