"""A server process' link to a broker: many messages in, many out, acknowledgements by handle.

It stands here because bridge, services and broker share it and may not import one another.

Rules
- A handle names its packet *and its connection*; acknowledging through a handle of a closed connection does nothing.
- `publish` resolves when the broker has answered all of it (any PUBACK ends the wait, whatever its code), or raises
  `LinkLost`.
- The link is bounded by both sides' receive maximum. What is not acknowledged comes again after a reconnect.
- Implementations: `bridge/links/mqtt.py` (a socket to any broker), the embedded broker's in-process link.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol


class Handle(NamedTuple):
    """Names one inbound message for its acknowledgement: the connection's number and the packet id (0 for QoS 0)."""

    connection: int
    packet: int


class Inbound(NamedTuple):
    """One message from the broker. `expiry` and other properties do not matter to a bridge."""

    topic: str
    payload: bytes
    qos: int
    handle: Handle


class Outbound(NamedTuple):
    """One message to publish. QoS 0 or 1."""

    topic: str
    payload: bytes
    qos: int = 1


Receive = Callable[[Sequence[Inbound]], None]
Lost = Callable[[], None]


class Link(Protocol):
    """One session of a bridge or service with the broker, under a fixed client id."""

    async def connect(self, filters: Sequence[str], receive: Receive, lost: Lost) -> None:
        """Connect (cutting any predecessor of the same client id), subscribe, and hand over what comes. Raises
        `LinkLost`."""
        ...

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Publish all, in order, and wait until the broker has answered all of them. Raises `LinkLost`."""
        ...

    def ack(self, handles: Iterable[Handle]) -> None:
        """Acknowledge; never waits. Handles of closed connections are dropped."""
        ...

    async def close(self) -> None:
        """Disconnect; the session stays. Idempotent."""
        ...
