"""One lane group's owner as a process of its own, that can suspend itself at a step of the write path.

`python -m tests.integration.bridge.owning FOLDER PORT GROUP NAME [STEP COUNT]`: serves over a socket and SQLite; says
`serving`, and `given up` when it has a successor. At the COUNT-th time of STEP it stops itself (SIGSTOP).
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from bridge.batch import Bounds
from bridge.links.mqtt import Address, MqttLink
from bridge.owner import Owner, Stores, Surroundings
from stores.ports.directory import Person
from stores.ports.entries import JournalEntry
from stores.ports.log import Outcome
from stores.sql.deadletters import SqlDeadLetters
from stores.sql.engine import SqlEngine
from stores.sql.lastseen import SqlLastSeen
from stores.sql.log import SqlLog
from stores.sql.schema import Chain
from tidings.protocol.ids import Group, MessageId, UserId
from tidings.protocol.link import Handle, Outbound

STEPS = ("before the commit", "after the commit", "before publishing", "before acknowledging")


class Suspension:
    """Stops the process at the `count`-th time of a step."""

    def __init__(self, step: str = "", count: int = 0) -> None:
        self._step, self._left = step, count

    def at(self, step: str) -> None:
        """Come to a step."""
        if step == self._step and (left := self._left) > 0:
            self._left -= 1
            if left == 1:
                os.kill(os.getpid(), signal.SIGSTOP)


class StoppableLog(SqlLog):
    """A log around whose commits the process may be suspended."""

    def __init__(self, engine: SqlEngine, suspension: Suspension) -> None:
        super().__init__(engine)
        self._suspension = suspension

    async def commit(self, entry: JournalEntry) -> Outcome:
        """See the port."""
        self._suspension.at("before the commit")
        outcome = await super().commit(entry)
        self._suspension.at("after the commit")
        return outcome


class StoppableLink(MqttLink):
    """A link on which the process may be suspended."""

    def __init__(self, address: Address, suspension: Suspension) -> None:
        super().__init__(address)
        self._suspension = suspension

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """See `Link`."""
        self._suspension.at("before publishing")
        await super().publish(messages)

    def ack(self, handles: Iterable[Handle]) -> None:
        """See `Link`."""
        self._suspension.at("before acknowledging")
        super().ack(handles)


class Everybody:
    """A directory of whoever is asked for."""

    async def people(self, users: frozenset[UserId]) -> dict[UserId, Person]:
        """See the port."""
        return {user: Person(user) for user in users}


async def own(folder: Path, port: int, group: Group, name: str, suspension: Suspension) -> None:
    """Serve until there is a successor."""
    engine = SqlEngine(folder / "log.db", Chain.LOG, busy_ms=200)
    await engine.start()
    log = StoppableLog(engine, suspension)
    link = StoppableLink(Address("127.0.0.1", port, f"bridge-{group}"), suspension)
    stores = Stores(log, log, Everybody(), SqlDeadLetters(engine), SqlLastSeen(engine))
    around = Surroundings(lambda: time.time_ns() // 1_000_000, lambda: 0.5, lambda: MessageId("new"), name)
    owner = Owner(group, stores, link, around, Bounds(messages_a_minute=None, batch_rows=20))
    running = asyncio.create_task(owner.run())
    await owner.served()
    print("serving", flush=True)
    await running
    print("given up", flush=True)
    await engine.close()


if __name__ == "__main__":
    _, folder_, port_, group_, name_, *rest = sys.argv
    stopping = Suspension(rest[0], int(rest[1])) if rest else Suspension()
    asyncio.run(own(Path(folder_), int(port_), Group(group_), name_, stopping))
