"""One history: an installation, its people, what goes wrong, and the verdict.

Rules
- Everything is drawn from the seed: who says what when, every delay, every fault. The same seed is the same history.
- First a while of faults, then all is healed, and then all must come right by itself within fifteen minutes.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

from msgspec import Struct

from stores.ports.directory import Person
from stores.ports.entries import JournalEntry
from tests.simulation.api import Api
from tests.simulation.broker import SimBroker
from tests.simulation.builds import Build
from tests.simulation.cast import GROUP, cast, device_of
from tests.simulation.cells import NO_FAULTS, CellFaults
from tests.simulation.checker import Checker, Journalled, Violation, check_whole
from tests.simulation.devices import SdkDevice, StockDevice
from tests.simulation.embedded import EmbeddedSim
from tests.simulation.engines import ENGINES, CqlEngine, Engine
from tests.simulation.loop import SimLoop, run
from tests.simulation.network import Network, NetworkFaults
from tests.simulation.process import Process, Shared
from tidings.protocol.commands import AddMembers, CreateGroup, RemoveMember
from tidings.protocol.ids import MessageId, UserId
from tidings.protocol.payloads import SendMessage

HEALED_WITHIN: Final = 900.0
"""Virtual seconds after the last fault: two comparisons of heads, and the longest keepalive, and some."""
_LOOK_EVERY: Final = 10.0


class Plan(Struct, frozen=True):
    """How much happens. Times in virtual seconds."""

    troubled: float = 40.0
    messages: int = 30
    store: CellFaults = CellFaults(
        refused=0.02, lost=0.01, unheard=0.02, late=0.02, latency=(0.0005, 0.05), timeout=1.0, lateness=(0.01, 30.0)
    )
    network: NetworkFaults = NetworkFaults(slow=0.05, half_open=0.3)


class World:
    """An installation with its people."""

    def __init__(self, seed: int, engine: str, build: Build, plan: Plan, trace: Callable[[str], None]) -> None:
        self.dice = random.Random(f"history {seed}")
        self.plan = plan
        self.trace = trace
        self.truth = Journalled()
        self.checker = Checker(self.truth, trace)
        self.network = Network(self._own_dice(), plan.network)
        forgetful, embedded = self.dice.random() < 0.5, self.dice.random() < 0.5
        kind = EmbeddedSim if embedded and build.broker is SimBroker else build.broker
        self.broker = kind(self.network, self._own_dice(), forgetful=forgetful, watch=self.checker.publishes)
        self.engine = self._make_engine(engine, build)
        self.shared = Shared(self.engine, self.broker, self.network)
        self.shared.owner, self.shared.link = build.owner, build.link
        self.api = Api(self.broker, self.network)
        self.processes = [Process(f"p{n}", GROUP, self.shared, self._own_dice()) for n in range(3)]
        self.wanted = self.processes[0]
        self.cast = cast()
        self.sdk: list[SdkDevice] = []
        self.stock: list[StockDevice] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._people()

    def _make_engine(self, engine: str, build: Build) -> Engine:
        if engine == "cql":
            return CqlEngine(self._own_dice(), self.appended, build.path)
        return ENGINES[engine](self._own_dice(), self.appended)

    def appended(self, entry: JournalEntry) -> None:
        """An entry stands in the journal. What is wrong with it is told at once: the owner might catch an exception."""
        self.trace(f"journal: {entry}")
        try:
            self.truth.take(entry)
        except Violation as violation:
            told = {"message": "the journal breaks a promise", "exception": violation}
            asyncio.get_running_loop().call_exception_handler(told)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run beside everything else."""
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def _own_dice(self) -> random.Random:
        return random.Random(self.dice.random())

    def _people(self) -> None:
        directory = self.shared.directory
        for place, user in enumerate(self.cast.users):
            blocks = frozenset({self.cast.users[2]}) if place == 1 and self.dice.random() < 0.3 else frozenset()
            hides_read = self.dice.random() < 0.2
            directory.known[user] = Person(user, blocks=blocks, hides_read=hides_read)
            for number in range(2 if place < 2 else 1):
                device = device_of(user, number)
                self.sdk.append(SdkDevice(self.broker, self.network, self.checker, self._own_dice(), user, device))
        for user in self.cast.users[:2]:
            stock = StockDevice(self.broker, self.network, self.checker, self._own_dice(), user, device_of(user, 9))
            self.stock.append(stock)


