"""Stores on a running node of Cassandra (the fixture `cassandra`), for tests."""

import asyncio
from contextlib import asynccontextmanager

from ops.engines.cassandra.node import DATACENTER
from stores.cql import schema
from stores.cql.driver import CqlSession
from stores.cql.path import BUCKET, CqlLog
from stores.cql.tables import SLOT, CqlCells

KEYSPACE = "tidings"


@asynccontextmanager
async def cells(node, *, slot=SLOT, empty=True):
    """Give cells on the node, for a while; emptied of what earlier tests left unless told otherwise."""
    session = await CqlSession.connect([node.address], node.port, datacenter=DATACENTER)
    try:
        await schema.migrate(session, KEYSPACE, replicas=1, datacenter=DATACENTER)
        if empty:
            await clear(session)
        yield await CqlCells.prepare(session, KEYSPACE, slot)
    finally:
        await session.close()


async def clear(session):
    """Empty all tables."""
    tables = (table.partition(" ")[0] for table in schema.TABLES)
    await asyncio.gather(*(session.define(f"TRUNCATE {KEYSPACE}.{table}") for table in tables))


@asynccontextmanager
async def log(node, *, bucket=BUCKET, **given):
    """Give a log over such cells."""
    async with cells(node, **given) as found:
        yield CqlLog(found, bucket)
