"""The broker's metrics: one table, read when somebody asks.

Rules
- Names are `tidings_broker_<what>_<unit>`; each is declared once, here.
- The core counts plain numbers; nothing is done for a metric while messages pass.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.embedded.counts import Counts
from broker.port import Health


class Row(NamedTuple):
    """A metric: the field that it shows, its name, and what it means."""

    field: str
    name: str
    meaning: str


COUNTERS: Final = (
    Row("connects", "tidings_broker_connects", "CONNECT packets that were let in"),
    Row("refused_connects", "tidings_broker_refused_connects", "CONNECT packets that were refused"),
    Row("disconnects", "tidings_broker_disconnects", "connections that ended, however"),
    Row("closed", "tidings_broker_closed_connections", "connections that the broker ended, saying why"),
    Row("received", "tidings_broker_received_messages", "publishes that came, from clients and links"),
    Row("sent", "tidings_broker_sent_messages", "messages that went out, repetitions included"),
    Row("dropped", "tidings_broker_dropped_messages", "QoS 1 and 2 messages that a full queue did not take: must be 0"),
    Row("dropped_plain", "tidings_broker_dropped_plain_messages", "QoS 0 messages that a receiver did not get"),
    Row("oversized", "tidings_broker_oversized_messages", "messages that were longer than a receiver takes"),
    Row("expired", "tidings_broker_expired_messages", "messages that expired in a queue"),
    Row("refused", "tidings_broker_refused_publishes", "publishes that the gate forbade"),
    Row("unrouted", "tidings_broker_unrouted_messages", "messages that nobody had subscribed"),
    Row("persisted", "tidings_broker_persisted_operations", "operations written to the broker's store"),
)
"""Counters since the start, of `Counts`."""

GAUGES: Final = (
    Row("connections", "tidings_broker_connections", "clients and links connected now"),
    Row("sessions", "tidings_broker_sessions", "sessions now, connected or not"),
    Row("queued", "tidings_broker_queued_messages", "messages queued or in flight now"),
    Row("queued_bytes", "tidings_broker_queued_bytes", "bytes of all queues together, as they are reckoned"),
    Row("retained", "tidings_broker_retained_messages", "retained messages now"),
)
"""What is so now, of `Health`."""


class BrokerCollector(Collector):
    """Shows a broker. Register it with a `prometheus_client` registry."""

    def __init__(self, counts: Callable[[], Counts], health: Callable[[], Health]) -> None:
        self._counts = counts
        self._health = health

    def describe(self) -> list[Metric]:
        """Name nothing in advance, so that registering asks nothing of a broker that has not started."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the numbers of now."""
        counts, health = self._counts(), self._health()
        for row in COUNTERS:
            yield CounterMetricFamily(row.name, row.meaning, value=getattr(counts, row.field))
        for row in GAUGES:
            yield GaugeMetricFamily(row.name, row.meaning, value=getattr(health, row.field))
        yield GaugeMetricFamily("tidings_broker_ready", "1 while the broker is ready", value=int(health.ready))
