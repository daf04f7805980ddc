"""Every number that the core counts is shown, and under a name of its own."""

from prometheus_client import CollectorRegistry, generate_latest

from broker.embedded.counts import Counts
from broker.metrics import COUNTERS, GAUGES, BrokerCollector
from broker.port import Health


def test_every_count_is_shown():
    assert {row.field for row in COUNTERS} == set(Counts.__struct_fields__)
    names = [row.name for row in (*COUNTERS, *GAUGES)]
    assert len(set(names)) == len(names)
    assert all(name.startswith("tidings_broker_") for name in names)


def test_the_numbers_are_those_of_now():
    counts = Counts()
    registry = CollectorRegistry()
    registry.register(BrokerCollector(lambda: counts, lambda: Health(ready=False, queued=7)))
    counts.dropped = 3
    shown = generate_latest(registry).decode()
    assert "tidings_broker_dropped_messages_total 3.0" in shown
    assert "tidings_broker_queued_messages 7.0" in shown
    assert "tidings_broker_ready 0.0" in shown
