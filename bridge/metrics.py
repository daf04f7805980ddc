"""The bridge's metrics, each declared once. Names: `tidings_bridge_<what>_<unit>`."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

INBOUND: Final = Counter("tidings_bridge_inbound_messages", "Messages that came from the broker", ["group"])
"""Repeated deliveries count again."""

ENTRIES: Final = Counter("tidings_bridge_entries", "Numbered entries committed", ["group"])
"""Messages and numbered events; the rate of this is the throughput that matters."""

REPEATS: Final = Counter("tidings_bridge_repeats", "Messages that had a number already", ["group"])
"""Lost acknowledgements, retries of clients, redelivery after a cut."""

REFUSED: Final = Counter("tidings_bridge_refused", "Requests refused, by code", ["code"])
"""A rise of `rateLimited` is a talkative device, of `badPayload` a broken one, of `unavailable` an overload of ours."""

OUTGOING: Final = Counter("tidings_bridge_outgoing_messages", "Messages published after a commit", ["group"])
"""Fan-out: divided by entries, the average audience."""

DEAD: Final = Counter("tidings_bridge_dead_letters", "Messages kept as dead letters", ["code"])
"""Look at them with `tidings bridge dead list`."""

DROPPED: Final = Counter("tidings_bridge_dropped", "QoS 0 messages and notices not carried out, by reason", ["reason"])
"""Typing above its rate or while overloaded: never anything that was acknowledged."""

REFUSED_PUBLISHES: Final = Counter("tidings_bridge_refused_publishes", "Publishes that the broker refused")
"""Their entries are stored, and devices find them by comparing heads; but look for a wrong rule or a full broker."""

MISSING: Final = Counter("tidings_bridge_missing_rows", "Numbers asked for whose row is not in the store")
"""Answered as tombstones. Above zero is an alarm: an acknowledged entry was lost, or deleted before its time."""

WAITING: Final = Gauge("tidings_bridge_waiting_messages", "Inbound messages that wait for a load or a batch", ["group"])
"""Bounded by `Bounds.waiting`; above it requests are refused as `unavailable`."""

BATCH: Final = Histogram(
    "tidings_bridge_batch_entries", "Entries of a batch", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
"""Bounded by `Bounds.batch_rows`. Large batches at a steady load mean slow commits."""

BATCH_SECONDS: Final = Histogram(
    "tidings_bridge_batch_seconds",
    "From sealing a batch to its acknowledgement",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
"""Commit, publish and the broker's answers."""

LOADS: Final = Gauge("tidings_bridge_loads_in_flight", "Conversations being loaded", ["group"])
"""Bounded by `Bounds.loads`."""

CACHED: Final = Gauge("tidings_bridge_cached_conversations", "Conversations in memory", ["group"])
"""Bounded by `Bounds.conversations`, beside those with work in progress."""

RETRIES: Final = Counter("tidings_bridge_retries", "Retried requests to store and broker, by what", ["what"])
"""Each is a moment in which acknowledgements wait; `/readyz` names it while it lasts."""

READY: Final = Gauge("tidings_bridge_ready", "Whether the lane group is served", ["group"])
"""0 while opening, connecting, retrying, or given up."""


class Gauges:
    """A lane group's fill levels, told after every step."""

    def __init__(self, group: str) -> None:
        self._waiting = WAITING.labels(group)
        self._loads = LOADS.labels(group)
        self._cached = CACHED.labels(group)

    def tell(self, waiting: int, loads: int, cached: int) -> None:
        """Tell how full it is."""
        self._waiting.set(waiting)
        self._loads.set(loads)
        self._cached.set(cached)
