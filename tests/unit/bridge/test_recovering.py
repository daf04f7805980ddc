"""After a take-over: what is published again obeys what was committed, not what is decided meanwhile."""

from msgspec import Raw

from bridge.effects import AskPeople, Effect, Load, Moment, Publish
from bridge.lanegroup import LaneGroup
from stores.memory.log import MemoryLog
from stores.ports.directory import Person
from stores.ports.entries import Opened
from tests.simulation.loop import SimLoop, run
from tests.unit.bridge.house import ALICE, BOB, CAROL, DIRECT, NOW, World, settled, text
from tidings.protocol import codec, ids, topics
from tidings.protocol.commands import AddMembers, CreateGroup
from tidings.protocol.ids import ConvId, MessageId
from tidings.protocol.link import Handle, Inbound
from tidings.protocol.payloads import Command, Wire

REQUEST = next(
    MessageId(f"make-{n}")
    for n in range(1_000)
    if ids.group_of(ids.lane_of(ids.group_conversation(ALICE, MessageId(f"make-{n}")))) == World().group
)
TEAM = ids.group_conversation(ALICE, REQUEST)


def command(verb: str, id_: MessageId, args: Wire, conv: ConvId = TEAM) -> tuple[str, bytes]:
    """Build what a service publishes."""
    asked = Command(id_, verb, conv, ALICE, "s/api/1/re", NOW * 2, Raw(codec.encode(args)))
    return topics.build(topics.LaneDo(ids.lane_of(conv))), codec.encode(asked)


async def _unpublished() -> tuple[MemoryLog, Opened]:
    """A log of a group and a direct conversation, of which the last owner published nothing."""
    world = World()
    world.session.mute = True
    bridge = world.bridge()
    await bridge.start()
    world.session.say(command("group.create", REQUEST, CreateGroup(name="team", members=(BOB,))), text("m1"))
    await settled()
    await bridge.stop(drain=0.1)
    return world.log, await world.log.open(world.group, "two", NOW)


def test_who_is_being_added_is_not_shown_what_is_published_again() -> None:
    async def history(_: SimLoop) -> None:
        log, opened = await _unpublished()
        now = Moment(NOW, 0)
        machine = LaneGroup(World().group, opened, now, owner="two", new_id=lambda: MessageId("x"))
        machine.connected(now)
        effects: list[Effect] = machine.take()
        topic, payload = command("member.add", MessageId("add"), AddMembers((CAROL,)))
        machine.receive([Inbound(topic, payload, 1, Handle(1, 1))], now)
        for conv in (TEAM, DIRECT):
            machine.loaded(conv, await log.load(conv, ids_since=0), now)
            effects += machine.take()
            asked = [effect.users for effect in effects if isinstance(effect, AskPeople)]
            for users in asked:
                machine.told_people(users, {user: Person(user) for user in users}, now)
            effects = [*(effect for effect in effects if not isinstance(effect, AskPeople)), *machine.take()]
        assert {effect.conv for effect in effects if isinstance(effect, Load)} >= {TEAM, DIRECT}
        (again,) = [effect for effect in effects if isinstance(effect, Publish)]
        told = {message.topic.split("/")[1] for message in again.messages}
        assert told == {ALICE, BOB}

    run(1, history)
