"""The simulated network: one-way pipes that keep their order, cuts, and connections that are only half there.

Rules
- What is sent through one pipe arrives in order; different connections delay each other's messages in any order.
- A cut drops what is on its way. Each side is told later, each at its own time, or (half-open) only by its keepalive.
- A connection that was cut carries nothing any more, in neither direction.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final, NamedTuple

_AFTER: Final = 2e-6
"""Seconds between two arrivals of one pipe: more than the loop's tie-breaking."""


class NetworkFaults(NamedTuple):
    """Delays in virtual seconds, and how often a cut leaves a side in the dark until its keepalive."""

    delay: tuple[float, float] = (0.0005, 0.02)
    slow: float = 0.0
    slow_delay: tuple[float, float] = (0.1, 3.0)
    half_open: float = 0.0
    keepalive: float = 45.0
    notice: tuple[float, float] = (0.0, 0.2)


class Pipe:
    """One direction of a connection."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._last = 0.0

    def send(self, arrive: Callable[[], None]) -> None:
        """Let something arrive after a while, unless the connection is cut before."""
        loop = asyncio.get_running_loop()
        self._last = max(self._last + _AFTER, loop.time() + self._connection.network.delay())
        loop.call_at(self._last, self._arrive, arrive)

    def _arrive(self, arrive: Callable[[], None]) -> None:
        if not self._connection.is_cut:
            arrive()


class Connection:
    """A connection between a client and the broker. `number` is its name."""

    def __init__(self, network: "Network", number: int, client_lost: Callable[[], None]) -> None:
        self.network = network
        self.number = number
        self.is_cut = False
        self.up = Pipe(self)
        self.down = Pipe(self)
        self.broker_lost: Callable[[], None] = lambda: None
        self._client_lost = client_lost

    def cut(self, *, known_to_broker: bool = False, known_to_client: bool = False) -> None:
        """Cut it. A side that did it itself knows; it is not told."""
        if self.is_cut:
            return
        self.is_cut = True
        loop = asyncio.get_running_loop()
        if not known_to_broker:
            loop.call_later(self.network.notice(), self.broker_lost)
        if not known_to_client:
            loop.call_later(self.network.notice(), self._client_lost)


class Network:
    """All connections. `faults` may be changed at any time."""

    def __init__(self, dice: random.Random, faults: NetworkFaults) -> None:
        self.faults = faults
        self._dice = dice
        self._numbers = 0
        self.open: dict[int, Connection] = {}

    def connect(self, client_lost: Callable[[], None]) -> Connection:
        """Make a connection."""
        self._numbers += 1
        connection = Connection(self, self._numbers, client_lost)
        self.open = {number: other for number, other in self.open.items() if not other.is_cut}
        self.open[connection.number] = connection
        return connection

    def cut_one(self) -> None:
        """Cut a connection drawn by the seed."""
        living = [connection for connection in self.open.values() if not connection.is_cut]
        if living:
            self._dice.choice(living).cut()

    def delay(self) -> float:
        """Draw how long something is on its way."""
        slow = self._dice.random() < self.faults.slow
        return self._dice.uniform(*(self.faults.slow_delay if slow else self.faults.delay))

    def notice(self) -> float:
        """Draw how long it takes until a side notices a cut."""
        if self._dice.random() < self.faults.half_open:
            return self.faults.keepalive
        return self._dice.uniform(*self.faults.notice)
