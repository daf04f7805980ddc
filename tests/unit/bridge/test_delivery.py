"""The promises of the write path, played with a real owner on virtual time, a scripted store and a broker that cuts."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from bridge.bridge import Bridge
from bridge.lanegroup import LaneGroup
from tests.simulation.loop import SimLoop, run
from tests.unit.bridge.faults import Fault, FaultyLog
from tests.unit.bridge.house import ALICE, BOB, DIRECT, PHONE, World, settled, text
from tidings.protocol import codec, ids
from tidings.protocol.errors import Code
from tidings.protocol.payloads import DeviceState, Message

History = Callable[[World, FaultyLog, Bridge], Coroutine[Any, Any, None]]


def play(history: History) -> None:
    """Play a history with a started bridge; whatever happened, the log has no holes and no doubles in the end."""

    async def whole(_: SimLoop) -> None:
        log = FaultyLog()
        world = World(log=log)
        bridge = world.bridge()
        await bridge.start()
        await history(world, log, bridge)
        await bridge.stop()
        rows = await MemoryRows(log).all()
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        keys = [row.id for row in rows]
        assert len(set(keys)) == len(keys), keys

    run(7, whole)


class MemoryRows:
    """Reads the conversation's rows."""

    def __init__(self, log: FaultyLog) -> None:
        self._log = log

    async def all(self) -> list[Message]:
        """Read them."""
        return [codec.decode(row.payload, Message) for row in await self._log.rows(DIRECT, 1, 1_000)]


async def bodies(log: FaultyLog) -> list[str]:
    """Tell what was said, in order."""
    return [message.body for message in await MemoryRows(log).all() if message.kind == "text"]


async def take_over(world: World, bridge: Bridge) -> Bridge:
    """Crash the bridge and start another on the same store and broker."""
    await bridge.stop(drain=0)
    successor = world.bridge("two")
    await successor.start()
    await settled()
    return successor


@pytest.mark.parametrize(
    "faults",
    [
        [Fault.REFUSED],
        [Fault.REFUSED] * 5,
        [Fault.UNKNOWN_DONE],
        [Fault.UNKNOWN_NOT_DONE],
        [Fault.UNKNOWN_LATE],
        [Fault.UNKNOWN_NOT_DONE, Fault.UNKNOWN_LATE, Fault.REFUSED, Fault.UNKNOWN_DONE],
    ],
    ids=lambda faults: "+".join(fault.name.lower() for fault in faults),
)
def test_case_an_unknown_outcome_is_retried_byte_for_byte(faults: list[Fault]) -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        log.faults = list(faults)
        world.session.say(text("m1", "one"))
        await settled(30)
        assert log.attempts, "it was tried"
        assert all(attempt == log.attempts[0] for attempt in log.attempts)
        assert len(log.attempts) == len(faults) + 1
        assert await bodies(log) == ["one"]
        assert world.session.waiting == []
        assert bridge.ready()

    play(history)


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNKNOWN_NOT_DONE, Fault.HANGS_DONE, Fault.HANGS_NOT_DONE])
def test_case_nothing_is_told_before_the_commit_is_known(fault: Fault) -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        log.faults = [fault] * 1_000
        world.session.say(text("m1", "one"))
        await settled(20)
        assert world.session.heard == []
        assert len(world.session.waiting) == 1
        if fault in (Fault.REFUSED, Fault.UNKNOWN_NOT_DONE):
            assert any("commit" in reason for reason in bridge.reasons())
        log.faults = []

    play(history)


@pytest.mark.parametrize("fault", [Fault.HANGS_DONE, Fault.HANGS_NOT_DONE])
def test_case_a_crash_around_the_commit_loses_and_doubles_nothing(fault: Fault) -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        log.faults = [fault]
        world.session.say(text("m1", "one"), text("m2", "two"))
        await settled()
        successor = await take_over(world, bridge)
        assert await bodies(log) == ["one", "two"]
        assert {message.body for message in world.session.messages(BOB)} == {"one", "two"}
        assert world.session.waiting == []
        world.session.say(text("m2", "two"), text("m3", "three"))
        await settled()
        assert await bodies(log) == ["one", "two", "three"]
        await successor.stop()

    play(history)


