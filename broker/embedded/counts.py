"""What the core counts; `broker.metrics` shows it."""

from msgspec import Struct


class Counts(Struct):
    """Counters since the start. `dropped` are QoS 1 and 2 messages that a full queue did not take, `dropped_plain` QoS
    0 messages that a slow or absent receiver did not get; `refused` publishes that the gate forbade; `closed`
    connections that the broker ended, saying why."""

    connects: int = 0
    refused_connects: int = 0
    disconnects: int = 0
    received: int = 0
    sent: int = 0
    dropped: int = 0
    dropped_plain: int = 0
    oversized: int = 0
    expired: int = 0
    refused: int = 0
    unrouted: int = 0
    closed: int = 0
    persisted: int = 0
