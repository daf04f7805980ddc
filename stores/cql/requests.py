"""Many requests at once, and what became of each."""

import asyncio
from collections.abc import Coroutine, Iterable
from itertools import islice
from typing import Any, Final

_AT_ONCE: Final = 64
"""Requests in flight for one step of one commit; more would only queue in the driver."""


async def together(requests: Iterable[Coroutine[Any, Any, None]]) -> list[BaseException]:
    """Carry out all requests, at most 64 at a time, each to its end whatever becomes of the others; tells the failures.
    A cancellation is raised, not told."""
    waiting = iter(requests)
    failures: list[BaseException] = []
    while wave := list(islice(waiting, _AT_ONCE)):
        answers = await asyncio.gather(*wave, return_exceptions=True)
        failures += [answer for answer in answers if answer is not None]
    return failures