def test_case_a_crash_between_publish_and_acknowledgement_repeats_but_doubles_nothing() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.session.mute = True
        world.session.say(text("m1", "one"))
        await settled()
        assert world.session.messages(BOB), "it was published"
        assert len(world.session.waiting) == 1, "and not acknowledged"
        world.session.mute = False
        successor = await take_over(world, bridge)
        assert await bodies(log) == ["one"]
        assert {message.seq for message in world.session.messages(BOB)} == {2}
        assert world.session.waiting == []
        await successor.stop()

    play(history)


def test_case_what_was_committed_and_not_published_is_published_after_a_take_over() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        log.faults = [Fault.HANGS_DONE]
        world.session.say(text("m1", "one"))
        await settled()
        world.session.acknowledged.extend(world.session.waiting)
        world.session._unacknowledged.clear()  # even if it does not come again
        successor = await take_over(world, bridge)
        assert [message.body for message in world.session.messages(BOB)] == ["one"]
        assert [message.body for message in world.session.messages(ALICE)] == ["one"]
        await successor.stop()

    play(history)


def test_case_lost_puback_a_cut_before_the_acknowledgement_is_answered_as_a_repeat() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.session.mute = True
        world.session.say(text("m1", "one"))
        await settled()
        world.session.mute = False
        world.session.cut()
        await settled(10)
        assert await bodies(log) == ["one"]
        assert world.session.waiting == []
        assert world.session.connections == 2
        own = [m for m in world.session.heard if m.topic == f"u/{ALICE}/{PHONE}/in/msg"]
        assert [codec.decode(copy.payload, Message).seq for copy in own] == [2], "answered to that device alone"
        assert bridge.ready()

    play(history)


def test_case_a_pending_publish_is_published_again_before_anything_new_is_acknowledged() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.session.mute = True
        world.session.say(text("m1", "one"))
        await settled()
        world.session.cut()
        world.session.heard.clear()
        await settled(10)
        world.session.say(text("m2", "two"))
        await settled()
        assert [message.body for message in world.session.messages(BOB)] == ["one"], "only the first, again"
        assert len(world.session.waiting) == 2
        world.session.unmute()
        await settled()
        assert world.session.waiting == []
        assert {message.body for message in world.session.messages(BOB)} == {"one", "two"}

    play(history)


def test_case_a_suspended_owner_finds_out_and_gives_up() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.session.say(text("m1", "one"))
        await settled()
        log.delay = 1.0  # it takes the first a while to learn that it has a successor
        successor = world.bridge("two")
        await successor.start()
        await settled(60)
        log.delay = 0.0
        assert world.session.connections == 2, "the first was cut, and did not cut back"
        assert any("another owner" in reason for reason in bridge.reasons())
        assert successor.ready()
        world.session.say(text("m2", "two"))
        await settled()
        assert await bodies(log) == ["one", "two"]
        await successor.stop()

    play(history)


def test_case_a_fenced_owner_tells_nothing_of_its_last_batch() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        await log.open(world.group, "two", 0)
        world.session.say(text("m1", "one"))
        await settled(10)
        assert world.session.heard == []
        assert len(world.session.waiting) == 1
        assert any("another owner" in reason for reason in bridge.reasons())
        assert await bodies(log) == []

    play(history)


def test_case_store_locked_or_full_heals_by_itself() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        log.down = True
        world.session.say(*(text(f"m{n}", str(n)) for n in range(50)))
        await settled(60)
        assert not bridge.ready()
        assert world.session.heard == []
        assert len(world.session.waiting) == 50, "back-pressure, no dead letters"
        assert await world.dead.count() == 0
        log.down = False
        await settled(10)
        assert bridge.ready()
        assert await bodies(log) == [str(n) for n in range(50)]
        assert world.session.waiting == []

    play(history)


def test_case_directory_down_is_back_pressure_as_well() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.people.down = True
        world.session.say(text("m1", "one"))
        await settled(20)
        assert not bridge.ready()
        assert world.session.heard == []
        world.people.down = False
        await settled(10)
        assert await bodies(log) == ["one"]

    play(history)


def test_case_broker_restart_connects_again_and_everything_arrives() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.session.say(text("m1", "one"))
        await settled()
        world.session.down = True
        world.session.cut()
        await settled(60)
        assert not bridge.ready()
        world.session.down = False
        world.session.say(text("m2", "two"))
        await settled(10)
        assert bridge.ready()
        assert await bodies(log) == ["one", "two"]
        assert world.session.waiting == []

    play(history)


