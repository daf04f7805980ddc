"""Owners on live nodes: two that contend for a group, and many whose node dies under them."""

import asyncio
import contextlib
import os

import pytest

from ops.engines.cassandra.node import Node
from stores.cql.path import CqlLog
from tests.cassandra import cells, log
from tests.conformance.stores.entries import A
from tests.integration.cql.owners import Owner, check_kept
from tests.processes import free_port
from tidings.protocol.ids import GROUPS

pytestmark = pytest.mark.slow

WITHIN = 100
"""Seconds for a step of the load: ample, for nodes and load share the machine."""


async def test_two_owners_that_contend_keep_one_order(cassandra):
    """Each takes the group over from the other, again and again, in mid-commit."""

    async def contend(store, name):
        told = []
        for turn in range(8):
            owner = Owner(store, A, f"{name}{turn}", rows=2)
            await owner.open()
            while await owner.commit() and len(owner.told) < 30:
                pass
            told += owner.told
        return told

    async with log(cassandra) as one, log(cassandra, empty=False) as other:
        ones, others = await asyncio.gather(contend(one, "one"), contend(other, "other"))
        assert not {entry.n for entry in ones} & {entry.n for entry in others}
        assert ones
        assert others
        await check_kept(one, A, Owner(one, A).conv, [*ones, *others])


@pytest.fixture
def mortal(cassandra_jars, tmp_path):
    """A node of the test's own, to be killed."""
    node = Node(tmp_path / "node", free_port(), free_port())
    node.start()
    node.wait()
    yield node
    node.stop()


@pytest.mark.timeout(300)
async def test_what_was_committed_survives_kill_9_of_the_node(mortal):
    """The node dies in mid-load and comes back: owners go on, and nothing acknowledged is lost, doubled or moved."""
    async with cells(mortal) as found:
        store = CqlLog(found)
        owners = [Owner(store, group) for group in GROUPS[:8]]
        await asyncio.gather(*(owner.open() for owner in owners))
        ended = asyncio.Event()
        serving = [asyncio.create_task(owner.serve(ended)) for owner in owners]
        await reached(owners, 20)
        await asyncio.to_thread(mortal.kill)
        before = [len(owner.told) for owner in owners]
        await asyncio.to_thread(restart, mortal)
        await reached(owners, max(before) + 10)
        ended.set()
        await asyncio.gather(*serving)
        assert sum(owner.retries for owner in owners) > 0
        for owner in owners:
            await check_kept(store, owner.group, owner.conv, owner.told)


@pytest.fixture
def three(cassandra_jars, tmp_path):
    """Three nodes of the test's own, on three loopback addresses."""
    port, storage_port = free_port(), free_port()
    nodes = [
        Node(tmp_path / f"{number}", port, storage_port, address=f"127.0.0.{number}", seed="127.0.0.1")
        for number in (1, 2, 3)
    ]
    try:
        for node in nodes:
            node.start()
            node.wait()
        yield nodes
    finally:
        for node in nodes:
            node.stop()


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    "TIDINGS_TEST_CLUSTER" not in os.environ, reason="needs four idle cores or patience: make test-cluster"
)
async def test_a_node_of_three_is_killed_and_nothing_acknowledged_is_lost(three):
    """Owners go on while it is away, on the quorum that is left; and when it is back, on all three."""
    async with cells(*three) as found:
        store = CqlLog(found)
        owners = [Owner(store, group) for group in GROUPS[:4]]
        await asyncio.gather(*(owner.open() for owner in owners))
        ended = asyncio.Event()
        serving = [asyncio.create_task(owner.serve(ended)) for owner in owners]
        await reached(owners, 10)
        await asyncio.to_thread(three[2].kill)
        await reached(owners, max(len(owner.told) for owner in owners) + 10)
        await asyncio.to_thread(restart, three[2])
        await reached(owners, max(len(owner.told) for owner in owners) + 10)
        ended.set()
        await asyncio.gather(*serving)
        for owner in owners:
            await check_kept(store, owner.group, owner.conv, owner.told)


def restart(node):
    """Start the node again where it was."""
    node.start()
    node.wait()


async def reached(owners, entries):
    """Wait until each owner has so many entries acknowledged."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WITHIN):
            while min(len(owner.told) for owner in owners) < entries:
                await asyncio.sleep(0.05)
            return
    raise AssertionError(f"after {WITHIN} s the owners stand at {[len(owner.told) for owner in owners]}")
