"""The stores' metrics, each declared once; the label `store` is a database ("log", "app")."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class StoreMetrics:
    """The metrics of one process' stores, in its registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # From BEGIN to the end of COMMIT: the disk's honesty. Alarm: p99 above 0.5 s for five minutes.
        self.transaction_seconds = Histogram(
            "tidings_stores_transaction_seconds", "Write transactions", ["store"], buckets=_SECONDS, registry=registry
        )
        # Writes merged into one transaction; rises with load, which is what keeps the number of syncs bounded.
        self.merged_writes = Histogram(
            "tidings_stores_merged_writes", "Writes a transaction", ["store"], buckets=_COUNTS, registry=registry
        )
        # Weight (about rows) that waits for the writer. Alarm: above half of the limit.
        self.waiting_weight = Gauge(
            "tidings_stores_waiting_weight", "Rows that wait for the writer", ["store"], registry=registry
        )
        # Requests refused because the writer's or the readers' queue was full. Alarm: any.
        self.refused = Counter("tidings_stores_refused_total", "Refused: queue full", ["store"], registry=registry)
        # Transactions that failed for the store's sake (locked, full, I/O error). Alarm: any.
        self.faults = Counter("tidings_stores_faults_total", "Failed transactions", ["store"], registry=registry)
        # Dead letters deleted, oldest first, because more than the limit were kept. Alarm: any.
        self.letters_dropped = Counter(
            "tidings_stores_dead_letters_dropped_total", "Dead letters beyond the limit", registry=registry
        )