def test_case_clock_going_back_lets_no_entry_be_older_than_the_one_before() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        for step in (0, -3_600_000, 5_000, -86_400_000):
            world.wall = step
            world.session.say(text(f"m{step}", "tick"))
            await settled()
        times = [message.at for message in await MemoryRows(log).all()]
        assert times == sorted(times)
        entries = await log.read(world.group, 0, 100)
        assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)

    play(history)


def test_case_last_message_before_a_crash_is_there_after_it() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        for n in range(20):
            world.session.say(text(f"m{n}", str(n)))
        successor = await take_over(world, bridge)
        await settled(5)
        assert await bodies(log) == [str(n) for n in range(20)]
        assert world.session.waiting == []
        await successor.stop()

    play(history)


def test_a_drain_finishes_what_was_decided() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        log.faults = [Fault.REFUSED]
        world.session.say(*(text(f"m{n}", str(n)) for n in range(10)))
        await settled(0.001)
        await bridge.stop()
        said = await bodies(log)
        assert len(said) + len(world.session.waiting) == 10
        assert len(world.session.acknowledged) == len(said)

    play(history)


def test_while_one_batch_is_on_its_way_the_next_fills() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.session.say(text("m0", "0"))
        await settled()
        world.session.mute = True
        for n in range(1, 100):
            world.session.say(text(f"m{n}", str(n)))
        await settled()
        world.session.unmute()
        await settled()
        assert [len(attempt.rows) for attempt in log.attempts] == [2, 1, 98]

    play(history)


def test_an_entry_tells_what_is_known_to_be_published() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        for n in range(3):
            world.session.say(text(f"m{n}", str(n)))
            await settled()
        assert [attempt.published for attempt in log.attempts] == [attempt.n - 1 for attempt in log.attempts]
        assert not (await log.open(world.group, "three", 0)).unpublished[1:], "at most the last one again"

    play(history)


def test_the_id_of_what_was_refused_may_be_used_again() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.session.say(text("m1", "x" * 70_000))
        await settled()
        assert [error.code for error in world.session.errors()] == [Code.TOO_LARGE]
        world.session.say(text("m1", "short"))
        await settled()
        assert await bodies(log) == ["short"]

    play(history)


def test_a_failure_of_ours_begins_anew_from_what_is_committed() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.session.say(text("m1", "one"))
        await settled()
        log.faults = [Fault.BUG, Fault.BUG]
        world.session.say(text("m2", "two"))
        await settled(0.001)
        assert any("begins anew" in reason for reason in bridge.reasons())
        await settled(10)
        assert await bodies(log) == ["one", "two"]
        assert world.session.waiting == []
        assert bridge.ready()

    play(history)


def test_a_cut_while_connecting_is_tried_again() -> None:
    async def history(world: World, log: FaultyLog, bridge: Bridge) -> None:
        world.session.cuts_at_once = 3
        world.session.cut()
        world.session.say(text("m1", "one"))
        await settled(10)
        assert await bodies(log) == ["one"]
        assert world.session.waiting == []
        assert bridge.ready()

    play(history)


@pytest.mark.parametrize("input_", ["tick", "connected", "loaded"])
def test_a_failure_at_any_input_begins_anew(input_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = getattr(LaneGroup, input_)
    failures = [ZeroDivisionError("scripted")]

    def broken(self: LaneGroup, *told: Any) -> None:
        if failures:
            raise failures.pop()
        sound(self, *told)

    monkeypatch.setattr(LaneGroup, input_, broken)

    async def history(_: SimLoop) -> None:
        world = World()
        bridge = world.bridge()
        await bridge.start()
        state = DeviceState("online", "c1")
        world.session.say((f"u/{ALICE}/{PHONE}/state/{ids.lane_of(ALICE)}", codec.encode(state)), text("m1"))
        await settled(20)
        assert not failures
        assert bridge.ready(), bridge.reasons()
        world.session.say(text("m2"))
        await settled()
        assert [row.id for row in await world.log.rows(DIRECT, 1, 9)] == ["created", "m1", "m2"]
        await bridge.stop()

    run(1, history)


def test_blocks_are_read_again_on_reconnect() -> None:
    async def history(_: SimLoop) -> None:
        world = World()
        bridge = world.bridge()
        await bridge.start()
        world.session.say(text("m1"))
        await settled()
        world.people.people[BOB] = msgspec.structs.replace(world.people.people[BOB], blocks=frozenset({ALICE}))
        world.session.cut()
        await settled(1)
        world.session.say(text("m2"))
        await settled()
        assert [message.id for message in world.session.messages(BOB)] == ["m1"]
        await bridge.stop()

    run(1, history)
