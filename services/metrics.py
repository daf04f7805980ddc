"""The API's metrics, each declared once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram


class Outcome:
    """What became of one request; `status` 0 when nothing was answered."""

    status: int = 0


class Metrics:
    """The metrics of one API process, in its registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Answers by method and status. Alarm: a share of 5xx above 1 % for five minutes.
        self._answers = Counter(
            "tidings_services_answers_total", "HTTP answers", ["method", "status"], registry=registry
        )
        # From the request's head to its answer's end; commands wait for the conversation's writer.
        self._seconds = Histogram(
            "tidings_services_request_seconds", "HTTP request duration", ["method"], registry=registry
        )
        # Rows that history was asked for and the store does not have. Alarm: above zero (promise 2).
        self.missing_rows = Counter(
            "tidings_services_missing_rows_total", "Numbered entries without a row", registry=registry
        )
        # Refresh tokens used twice: a stolen token, or a client that lost an answer.
        self.refresh_reuse = Counter(
            "tidings_services_refresh_reuse_total", "Refresh tokens used a second time", registry=registry
        )

    @contextmanager
    def requests(self, method: str) -> Iterator[Outcome]:
        """Count and time one request."""
        known = method if method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH") else "other"
        outcome, began = Outcome(), time.perf_counter()
        try:
            yield outcome
        finally:
            self._answers.labels(known, str(outcome.status)).inc()
            self._seconds.labels(known).observe(time.perf_counter() - began)
