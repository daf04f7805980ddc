"""A process's set of lane groups: start them, tell whether they serve, drain them."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Final

from bridge.batch import Bounds
from bridge.owner import Owner, Stores, Surroundings
from bridge.rates import message_rates
from tidings.protocol.ids import Group
from tidings.protocol.link import Link

DRAIN_SECONDS: Final = 4.0


class Bridge:
    """The lane groups that one process owns. `link_factory(group)` makes the link of client id `bridge-{group}`."""

    def __init__(
        self,
        groups: Iterable[Group],
        stores: Stores,
        link_factory: Callable[[Group], Link],
        surroundings: Surroundings,
        bounds: Bounds | None = None,
    ) -> None:
        bounds = bounds or Bounds()
        messages = message_rates(bounds.messages_a_minute)
        self._owners = [Owner(group, stores, link_factory(group), surroundings, bounds, messages) for group in groups]
        self._running: list[asyncio.Task[None]] = []

    async def start(self, timeout: float | None = None) -> None:
        """Start every lane group, and wait until all are served once. Raises `TimeoutError` after `timeout` seconds;
        they go on trying."""
        loop = asyncio.get_running_loop()
        self._running = [loop.create_task(owner.run()) for owner in self._owners]
        async with asyncio.timeout(timeout):
            for owner in self._owners:
                await owner.served()

    async def stop(self, drain: float = DRAIN_SECONDS) -> None:
        """Drain for at most `drain` seconds, then end. What is not acknowledged comes again. Idempotent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain):
                await asyncio.gather(*(owner.stop() for owner in self._owners))
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(owner.abandon() for owner in self._owners))
        self._running = []

    def ready(self) -> bool:
        """Whether every lane group is served."""
        return not self.reasons()

    def reasons(self) -> list[str]:
        """Tell why it is not ready: one line a lane group and trouble."""
        told = [
            f"lane group {owner.group}: cannot {what}: {why}"
            for owner in self._owners
            for what, why in list(owner.troubles.items())
        ]
        ended = [task for task in self._running if task.done() and not task.cancelled() and task.exception()]
        return told + [f"a lane group failed: {task.exception()!r}" for task in ended]
