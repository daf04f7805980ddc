"""A token bucket: so many a second, and so many at once after a rest."""


class Bucket:
    """The bucket is full at first. It may owe one piece: who takes is told whether to wait afterwards."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: int, now: int) -> None:
        self._rate = rate / 1000
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = now

    def take(self, now: int) -> bool:
        """Take one. False if the bucket is empty now."""
        tokens = self._tokens + max(0, now - self._at) * self._rate
        self._at = now
        self._tokens = min(tokens, self._burst) - 1.0
        return self._tokens >= 1.0

    def is_empty(self, now: int) -> bool:
        """Tell whether one would have to wait."""
        return self._tokens + max(0, now - self._at) * self._rate < 1.0
