"""A deterministic asyncio event loop: virtual time, no sockets, no threads.

Rules
- Time moves only when nothing is ready, and then straight to the next timer: a simulated hour costs what happens in it.
- Callbacks that are ready run in the order asked for, as asyncio promises. Timers that fall together run in an order
  drawn from the seed: what asyncio does not promise, nobody may rely on.
- Waiting for what can never come is an error (`Stalled`), and so is running for ever without time passing (`Spinning`).
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_TIE: Final = 1e-6
"""Seconds within which the seed orders timers."""
_SPINS: Final = 100_000
"""Rounds of the loop at one instant, after which it is called spinning."""


class Stalled(Exception):
    """Everything waits and no timer is set: the history would never end."""


class Spinning(Exception):
    """Callbacks call one another without time passing."""


class Forbidden(Exception):
    """A thread, a socket or a process was asked for: the code under simulation is not free of I/O."""


class _Selector:
    """Stands where the loop waits for sockets: instead of waiting, it moves the clock."""

    def __init__(self, loop: "SimLoop") -> None:
        self._loop = loop
        self._spins = 0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stalled("every task waits and no timer is set")
        if timeout > 0:
            self._loop.advance(timeout)
            self._spins = 0
            return []
        self._spins += 1
        if self._spins > _SPINS:
            raise Spinning(f"{_SPINS} rounds at {self._loop.time():.6f} s")
        return []


class SimLoop(asyncio.BaseEventLoop):
    """The loop. `time()` starts at 0 and is in seconds."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._now = 0.0
        self._ties = random.Random(f"ties {seed}")
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Tell the virtual time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock on; the selector's."""
        self._now += seconds

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer; among those of one instant the seed decides."""
        return super().call_at(when + self._ties.random() * _TIE, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> NoReturn:  # type: ignore[override]
        """Refuse: there are no threads here, so neither name look-up nor blocking calls."""
        raise Forbidden(f"a thread for {func!r}")

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> NoReturn:
        """Refuse: who needs it has a thread."""
        raise Forbidden(f"a call from a thread: {callback!r}")

    async def create_connection(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the network is simulated."""
        raise Forbidden("a connection")

    async def create_server(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the network is simulated."""
        raise Forbidden("a server")

    async def create_datagram_endpoint(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the network is simulated."""
        raise Forbidden("a datagram endpoint")

    def _process_events(self, event_list: list[Any]) -> None:
        """Have nothing to do: no event ever comes from outside."""

    def _write_to_self(self) -> None:
        """Have nobody to wake."""


def run(seed: int, history: Callable[[SimLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a history to its end on a new loop and leave no task behind. Raises what the history raises, `Stalled`,
    `Spinning`, and, at once, the first error of a callback or of a task that nobody awaits."""
    loop = SimLoop(seed)
    unheard: list[Exception] = []
    try:
        main = loop.create_task(history(loop))
        loop.set_exception_handler(lambda _, context: _hear(unheard, context, main))
        try:
            return loop.run_until_complete(main)
        except asyncio.CancelledError:
            raise unheard[0] from None
        finally:
            _end_tasks(loop)
            if unheard:
                raise unheard[0]
    finally:
        loop.close()


def _hear(unheard: list[Exception], context: dict[str, Any], main: asyncio.Task[Any]) -> None:
    error = context.get("exception")
    if isinstance(error, Exception):
        unheard.append(error)
        main.cancel()


def _end_tasks(loop: SimLoop) -> None:
    left = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
