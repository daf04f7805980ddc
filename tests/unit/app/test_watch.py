"""The watch on revocations goes on, whatever the broker's store does."""

import asyncio
from typing import cast

import pytest

from acl.revocations import Revocations
from app import watch as module
from app.watch import PolicyWatch
from broker.port import Broker
from stores.ports.accounts import Policy


class Devices:
    """Revocations of which a test says what is gone; it counts how often they were read."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.changed = False
        self.reads = 0

    async def refresh(self, policy: Policy) -> bool:
        self.reads += 1
        changed, self.changed = self.changed, False
        return changed

    def revoke(self, client_id: str) -> None:
        self.gone.add(client_id)
        self.changed = True


class Kicks:
    """A broker that cuts at once; that it is durable comes when `durable` is set."""

    def __init__(self) -> None:
        self.cut: list[str] = []
        self.durable = asyncio.Event()

    async def kick(self, client_id: str, *, forget: bool = False) -> None:
        assert forget
        self.cut.append(client_id)
        await self.durable.wait()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLICY_SECONDS", 0.001)
    monkeypatch.setattr(module, "FORGET_SECONDS", 0.01)


async def until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_disk_that_takes_nothing_does_not_delay_the_next_revocation() -> None:
    devices, broker = Devices(), Kicks()
    watch = PolicyWatch(cast(Policy, None), cast(Revocations, devices), cast(Broker, broker))
    running = asyncio.create_task(watch.run())
    devices.revoke("one")
    await until(lambda: "one" in broker.cut)
    devices.revoke("two")
    await until(lambda: "two" in broker.cut and watch.troubles)
    broker.durable.set()
    await until(lambda: not watch.troubles)
    cut, reads = len(broker.cut), devices.reads
    await until(lambda: devices.reads > reads + 3)
    assert len(broker.cut) == cut, "what is durably gone is not asked for again"
    running.cancel()
