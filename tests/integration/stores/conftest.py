"""A started engine of the log's tables, in a folder of its own."""

import pytest

from stores.sql.engine import SqlEngine
from stores.sql.schema import Chain


@pytest.fixture
async def engine(tmp_path):
    engine = SqlEngine(tmp_path / "log.db", Chain.LOG, busy_ms=50)
    await engine.start()
    yield engine
    await engine.close()