async def play(world: World) -> None:
    """Play the history to its end. Raises `Violation`."""
    start(world)
    for n in range(world.plan.messages):
        world.start(_say_once(world, n))
    await _trouble(world)
    heal(world)
    await come_right(world)


def start(world: World) -> None:
    """Switch everything on."""
    for device in (*world.sdk, *world.stock):
        device.switch_on()
    world.start(world.api.run())
    world.start(_keep_owned(world))
    world.start(_lead_group(world))


async def _keep_owned(world: World) -> None:
    """Whoever is wanted tries to own the group; nobody else is told."""
    while True:
        if not world.wanted.alive:
            world.trace(f"{world.wanted.name} starts")
            world.wanted.start()
        await asyncio.sleep(world.dice.uniform(0.1, 1.0))


async def _say_once(world: World, number: int) -> None:
    """Somebody says something to somebody."""
    dice = world.dice
    at, device = dice.uniform(0.0, world.plan.troubled), dice.choice((*world.sdk, *world.stock))
    direct = [(one, other, conv) for one, other, conv in world.cast.direct() if device.user in (one, other)]
    one, other, conv = dice.choice(direct)
    peer = other if device.user == one else one
    if dice.random() < 0.5:
        conv, peer = world.cast.conversation, UserId("")
    await asyncio.sleep(at)
    id_ = MessageId(f"m{number}")
    world.trace(f"{device.name} says {id_} in {conv}")
    device.say(conv, SendMessage(id=id_, body=f"text {number}", to=peer))
    if isinstance(device, SdkDevice) and dice.random() < 0.3:
        await asyncio.sleep(dice.uniform(0.0, 5.0))
        device.read_all()


async def _lead_group(world: World) -> None:
    """The first user makes a group, adds the last, and removes and adds again as the seed wants."""
    users, conv, api, dice = world.cast.users, world.cast.conversation, world.api, world.dice
    history = dice.random() < 0.5
    create = CreateGroup(name="everybody", members=users[1:3], history=history)
    await api.do(world.cast.request, "group.create", conv, users[0], create)
    inside = {users[1], users[2]}
    for number in range(4):
        await asyncio.sleep(dice.uniform(0.0, world.plan.troubled / 4))
        user = dice.choice(users[1:])
        id_ = MessageId(f"change-{number}")
        if user in inside:
            inside.discard(user)
            await api.do(id_, "member.remove", conv, users[0], RemoveMember(user))
        else:
            inside.add(user)
            await api.do(id_, "member.add", conv, users[0], AddMembers((user,)))


async def _trouble(world: World) -> None:
    """Let things go wrong for a while."""
    loop, dice = asyncio.get_running_loop(), world.dice
    shake_store(world, dice.random() < 0.8)
    end = loop.time() + world.plan.troubled
    while loop.time() < end:
        await asyncio.sleep(dice.uniform(0.0, 3.0))
        await dice.choice(TROUBLES)(world)


def shake_store(world: World, shaky: bool) -> None:
    """Let the store lose and delay requests, or let it be well."""
    world.engine.faults = world.plan.store if shaky else NO_FAULTS


async def _cut(world: World) -> None:
    world.trace("a connection is cut")
    world.network.cut_one()


async def _kill(world: World) -> None:
    process = world.dice.choice(world.processes)
    world.trace(f"{process.name} is killed")
    await process.kill()


async def _suspend(world: World) -> None:
    process = world.dice.choice(world.processes)
    world.trace(f"{process.name} is suspended")
    process.suspend()
    asyncio.get_running_loop().call_later(world.dice.uniform(0.1, 20.0), process.resume)


async def _take_over(world: World) -> None:
    world.wanted = world.dice.choice(world.processes)
    world.trace(f"{world.wanted.name} is wanted")


