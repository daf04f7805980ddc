"""Doing something again until it is done, with jittered back-off. The schedule is a pure function of the attempt."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bridge import metrics
from tidings.protocol.errors import LinkLost, OutcomeUnknown, StoreUnavailable

log = logging.getLogger(__name__)

FIRST: Final = 0.05
MOST: Final = 5.0

T = TypeVar("T")


def pause(attempt: int, jitter: float) -> float:
    """Tell how long (s) to wait after the failed attempt 0, 1, 2 …: doubling up to 5 s, of which half is by chance.
    `jitter` is in [0, 1)."""
    longest: float = min(MOST, FIRST * 2 ** min(attempt, 16))
    return longest * (0.5 + jitter / 2)


class Retrying:
    """Retries until done, and tells meanwhile what is not well."""

    def __init__(self, jitter: Callable[[], float], troubles: dict[str, str]) -> None:
        self._jitter = jitter
        self._troubles = troubles

    async def until_done(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await `attempt()` again and again while it raises `StoreUnavailable`, `OutcomeUnknown` or `LinkLost`."""
        failed = 0
        while True:
            try:
                result = await attempt()
            except (StoreUnavailable, OutcomeUnknown, LinkLost) as error:
                self._troubles[what] = f"{type(error).__name__}: {error}".removesuffix(": ")
                metrics.RETRIES.labels(what).inc()
                if not failed:
                    log.warning("cannot %s, trying again: %r", what, error)
                await asyncio.sleep(pause(failed, self._jitter()))
                failed += 1
            else:
                if self._troubles.pop(what, None) is not None:
                    log.info("can %s again", what)
                return result
