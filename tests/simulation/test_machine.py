"""A Hypothesis rule machine over the same world: it chooses what happens, and shrinks what goes wrong.

Rules
- A step is somebody's word, a fault, or a while that passes. Delays are drawn from a seed that Hypothesis chooses too.
- At the end of every run all is healed, and all must come right, as in the seeded histories.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.simulation import world as troubles
from tests.simulation.builds import Build
from tests.simulation.engines import ENGINES
from tests.simulation.loop import SimLoop
from tests.simulation.world import Plan, World, come_right, heal, start
from tidings.protocol.ids import MessageId, UserId
from tidings.protocol.payloads import SendMessage

CALM = Plan(messages=0)
FAULTS: dict[str, Callable[[World], Awaitable[None]]] = {
    trouble.__name__.strip("_"): trouble for trouble in troubles.TROUBLES
}


class Installation(RuleBasedStateMachine):
    """Drives one world by hand on its virtual time."""

    @initialize(seed=st.integers(0, 10_000), engine=st.sampled_from(sorted(ENGINES)))
    def begin(self, seed: int, engine: str) -> None:
        logging.disable(logging.CRITICAL)
        self.number = 0
        self.unheard: list[BaseException] = []
        self.loop = SimLoop(seed)
        self.loop.set_exception_handler(lambda _, context: self.unheard.append(context["exception"]))
        self.do(self._begin(seed, engine))

    async def _begin(self, seed: int, engine: str) -> None:
        self.world = World(seed, engine, Build(), CALM, lambda _: None)
        start(self.world)
        await asyncio.sleep(2.0)

    def do(self, step: Awaitable[None]) -> None:
        """Carry a step out; what was raised in it unheard fails it."""

        async def whole() -> None:
            await step

        self.loop.run_until_complete(whole())
        if self.unheard:
            raise self.unheard[0]

    @rule(device=st.integers(0, 7), pair=st.integers(0, 5), to_all=st.booleans())
    def say(self, device: int, pair: int, to_all: bool) -> None:
        """Somebody says something to one, or to the group."""
        people = (*self.world.sdk, *self.world.stock)
        speaker = people[device % len(people)]
        mine = [each for each in self.world.cast.direct() if speaker.user in each[:2]]
        one, other, conv = mine[pair % len(mine)]
        peer = other if speaker.user == one else one
        self.number += 1
        said = SendMessage(id=MessageId(f"h{self.number}"), body=f"text {self.number}", to=peer)
        if to_all:
            conv, said = self.world.cast.conversation, SendMessage(id=said.id, body=said.body, to=UserId(""))
        self.do(self._now(lambda: speaker.say(conv, said)))

    @rule(fault=st.sampled_from(sorted(FAULTS)))
    def go_wrong(self, fault: str) -> None:
        """Something goes wrong."""
        self.do(FAULTS[fault](self.world))

    @rule(shaky=st.booleans())
    def shake(self, shaky: bool) -> None:
        """The store begins to lose and delay requests, or stops to."""
        self.do(self._now(lambda: troubles.shake_store(self.world, shaky)))

    @rule(seconds=st.floats(0.001, 20.0))
    def wait(self, seconds: float) -> None:
        """A while passes."""
        self.do(asyncio.sleep(seconds))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if not self.unheard:
                self.do(self._now(lambda: heal(self.world)))
                self.do(come_right(self.world))
        finally:
            self.do_quietly(self._end())
            self.loop.close()

    async def _now(self, action: Callable[[], None]) -> None:
        action()

    async def _end(self) -> None:
        for process in self.world.processes:
            await process.kill()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def do_quietly(self, step: Awaitable[None]) -> None:
        """Carry the last step out, whatever was raised before."""
        self.unheard.clear()
        self.do(step)


TestInstallation = Installation.TestCase
TestInstallation.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
