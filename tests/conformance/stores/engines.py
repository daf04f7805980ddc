"""The engines that the suites are run over: for each port, factories of fresh, empty stores."""

import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

from stores.memory.accounts import MemoryAccounts
from stores.memory.deadletters import MemoryDeadLetters
from stores.memory.lastseen import MemoryLastSeen
from stores.memory.log import MemoryLog
from stores.sql.accounts import SqlBlocks, SqlPolicy, SqlUsers
from stores.sql.deadletters import SqlDeadLetters
from stores.sql.directory import SqlDirectory
from stores.sql.engine import SqlEngine
from stores.sql.lastseen import SqlLastSeen
from stores.sql.log import SqlLog
from stores.sql.logins import SqlRefreshTokens, SqlVerifications
from stores.sql.schema import Chain


class SqlAccounts:
    """The accounts' ports over one engine, an attribute each, as `MemoryAccounts` has them."""

    def __init__(self, engine):
        self.users = SqlUsers(engine)
        self.blocks = SqlBlocks(engine)
        self.verifications = SqlVerifications(engine)
        self.refresh_tokens = SqlRefreshTokens(engine)
        self.policy = SqlPolicy(engine)
        self.directory = SqlDirectory(engine)


def memory(make, **given):
    """Tell the factory of a model."""

    @asynccontextmanager
    async def factory():
        yield make(**given)

    return factory


def sqlite(make, chain, **given):
    """Tell the factory of a port on SQLite, in a folder of its own."""

    @asynccontextmanager
    async def factory():
        with tempfile.TemporaryDirectory() as folder:
            engine = SqlEngine(Path(folder) / "store.db", chain)
            await engine.start()
            try:
                yield make(engine, **given)
            finally:
                await engine.close()

    return factory


LOGS = {"memory": memory(MemoryLog), "sqlite": sqlite(SqlLog, Chain.LOG)}
LAST_SEEN = {"memory": memory(MemoryLastSeen), "sqlite": sqlite(SqlLastSeen, Chain.LOG)}
ACCOUNTS = {"memory": memory(MemoryAccounts), "sqlite": sqlite(SqlAccounts, Chain.APP)}
DEAD_LETTERS = {
    "memory": memory(MemoryDeadLetters, most=50),
    "sqlite": sqlite(SqlDeadLetters, Chain.LOG, most=50),
}
