"""The driver's edge, the schema and pruning, on a live node."""

import asyncio

import pytest

from ops.engines.cassandra.node import DATACENTER
from stores.cql import schema
from stores.cql.driver import Ask, CqlSession
from stores.cql.path import KEPT_MS, CqlLog
from stores.cql.schema import SchemaTooNew
from stores.ports.log import Outcome
from tests.cassandra import KEYSPACE, cells, log
from tests.conformance.stores.entries import CONV, DAY, NOW, A, entry, key, move, row, user
from tests.processes import free_port
from tidings.protocol.errors import StoreUnavailable

pytestmark = pytest.mark.slow


@pytest.fixture
async def session(cassandra):
    found = await CqlSession.connect([cassandra.address], cassandra.port, datacenter=DATACENTER)
    yield found
    await found.close()


async def test_no_node_is_told_as_unavailable():
    with pytest.raises(StoreUnavailable, match="NoHostAvailable"):
        await CqlSession.connect(["127.0.0.1"], free_port(), datacenter=DATACENTER)


async def test_a_migration_may_be_run_again_or_begun_anew(session):
    """Also one that was cut after some of its statements."""
    keyspace = "migrated"
    assert await schema.migrate(session, keyspace, replicas=1, datacenter=DATACENTER) == len(schema.STEPS)
    await session.define(f"DROP TABLE {keyspace}.marks")
    await session.define(f"TRUNCATE {keyspace}.about")
    assert await schema.version(session, keyspace) == 0
    for _ in range(2):
        assert await schema.migrate(session, keyspace, replicas=1, datacenter=DATACENTER) == len(schema.STEPS)
    note = await session.prepare(f"INSERT INTO {keyspace}.about (name, value) VALUES ('version', 99)", Ask.WRITE)
    await session.execute(note, ())
    with pytest.raises(SchemaTooNew, match="version 99"):
        await schema.migrate(session, keyspace, replicas=1, datacenter=DATACENTER)
    await session.define(f"DROP KEYSPACE {keyspace}")


@pytest.mark.parametrize("name", ["", "Tidings", "a-b", "a;b", "1a", "a" * 49])
async def test_a_keyspace_that_is_none_is_refused(session, name):
    with pytest.raises(ValueError, match="keyspace"):
        await schema.migrate(session, name, replicas=1, datacenter=DATACENTER)


async def test_an_invalid_request_is_surely_not_done(session, cassandra):
    with pytest.raises(StoreUnavailable):
        await session.define("CREATE TABLE nowhere.t (a int PRIMARY KEY)")
    with pytest.raises(StoreUnavailable):
        await session.prepare("SELECT nothing FROM system.local", Ask.READ)


async def test_an_answer_of_many_pages_comes_whole(cassandra):
    """The driver's page is 5,000 rows."""
    async with cells(cassandra) as found:
        for first in range(1, 12_001, 1_000):
            moves = [move(user(1), n - 1, n, n) for n in range(first, first + 1_000)]
            await found.put_marks(moves, timestamp=2)
        assert [one.version for one in await found.moves(CONV)] == list(range(1, 12_001))
        assert await found.marks(CONV) == {(user(1), "read"): 12_000}


async def test_who_asked_may_go_away(cassandra):
    """A cancelled request harms no other one."""
    async with log(cassandra) as store:
        await store.open(A, "one", NOW)
        asked = [asyncio.create_task(store.read(A, 0, 9)) for _ in range(20)]
        await asyncio.sleep(0)
        for one in asked[::2]:
            one.cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False] * 10


async def test_ids_are_kept_longer_than_seven_days(cassandra, session):
    async with log(cassandra) as store:
        opened = await store.open(A, "one", NOW)
        await store.commit(entry(opened.next_n, row(1), epoch=opened.epoch))
        assert await store.find_id(key("m1")) is not None
        ask = await session.prepare(f"SELECT TTL(record) FROM {KEYSPACE}.ids", Ask.READ)
        ((left,),) = await session.execute(ask, ())
        assert left * 1_000 > KEPT_MS + DAY / 2


async def test_old_published_entries_are_forgotten_for_ever(cassandra):
    """By whole partitions; what is young, unpublished or last stays. No late append finds a forgotten place free."""
    async with cells(cassandra, slot=4) as found:
        store = CqlLog(found)
        opened = await store.open(A, "one", NOW)
        given = [
            entry(n, row(n, at=NOW + n * DAY), epoch=opened.epoch, at=NOW + n * DAY, published=n - 1)
            for n in range(2, 36)
        ]
        for one in given:
            assert await store.commit(one) is Outcome.COMMITTED
        assert await store.prune(NOW + KEPT_MS) == 0
        assert await store.prune(NOW + KEPT_MS + 10 * DAY) == 7  # 1 … 7: the slot of 8 … 11 has young ones
        assert [one.n for one in await store.read(A, 0, 99)] == list(range(8, 36))
        assert await store.commit(given[2]) is Outcome.FENCED
        assert await store.prune(NOW + 99 * DAY) == 20  # below the slot of 31, as far as is noted as published
        assert await store.prune(NOW + 99 * DAY) == 0
        assert [one.n for one in await store.read(A, 0, 99)] == list(range(28, 36))
        assert (await store.open(A, "two", NOW)).epoch == 36
        assert len(await store.rows(CONV, 1, 99)) == 34
