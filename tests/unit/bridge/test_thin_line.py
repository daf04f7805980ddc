"""One message from its sender to the store and to everybody's devices."""

from tests.simulation.loop import SimLoop, run
from tests.unit.bridge.house import ALICE, BOB, DIRECT, World, settled, text
from tidings.protocol.payloads import Message


def test_case_acknowledged_is_durable() -> None:
    async def history(_: SimLoop) -> None:
        world = World()
        bridge = world.bridge()
        await bridge.start()
        world.session.say(text("m1", "hello"))
        await settled()
        rows = await world.log.rows(DIRECT, 1, 9)
        assert [(row.seq, row.kind) for row in rows] == [(1, "direct.created"), (2, "text")]
        for who in (ALICE, BOB):
            (copy,) = world.session.messages(who)
            assert isinstance(copy, Message)
            assert (copy.seq, copy.body, copy.id, copy.from_) == (2, "hello", "m1", ALICE)
        assert world.session.waiting == []
        assert bridge.ready()
        await bridge.stop()

    run(1, history)
