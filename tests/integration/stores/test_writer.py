"""The writer: it merges what waits, isolates what is bad, bounds its queue, and answers after the commit."""

import asyncio
import threading

import pytest
from sqlalchemy import text

from stores.sql.engine import SqlEngine
from stores.sql.schema import Chain
from stores.sql.writer import WriterLimits
from tidings.protocol.errors import StoreUnavailable

SEEN = "INSERT INTO last_seen (member, at) VALUES (?, 1)"


def put(name):
    """Tell a work that writes one row."""
    return lambda connection: connection.exec_driver_sql(SEEN, (name,)).rowcount


async def names(engine):
    """List what stands."""
    found = await engine.read(lambda connection: list(connection.scalars(text("SELECT member FROM last_seen"))))
    return sorted(found)


class Gate:
    """Holds the writer within a transaction until opened."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, connection):
        self.reached.set()
        assert self.opened.wait(30)


async def held(engine):
    """Hold the engine's writer; gives the gate and the task that waits in it."""
    gate = Gate()
    task = asyncio.ensure_future(engine.write(gate))
    await asyncio.to_thread(gate.reached.wait, 30)
    return gate, task


async def test_what_waits_is_one_transaction(engine):
    seen = []

    def together(connection, items):
        seen.append(list(items))
        return [item * 2 for item in items]

    gate, task = await held(engine)
    asked = [asyncio.ensure_future(engine.merge(together, item)) for item in range(50)]
    await asyncio.sleep(0)
    gate.opened.set()
    assert await asyncio.gather(*asked) == [item * 2 for item in range(50)]
    assert seen == [list(range(50))]
    await task


async def test_a_bad_item_harms_no_other(engine):
    def bad(connection):
        put("bad")(connection)
        raise KeyError("bad")

    gate, task = await held(engine)
    asked = [asyncio.ensure_future(engine.write(work)) for work in (put("a"), bad, put("b"))]
    await asyncio.sleep(0)
    gate.opened.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [found[0], type(found[1]), found[2]] == [1, KeyError, 1]
    assert await names(engine) == ["a", "b"]
    await task


async def test_a_full_queue_refuses(tmp_path):
    engine = SqlEngine(tmp_path / "log.db", Chain.LOG, limits=WriterLimits(waiting=10, merged=10))
    await engine.start()
    gate, task = await held(engine)
    asked = [asyncio.ensure_future(engine.write(put(name), weight=5)) for name in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too much waits"):
        await engine.write(put("c"))
    assert "wait to be written" in (await engine.check())[0]
    gate.opened.set()
    await asyncio.gather(*asked)
    assert await names(engine) == ["a", "b"]
    assert engine.metrics.refused.labels("log")._value.get() == 1
    await task
    await engine.close()


async def test_one_item_heavier_than_the_queue_is_taken(tmp_path):
    engine = SqlEngine(tmp_path / "log.db", Chain.LOG, limits=WriterLimits(waiting=10, merged=10))
    await engine.start()
    assert await engine.write(put("heavy"), weight=1_000) == 1
    await engine.close()


async def test_who_went_away_is_not_answered(engine):
    gate, task = await held(engine)
    gone = asyncio.ensure_future(engine.write(put("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    gate.opened.set()
    assert await engine.write(put("here")) == 1
    assert await names(engine) == ["gone", "here"]
    await task


async def test_closing_finishes_what_waits(tmp_path):
    engine = SqlEngine(tmp_path / "log.db", Chain.LOG)
    await engine.start()
    asked = [asyncio.ensure_future(engine.write(put(str(number)))) for number in range(20)]
    await asyncio.sleep(0)
    await engine.close()
    assert await asyncio.gather(*asked) == [1] * 20
