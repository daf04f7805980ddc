"""Latencies as numbers people can compare: exact percentiles of bounded samples.

Rules: samples are seconds and are kept whole (every phase bounds their count), so there are no histogram buckets to
argue about. What leaves the process is milliseconds and at most `POINTS` points of the curve.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

POINTS: Final = 200
_MS: Final = 1_000.0


class Latency(Struct, frozen=True):
    """A distribution of latencies, ms: percentiles by nearest rank, the greatest, and `curve`: `(share, ms)` rising.
    None where nothing was measured."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    most: float | None = None
    curve: tuple[tuple[float, float], ...] = ()


def percentile(ordered: Sequence[float], share: float) -> float:
    """Read a percentile off rising values by nearest rank: the least value that `share` (0 < share <= 1) of them do
    not exceed. NaN when there are none."""
    if not 0 < share <= 1:
        raise ValueError(f"a share lies in (0, 1], not {share}")
    if not ordered:
        return math.nan
    return ordered[max(math.ceil(round(share * len(ordered), 9)), 1) - 1]


def latency(seconds: Iterable[float]) -> Latency:
    """Sum samples (s) up to a distribution (ms)."""
    ordered = sorted(second * _MS for second in seconds)
    if not ordered:
        return Latency()
    p50, p95, p99 = (percentile(ordered, share) for share in (0.5, 0.95, 0.99))
    return Latency(len(ordered), p50, p95, p99, ordered[-1], curve(ordered))


def curve(ordered: Sequence[float], points: int = POINTS) -> tuple[tuple[float, float], ...]:
    """Thin rising values out to `(share, value)`, denser towards the tail, where the interest is."""
    if not ordered:
        return ()
    least = 1.0 / len(ordered)
    step = math.log(1.0 / least) / max(points - 1, 1)
    shares = sorted({1.0, *(1.0 - least * math.exp(step * place) for place in range(points))} - {0.0})
    found = {share: percentile(ordered, share) for share in shares if share > 0}
    return tuple(found.items())
