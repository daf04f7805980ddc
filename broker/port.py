"""One port for every broker: start, health, kick, limits. The conformance suites take a factory of it."""

from typing import Protocol

from msgspec import Struct


class Endpoints(Struct, frozen=True):
    """Where a started broker listens; 0 where it does not."""

    host: str
    mqtt: int
    websocket: int = 0
    tls: int = 0
    path: str = "/mqtt"


class Limits(Struct, frozen=True):
    """A broker's limits. Sizes in bytes, times in seconds, rates a second and connection.

    `connect_bytes` is for CONNECT alone, for strangers send it: a token, a will and some. `queue_…` are one session's,
    `all_queues_bytes` all sessions' together. Topics and filters longer or deeper than `topic_…` are refused.
    """

    packet_bytes: int = 256 * 1024
    connect_bytes: int = 32 * 1024
    connections: int = 10_000
    connect_timeout: float = 5.0
    inflight: int = 64
    queue_messages: int = 10_000
    queue_bytes: int = 16 * 1024 * 1024
    all_queues_bytes: int = 1024 * 1024 * 1024
    retained_messages: int = 100_000
    retained_bytes: int = 64 * 1024 * 1024
    topic_chars: int = 1_024
    topic_levels: int = 32
    publish_rate: float = 200.0
    publish_burst: int = 1_000
    subscriptions: int = 100
    will_bytes: int = 16 * 1024
    write_buffer_bytes: int = 1024 * 1024
    session_expiry: int = 30 * 86_400


class Health(Struct, frozen=True):
    """A broker's state: `reasons` say why it is not ready. Drops are counted since the start."""

    ready: bool
    reasons: tuple[str, ...] = ()
    connections: int = 0
    sessions: int = 0
    queued: int = 0
    dropped: int = 0
    queued_bytes: int = 0
    retained: int = 0


class Broker(Protocol):
    """A broker as the rest of Tidings sees it."""

    async def start(self) -> Endpoints:
        """Start listening; devices are admitted only after `admit`. Raises `OSError` when a port is taken."""
        ...

    def admit(self) -> None:
        """Let devices in: every bridge session exists now."""
        ...

    async def kick(self, client_id: str, *, forget: bool = False) -> None:
        """Disconnect a client; with `forget` delete its session and queue as well (a revoked device)."""
        ...

    def health(self) -> Health:
        """Tell the state now."""
        ...

    async def stop(self) -> None:
        """Stop cleanly: nothing acknowledged is lost. Idempotent."""
        ...
