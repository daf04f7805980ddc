"""The API of the unit tests, on SQLite files."""

from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.api import make_api
from services.deps import Check
from stores.sql.accounts import SqlBlocks, SqlPolicy, SqlUsers
from stores.sql.engine import SqlEngine
from stores.sql.log import SqlLog
from stores.sql.logins import SqlRefreshTokens, SqlVerifications
from stores.sql.schema import Chain
from tests.unit.services.doubles import World


class Stored(World):
    """An API over SQLite files in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.accounts_file = SqlEngine(folder / "app.db", Chain.APP)
        self.log_file = SqlEngine(folder / "log.db", Chain.LOG)
        self.stored_log = SqlLog(self.log_file)
        self.policy = SqlPolicy(self.accounts_file)
        checks: dict[str, Check] = {"accounts": self.accounts_file.check, "log": self.log_file.check}
        self.deps = replace(
            self.deps,
            users=SqlUsers(self.accounts_file),
            blocks=SqlBlocks(self.accounts_file),
            verifications=SqlVerifications(self.accounts_file),
            refresh_tokens=SqlRefreshTokens(self.accounts_file),
            log=self.stored_log,
            checks=checks,
            registry=CollectorRegistry(),
        )
        self.app = make_api(self.deps)

    async def start(self) -> None:
        """Open the files."""
        await self.accounts_file.start()
        await self.log_file.start()

    async def close(self) -> None:
        """Close the files."""
        await self.log_file.close()
        await self.accounts_file.close()