async def _lose(world: World) -> None:
    device = world.dice.choice(world.sdk)
    world.trace(f"{device.name} restarts")
    device.restart()


async def _vanish(world: World) -> None:
    device = world.dice.choice((*world.sdk, *world.stock))
    if device.on:
        world.trace(f"{device.name} is off")
        device.switch_off()
        asyncio.get_running_loop().call_later(world.dice.uniform(0.5, 20.0), device.switch_on)


async def _restart_broker(world: World) -> None:
    world.trace("the broker restarts")
    world.broker.restart()


async def _store_down(world: World) -> None:
    world.trace("the store is down")
    before = world.engine.faults
    world.engine.faults = before._replace(refused=1.0)
    await asyncio.sleep(world.dice.uniform(0.5, 8.0))
    world.engine.faults = before


async def _turn_clock(world: World) -> None:
    process = world.dice.choice(world.processes)
    process.ahead += world.dice.randint(-3_600_000, 3_600_000)
    world.trace(f"{process.name}'s clock is turned")


TROUBLES: Final = (
    _cut,
    _cut,
    _cut,
    _kill,
    _kill,
    _suspend,
    _suspend,
    _take_over,
    _take_over,
    _lose,
    _vanish,
    _restart_broker,
    _store_down,
    _turn_clock,
)


def heal(world: World) -> None:
    """End all faults; nobody is told. Clocks are right again: a command's deadline is by its owner's."""
    world.trace("all is healed")
    world.engine.faults = NO_FAULTS
    world.network.faults = NetworkFaults()
    for process in world.processes:
        process.ahead = 0
        process.resume()
    for device in (*world.sdk, *world.stock):
        if not device.on:
            device.switch_on()


async def come_right(world: World) -> None:
    """Wait until everybody has everything, and readers the whole. Raises `Violation` when they have not in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + HEALED_WITHIN
    while True:
        await asyncio.sleep(_LOOK_EVERY)
        _raise_failed(world)
        try:
            _check_devices(world)
            break
        except Violation:
            if loop.time() > end:
                raise
    await _check_store(world)


def _raise_failed(world: World) -> None:
    for task in world.tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error
    for process in world.processes:
        if "carry on" in process.troubles:
            raise Violation(f"{process.name}: {process.troubles['carry on']}")


def _check_devices(world: World) -> None:
    for device in world.sdk:
        check_whole(world.checker, device.user, device.log, device.name)
        if not device.settled:
            raise Violation(f"{device.name} is not settled, {device.session.unsent} unsent")
    for stock in world.stock:
        if stock.unacked:
            raise Violation(f"{stock.name} has no PUBACK for {[said.id for said in stock.unacked]}")
    working = [task for task in world.tasks[2:] if not task.done()]
    if working:
        raise Violation(f"{len(working)} people are not through")


async def _check_store(world: World) -> None:
    """Compare what readers are told with the journal."""
    log = world.engine.log()
    for conv, rows in world.truth.rows.items():
        told = await log.rows(conv, 1, len(rows) + 10)
        if told != list(rows.values()):
            raise Violation(f"{conv}: readers have {len(told)} rows, not the {len(rows)} of the journal")
    for said, seq in world.checker.acked.items():
        if world.truth.numbers.get((said.conv, said.user, said.device, said.id)) != seq:
            raise Violation(f"{said.id} was acknowledged as {seq} and is not there")


def simulate(
    seed: int,
    engine: str,
    build: Build | None = None,
    plan: Plan | None = None,
    trace: Callable[[str], None] = lambda _: None,
) -> World:
    """Play the history of a seed. Raises `Violation`, or whatever was raised in it."""
    worlds: list[World] = []

    async def history(loop: SimLoop) -> None:
        def stamped(line: str) -> None:
            trace(f"{loop.time():10.4f} {line}")

        world = World(seed, engine, build or Build(), plan or Plan(), stamped)
        worlds.append(world)
        await play(world)
        for process in world.processes:
            await process.kill()

    run(seed, history)
    return worlds[0]
