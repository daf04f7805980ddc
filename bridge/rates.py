"""Rates: token buckets in steady time, bounded in number.

Rules: a bucket holds `burst` tokens and is filled at `burst` a `period`. An untouched bucket is full after one period
and need not be kept; above `most` buckets the longest untouched is forgotten early, to its user's favour.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from tidings.protocol.ids import UserId

_MINUTE: Final = 60_000
_USERS: Final = 200_000

K = TypeVar("K", bound=Hashable)


class Rates(Generic[K]):
    """Buckets by key. `period` in ms."""

    def __init__(self, burst: int, period: int, most: int = 50_000) -> None:
        self._burst = burst
        self._period = period
        self._most = most
        self._buckets: OrderedDict[K, tuple[float, int]] = OrderedDict()

    def take(self, key: K, now: int) -> float:
        """Take a token at steady time `now` (ms): 0 when there was one, else the seconds until there is."""
        tokens, since = self._buckets.get(key, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - since) * self._burst / self._period)
        wait = 0.0 if tokens >= 1 else (1 - tokens) * self._period / self._burst / 1000
        self._buckets[key] = (tokens - 1 if not wait else tokens, now)
        self._buckets.move_to_end(key)
        self._forget(now)
        return wait

    def __len__(self) -> int:
        return len(self._buckets)

    def _forget(self, now: int) -> None:
        # Two at most a call: enough to shrink, and no call is ever long.
        for _ in range(2):
            oldest = next(iter(self._buckets))
            if len(self._buckets) <= self._most and now - self._buckets[oldest][1] < self._period:
                return
            if len(self._buckets) == 1:
                return
            del self._buckets[oldest]


MessageRates = Rates[UserId]
"""Users' messages: one for all the lane groups of a process, or who writes to many would have a limit in each."""


def message_rates(a_minute: int | None) -> MessageRates | None:
    """Limit a user's messages to so many a minute; None: without a limit."""
    return Rates(a_minute, _MINUTE, _USERS) if a_minute else None
