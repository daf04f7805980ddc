"""A broker in the test's own loop, with its store in a file."""

import time

import pytest

from broker.embedded.durable import SqliteStore
from broker.embedded.server import EmbeddedBroker
from tests.integration.broker_embedded.gates import Gate


def clock():
    """The time, ms UTC."""
    return time.time_ns() // 1_000_000


@pytest.fixture
async def make_broker(tmp_path):
    """Make started brokers on one folder; all are stopped at the end."""
    made = []

    async def make(*, admit=True, **options):
        broker = EmbeddedBroker(Gate(), SqliteStore(tmp_path / "broker.db"), clock, **{"mqtt": 0, **options})
        endpoints = await broker.start()
        made.append(broker)
        if admit:
            broker.admit()
        return broker, endpoints

    yield make
    for broker in made:
        await broker.stop()
