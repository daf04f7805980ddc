"""The schema's migrations: they make exactly the tables that the code knows, once, whoever starts first."""

import asyncio
import contextlib
import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from stores.sql.engine import SqlEngine
from stores.sql.schema import Chain
from tidings.protocol.errors import StoreUnavailable


@pytest.mark.parametrize("chain", Chain)
async def test_migrations_make_the_tables_that_the_code_knows(chain, tmp_path):
    engine = SqlEngine(tmp_path / "store.db", chain)
    await engine.start()

    def differences(connection):
        options = {"version_table": f"alembic_{chain.value}", "compare_type": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), chain.metadata)

    assert await engine.read(differences) == []
    await engine.close()


async def test_clustered_tables_are_clustered(tmp_path):
    engine = SqlEngine(tmp_path / "store.db", Chain.LOG)
    await engine.start()

    def clustered(connection):
        found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%'")
        return set(found.scalars())

    expected = {
        name for name, table in Chain.LOG.metadata.tables.items() if not table.dialect_options["sqlite"]["with_rowid"]
    }
    assert await engine.read(clustered) == expected
    await engine.close()


async def test_starting_again_changes_nothing(tmp_path):
    for _ in range(2):
        engine = SqlEngine(tmp_path / "store.db", Chain.APP)
        await engine.start()
        await engine.write(lambda connection: connection.exec_driver_sql("UPDATE policy SET version = version + 1"))
        await engine.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        assert connection.execute("SELECT version FROM policy").fetchall() == [(3,)]


async def test_several_may_start_at_once(tmp_path):
    engines = [SqlEngine(tmp_path / "store.db", Chain.LOG) for _ in range(6)]
    await asyncio.gather(*(engine.start() for engine in engines))
    for engine in engines:
        assert await engine.check() == []
        await engine.close()


async def test_a_newer_database_is_refused(tmp_path):
    engine = SqlEngine(tmp_path / "store.db", Chain.LOG)
    await engine.start()
    await engine.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute("UPDATE alembic_log SET version_num = 'log9999'")
        connection.commit()
    with pytest.raises(StoreUnavailable, match="another release"):
        await SqlEngine(tmp_path / "store.db", Chain.LOG).start()
