"""The store on SQLite: the same as the one in memory, whatever comes; and what happens when it cannot write."""

import asyncio
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.embedded.durable import VERSION, SqliteStore
from broker.embedded.link import InProcessLink
from broker.embedded.memory import MemoryStore
from broker.embedded.messages import Delivery, Properties
from broker.embedded.records import (
    DropRow,
    ForgetSession,
    MessageRecord,
    MoveRow,
    PutRow,
    Retain,
    RowRecord,
    SaveSession,
    SessionRecord,
)
from broker.embedded.sessions import Subscription
from tidings.protocol.errors import StoreUnavailable
from tidings.protocol.link import Outbound

MESSAGES = st.builds(
    MessageRecord,
    st.sampled_from(["a", "ü/😀"]),
    st.binary(max_size=8),
    st.integers(0, 2),
    st.sampled_from([0, 2**41]),
    st.none() | st.builds(Properties, st.integers(0, 1), st.none() | st.just("t"), user=st.just((("k", "v"),))),
)
SESSIONS = st.builds(
    SessionRecord,
    st.sampled_from("cd"),
    st.sampled_from([1, 2**32 - 1]),
    st.booleans(),
    st.none() | st.just(2**41),
    st.lists(st.builds(Subscription, st.sampled_from(["#", "a/+"]), st.integers(0, 2)), max_size=2).map(tuple),
    st.lists(st.integers(1, 65535), max_size=3).map(tuple),
)
WAYS = st.builds(Delivery, st.integers(1, 2), st.booleans(), st.lists(st.integers(1, 9), max_size=2).map(tuple))


@st.composite
def batches(draw):
    """Draw batches as the ledger makes them: rows in order, each moved and dropped only while it is there, and each
    thing changed once a batch."""
    rows, there, made = 0, [], []
    for _ in range(draw(st.integers(0, 5))):
        batch = [ForgetSession(one) for one in draw(st.sets(st.sampled_from("cd")))]
        batch += {one.client_id: SaveSession(one) for one in draw(st.lists(SESSIONS, max_size=2))}.values()
        moved = draw(st.sets(st.sampled_from(there))) if there else set()
        for row in sorted(moved):
            is_dropped = draw(st.booleans())
            batch.append(DropRow(row) if is_dropped else MoveRow(row, draw(st.integers(1, 65535)), draw(st.booleans())))
            if is_dropped:
                there.remove(row)
        for message in draw(st.lists(MESSAGES, max_size=4)):
            rows += 1
            there.append(rows)
            batch.append(PutRow(RowRecord(rows, draw(st.sampled_from("cd")), message, draw(WAYS))))
        kept = draw(st.dictionaries(st.sampled_from("ab"), st.none() | MESSAGES))
        batch += [Retain(topic, message) for topic, message in kept.items()]
        made.append(tuple(batch))
    return made


async def written(store, batch):
    """Write a batch and wait for the end of it."""
    done = asyncio.get_running_loop().create_future()
    store.append(batch, done.set_result)
    return await asyncio.wait_for(done, 10)


def read(path):
    """Read what a file holds."""
    store = SqliteStore(path)
    saved = store.load()
    store.close()
    return saved


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches())
def test_both_stores_agree(tmp_path_factory, made):
    async def play():
        path = tmp_path_factory.mktemp("store") / "broker.db"
        file, memory = SqliteStore(path), MemoryStore()
        file.load()
        for batch in made:
            assert await written(file, batch) is None
            memory.append(batch, lambda error: None)
        file.close()
        saved, expected = read(path), memory.load()
        assert saved.rows == expected.rows
        assert sorted(saved.sessions, key=str) == sorted(expected.sessions, key=str)
        assert sorted(saved.retained, key=str) == sorted(expected.retained, key=str)

    asyncio.run(play())


async def test_every_batch_is_durable_in_the_strict_sense(tmp_path):
    store = SqliteStore(tmp_path / "broker.db")
    connection = store._open()
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    connection.close()
    assert (mode, synchronous) == ("wal", 2)


async def test_a_refused_batch_changes_nothing_and_may_come_again(tmp_path):
    store = SqliteStore(tmp_path / "broker.db")
    store.load()
    save = SaveSession(SessionRecord("c", 1))
    nobodys = PutRow(RowRecord(1, None, MessageRecord("a", b""), Delivery(1)))
    unwritable = Retain("a", object())
    for wrong in (nobodys, unwritable):
        assert isinstance(await written(store, [save, wrong]), StoreUnavailable)
    assert read(tmp_path / "broker.db").sessions == ()
    assert await written(store, [save]) is None
    store.close()
    assert read(tmp_path / "broker.db").sessions == (save.session,)


@pytest.mark.parametrize("broken", ["newer", "garbage", "folder"])
async def test_a_file_that_cannot_be_read_is_one_error(tmp_path, broken):
    path = tmp_path / "broker.db"
    if broken == "newer":
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.close()
    elif broken == "garbage":
        path.write_bytes(b"no database " * 500)
    else:
        path.mkdir()
    with pytest.raises(StoreUnavailable, match=r"broker\.db"):
        SqliteStore(path).load()


async def test_a_locked_store_withholds_and_heals(make_broker, tmp_path):
    broker, _ = await make_broker()
    link = InProcessLink(broker, "bridge-0")
    await link.connect(["in/#"], lambda messages: None, lambda: None)
    await link.publish([Outbound("in/first", b"")])
    other = sqlite3.connect(tmp_path / "broker.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    publishing = asyncio.create_task(link.publish([Outbound("in/second", b"")]))
    while not broker.health().reasons:
        assert not publishing.done()
        await asyncio.sleep(0.05)
    assert "store" in broker.health().reasons[0]
    other.execute("ROLLBACK")
    other.close()
    await asyncio.wait_for(publishing, 10)
    assert broker.health().ready
