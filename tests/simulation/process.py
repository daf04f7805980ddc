"""A process of the simulated installation: it owns lane groups, has its own clock, and is paused, killed and restarted.

Rules
- Suspended, it does nothing: what comes is taken in when it goes on, and what it was about to do happens then, late as
  it is. It does not know that it was suspended.
- Killed, it never does anything again. What it had sent to the store still lands.
- Its clock drifts and jumps; only time-outs of its own run on it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from bridge.owner import Owner, Stores, Surroundings
from stores.memory.deadletters import MemoryDeadLetters
from stores.memory.lastseen import MemoryLastSeen
from stores.ports.directory import Person
from tests.simulation.broker import SimBroker, SimLink
from tests.simulation.engines import Engine
from tests.simulation.network import Network
from tidings.protocol.ids import Group, MessageId, UserId
from tidings.protocol.link import Handle, Inbound, Lost, Outbound, Receive

P = TypeVar("P")

EPOCH_MS = 1_700_000_000_000


class SimDirectory:
    """The accounts: who exists, and whom they block."""

    def __init__(self) -> None:
        self.known: dict[UserId, Person] = {}

    async def people(self, users: frozenset[UserId]) -> dict[UserId, Person]:
        """Tell of those users that exist."""
        return {user: self.known[user] for user in sorted(users) if user in self.known}


class Shared:
    """What all processes share."""

    def __init__(self, engine: Engine, broker: SimBroker, network: Network) -> None:
        self.engine = engine
        self.broker = broker
        self.network = network
        self.directory = SimDirectory()
        self.deadletters = MemoryDeadLetters()
        self.last_seen = MemoryLastSeen()
        self.owner: type[Owner] = Owner
        self.link: type[SimLink] = SimLink


class Suspension:
    """The gate that everything a process does or hears goes through."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._dead = False
        self._late: list[Callable[[], None]] = []

    @property
    def suspended(self) -> bool:
        """Whether it does nothing now."""
        return not self._open.is_set()

    def suspend(self) -> None:
        """Stop in the middle of whatever it is at."""
        self._open.clear()

    def resume(self) -> None:
        """Go on."""
        self._open.set()
        late, self._late = self._late, []
        for action in late:
            self.act(action)

    def kill(self) -> None:
        """End for ever."""
        self._dead = True
        self._late.clear()

    def act(self, action: Callable[[], None]) -> None:
        """Do something that does not wait: now, or when it goes on."""
        if self._dead:
            return
        if self.suspended:
            self._late.append(action)
        else:
            action()

    async def passed(self) -> None:
        """Wait until it is not suspended."""
        await self._open.wait()


class _Gated:
    """Any port, used by a process."""

    def __init__(self, port: Any, gate: Suspension) -> None:
        self._port = port
        self._gate = gate

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._port, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._gate.passed()
            try:
                return await method(*args, **kwargs)
            finally:
                await self._gate.passed()

        return call


def gated(port: P, gate: Suspension) -> P:
    """Give a port to a process: nothing is asked, and no answer heard, while it is suspended."""
    return cast(P, _Gated(port, gate))


class GatedLink:
    """A `Link`, used by a process."""

    def __init__(self, link: SimLink, gate: Suspension) -> None:
        self._link = link
        self._gate = gate

    async def connect(self, filters: Sequence[str], receive: Receive, lost: Lost) -> None:
        def hear(messages: Sequence[Inbound]) -> None:
            self._gate.act(lambda: receive(messages))

        await self._gate.passed()
        await self._link.connect(filters, hear, lambda: self._gate.act(lost))
        await self._gate.passed()

    async def publish(self, messages: Sequence[Outbound]) -> None:
        await self._gate.passed()
        try:
            await self._link.publish(messages)
        finally:
            await self._gate.passed()

    def ack(self, handles: Iterable[Handle]) -> None:
        named = tuple(handles)
        self._gate.act(lambda: self._link.ack(named))

    async def close(self) -> None:
        self._gate.act(self._link.abandon)


class Process:
    """A bridge process that owns one lane group at a time when told to."""

    def __init__(self, name: str, group: Group, shared: Shared, dice: random.Random) -> None:
        self.name = name
        self.ahead = dice.randint(-30_000, 30_000)
        self.drift = dice.uniform(0.999, 1.001)
        self._group = group
        self._shared = shared
        self._dice = dice
        self._boots = 0
        self._gate = Suspension()
        self._link: SimLink | None = None
        self._owner: Owner | None = None
        self._life: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs an owner, suspended or not."""
        return self._life is not None and not self._life.done()

    @property
    def suspended(self) -> bool:
        """Whether it does nothing now."""
        return self._gate.suspended

    def start(self) -> None:
        """Boot, and try to own the group."""
        if self.alive:
            return
        self._boots += 1
        shared, gate = self._shared, Suspension()
        self._gate = gate
        self._link = shared.link(shared.broker, shared.network, f"bridge-{self._group}")
        log = gated(shared.engine.log(), gate)
        stores = Stores(
            writer=log,
            reader=log,
            directory=gated(shared.directory, gate),
            deadletters=gated(shared.deadletters, gate),
            last_seen=gated(shared.last_seen, gate),
        )
        name = f"{self.name}.{self._boots}"
        surroundings = Surroundings(
            clock=self.clock,
            jitter=self._dice.random,
            new_id=lambda: MessageId(self._dice.randbytes(8).hex()),
            name=name,
        )
        self._owner = shared.owner(self._group, stores, GatedLink(self._link, gate), surroundings)
        self._life = asyncio.get_running_loop().create_task(self._owner.run())

    async def kill(self) -> None:
        """End as by kill -9."""
        self._gate.kill()
        self._gate.resume()
        if self._link is not None:
            self._link.abandon()
        life, self._life = self._life, None
        if life is not None and self._owner is not None:
            life.cancel()
            await self._owner.abandon()
            await asyncio.gather(life, return_exceptions=True)

    def suspend(self) -> None:
        """Stop for a while."""
        self._gate.suspend()

    def resume(self) -> None:
        """Go on."""
        self._gate.resume()

    @property
    def troubles(self) -> dict[str, str]:
        """What its owner says is not well."""
        return self._owner.troubles if self._owner is not None else {}

    def _new_id(self) -> MessageId:
        return MessageId(self._dice.randbytes(8).hex())

    def clock(self) -> int:
        """Tell ms UTC, as this process believes."""
        return EPOCH_MS + self.ahead + int(asyncio.get_running_loop().time() * 1000 * self.drift)
