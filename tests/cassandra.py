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
async def cells(*nodes, slot=SLOT, empty=True):
    """Give cells on the nodes, a copy on each, for a while; emptied of what earlier tests left unless not wanted."""
    session = await CqlSession.connect([node.address for node in nodes], nodes[0].port, datacenter=DATACENTER)
    try:
        await schema.migrate(session, KEYSPACE, replicas=len(nodes), datacenter=DATACENTER)
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
