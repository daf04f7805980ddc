"""The stores of one data folder, opened and closed together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from stores.metrics import StoreMetrics
from stores.sql.accounts import SqlBlocks, SqlPolicy, SqlUsers
from stores.sql.deadletters import SqlDeadLetters
from stores.sql.directory import SqlDirectory
from stores.sql.engine import SqlEngine
from stores.sql.lastseen import SqlLastSeen
from stores.sql.log import SqlLog
from stores.sql.logins import SqlRefreshTokens, SqlVerifications
from stores.sql.schema import Chain
from tidings.protocol.errors import StoreUnavailable


class Shelves:
    """Every store over two databases: `log` holds the conversations, written by the bridge alone; `app` what the
    services write."""

    def __init__(self, log: SqlEngine, app: SqlEngine) -> None:
        self.engines = {"log": log, "app": app}
        self.log = SqlLog(log)
        self.dead_letters = SqlDeadLetters(log)
        self.last_seen = SqlLastSeen(log)
        self.users = SqlUsers(app)
        self.blocks = SqlBlocks(app)
        self.policy = SqlPolicy(app)
        self.directory = SqlDirectory(app)
        self.verifications = SqlVerifications(app)
        self.refresh_tokens = SqlRefreshTokens(app)


@asynccontextmanager
async def opened(data: Path, registry: CollectorRegistry) -> AsyncIterator[Shelves]:
    """Open, migrate, and close at the end. Raises `StoreUnavailable`."""
    metrics = StoreMetrics(registry)
    async with AsyncExitStack() as stack:
        engines = {}
        for chain in Chain:
            engines[chain] = SqlEngine(data / f"{chain.value}.db", chain, metrics=metrics)
            stack.push_async_callback(engines[chain].close)
            try:
                await engines[chain].start()
            except StoreUnavailable as error:
                raise StoreUnavailable(f"{chain.value}.db: {error}") from error
        yield Shelves(engines[Chain.LOG], engines[Chain.APP])
