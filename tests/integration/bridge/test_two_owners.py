"""Two processes own a lane group, on one Mosquitto and one SQLite file: the later one does, whatever the other thinks.

The first is suspended in the middle of its work, the second takes over, the first is woken up again.
"""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from bridge.links.mqtt import Address, MqttLink
from stores.ports.entries import JournalEntry, Row
from stores.sql.engine import SqlEngine
from stores.sql.log import SqlLog
from stores.sql.schema import Chain
from tests.integration.bridge.owning import STEPS
from tests.unit.bridge.house import ALICE, BOB, DIRECT, GROUP, text
from tidings.protocol import codec
from tidings.protocol.link import Inbound, Outbound
from tidings.protocol.payloads import Message

pytestmark = pytest.mark.mosquitto
BEFORE, MEANWHILE, AFTER = 300, 100, 50


@contextmanager
def owner(folder: Path, port: int, name: str, *stopping: str) -> Iterator["subprocess.Popen[str]"]:
    """Start an owner; it is killed in the end."""
    arguments = [str(folder), str(port), GROUP, name, *stopping]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.bridge.owning", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def said(process: "subprocess.Popen[str]") -> str:
    """Wait for the process's next line."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await asyncio.to_thread(process.stdout.readline)).strip()


async def stopped(process: "subprocess.Popen[str]") -> None:
    """Wait until the process has suspended itself."""
    async with asyncio.timeout(30):
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            await asyncio.sleep(0.01)


class Devices:
    """Alice, who writes, and the ears of her and of Bob."""

    def __init__(self, port: int) -> None:
        self.link = MqttLink(Address("127.0.0.1", port, "devices"))
        self.heard: list[Inbound] = []
        self.written = 0

    async def connect(self) -> None:
        """Connect and listen."""
        await self.link.connect(["u/+/in/msg", "u/+/+/in/+"], self._receive, lambda: None)

    def _receive(self, messages: Sequence[Inbound]) -> None:
        self.heard.extend(messages)
        self.link.ack([message.handle for message in messages])

    async def write(self, count: int) -> None:
        """Write so many messages more; the broker has them then."""
        numbers = range(self.written, self.written + count)
        await self.link.publish([Outbound(*text(f"m{number}", f"text {number}")) for number in numbers])
        self.written += count

    async def have_all(self) -> None:
        """Wait until Bob has everything that was written."""
        async with asyncio.timeout(30):
            while len({message.payload for message in self.of(BOB)}) < self.written:
                await asyncio.sleep(0.02)

    def of(self, who: str) -> list[Inbound]:
        """What came to all devices of a user."""
        return [message for message in self.heard if message.topic == f"u/{who}/in/msg"]


@pytest.fixture
async def devices(port: int) -> AsyncIterator[Devices]:
    people = Devices(port)
    await people.connect()
    yield people
    await people.link.close()


async def stored(folder: Path) -> tuple[list[Row], list[JournalEntry]]:
    """Read the log and the journal."""
    engine = SqlEngine(folder / "log.db", Chain.LOG)
    await engine.start()
    log = SqlLog(engine)
    rows, entries = await log.rows(DIRECT, 1, 10_000), await log.read(GROUP, 0, 10_000)
    await engine.close()
    return rows, entries


@pytest.mark.parametrize("step", STEPS)
async def test_case_a_suspended_owner_is_replaced_and_can_do_nothing_when_it_wakes_up(
    step: str, port: int, devices: Devices, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(owner(tmp_path, port, "first", step, "4"))
        assert await said(first) == "serving"
        await devices.write(BEFORE)
        await stopped(first)
        second = stack.enter_context(owner(tmp_path, port, "second"))
        assert await said(second) == "serving"
        await devices.write(MEANWHILE)
        await devices.have_all()
        first.send_signal(signal.SIGCONT)
        assert await said(first) == "given up"
        await devices.write(AFTER)
        await devices.have_all()
        assert second.poll() is None
    rows, entries = await stored(tmp_path)
    assert [row.seq for row in rows] == list(range(1, devices.written + 2))
    assert Counter(row.id for row in rows[1:]) == Counter(f"m{n}" for n in range(devices.written))
    assert [row.id for row in rows[1:]] == [f"m{n}" for n in range(devices.written)], "in the order it was written"
    for who in (ALICE, BOB):
        told = {codec.decode(message.payload, Message).seq: message.payload for message in devices.of(who)}
        assert told == {row.seq: row.payload for row in rows[1:]}, "what was told is what is stored, and all of it"
    assert not [message for message in devices.heard if message.topic.endswith("/in/error")]
    fence = max(entry.n for entry in entries if entry.fence)
    assert {entry.owner for entry in entries if entry.n > fence} == {"second"}
    assert [entry.n for entry in entries] == list(range(1, len(entries) + 1))
