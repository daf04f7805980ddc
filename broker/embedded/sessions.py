"""What the broker keeps of a client: its subscriptions, its queue, what is in flight, what it has half sent.

Rules
- `NEXT` is the life of an outgoing message: its state and the answer that came give the next state. An answer that is
  not in the table changes nothing.
- A message in flight has a packet id and keeps it until the end, over reconnects too; `again` are those in flight that
  this connection has not seen yet. They go first, in their old order, with DUP.
- A queue is bounded by count and bytes, in flight included. Whoever adds asks `has_room` first.
- Sessions do not write, and know no clock.
"""

import enum
from collections import deque
from typing import Final, Protocol

from mqtt5 import PubAckPacket, PubCompPacket, PubRecPacket
from msgspec import Struct

from broker.embedded.messages import Delivery, Message
from broker.embedded.tickets import Answer, Ticket

NEVER: Final = 0xFFFF_FFFF
"""The expiry interval of a session that is kept for good."""
_IDS: Final = 0xFFFF


class Outgoing(enum.Enum):
    """States of a message that goes to a client."""

    SENT = enum.auto()
    RELEASED = enum.auto()
    DONE = enum.auto()


NEXT: Final[dict[tuple[Outgoing, int, type], Outgoing]] = {
    (Outgoing.SENT, 1, PubAckPacket): Outgoing.DONE,
    (Outgoing.SENT, 2, PubRecPacket): Outgoing.RELEASED,
    (Outgoing.RELEASED, 2, PubRecPacket): Outgoing.RELEASED,
    (Outgoing.RELEASED, 2, PubCompPacket): Outgoing.DONE,
}
"""State, QoS and the client's answer, to the next state. A PUBREC that reports an error ends it as well [4.3.3]."""


class Subscription(Struct, frozen=True):
    """One subscription. `share` is the group's name of a shared one."""

    filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    id: int = 0
    share: str = ""


class Queued:
    """A message on its way to one client. `row` is its number in the store, 0 where it is not kept there; `ticket`
    waits for it, `None` when nobody does."""

    __slots__ = ("message", "packet_id", "row", "size", "state", "ticket", "way")

    def __init__(self, message: Message, way: Delivery, row: int = 0, ticket: Ticket | None = None) -> None:
        self.message = message
        self.way = way
        self.row = row
        self.ticket = ticket
        self.packet_id = 0
        self.size = message.size
        self.state = Outgoing.SENT

    def settle(self) -> None:
        """Stop anybody's waiting for it. Idempotent."""
        ticket, self.ticket = self.ticket, None
        if ticket is not None:
            ticket.release()


class Outlet(Protocol):
    """Where a session's messages go out while somebody is connected: a `Connection`, or a `Local` link."""

    number: int
    window: int

    @property
    def is_ready(self) -> bool:
        """Tell whether it takes more now."""
        ...

    def send(self, queued: Queued, now: int, *, again: bool) -> bool:
        """Send a message with its packet id; False if it is longer than the client takes."""
        ...

    def send_plain(self, message: Message, way: Delivery, now: int) -> bool:
        """Send a QoS 0 message, or drop it (False) while it is not ready."""
        ...

    def release(self, packet_id: int) -> None:
        """Send PUBREL."""
        ...


class Session:
    """A client's session. `expiry` in seconds after its connection's end; `expires_at` in ms while it has none.

    `received` are the QoS 2 publishes of which the client has not sent PUBREL, by packet id; `dropped` says that
    something for it was dropped, and it has not been told; `outlet` is its connection.
    """

    __slots__ = (
        "again",
        "client_id",
        "custodian",
        "dropped",
        "expires_at",
        "expiry",
        "inflight",
        "last_id",
        "outlet",
        "queue",
        "queued_bytes",
        "received",
        "subscriptions",
    )

    def __init__(self, client_id: str, *, custodian: bool = False, expiry: int = 0) -> None:
        self.client_id = client_id
        self.custodian = custodian
        self.expiry = expiry
        self.expires_at: int | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.queue: deque[Queued] = deque()
        self.again: deque[Queued] = deque()
        self.inflight: dict[int, Queued] = {}
        self.received: dict[int, Answer] = {}
        self.outlet: Outlet | None = None
        self.queued_bytes = 0
        self.last_id = 0
        self.dropped = False

    @property
    def is_kept(self) -> bool:
        """Tell whether it outlives its connection."""
        return self.expiry > 0

    @property
    def count(self) -> int:
        """Messages in the queue and in flight."""
        return len(self.queue) + len(self.inflight)

    @property
    def outstanding(self) -> int:
        """Messages that this connection was sent and has not answered: what counts against its receive maximum."""
        return len(self.inflight) - len(self.again)

    def has_room(self, size: int, messages: int, total: int) -> bool:
        """Tell whether a message of this size fits under these limits. An empty queue takes any message."""
        count = len(self.queue) + len(self.inflight)
        return count < messages and (self.queued_bytes + size <= total or not count)

    def add(self, queued: Queued) -> None:
        """Put a message at the queue's end."""
        self.queued_bytes += queued.size
        self.queue.append(queued)

    def next_in_line(self) -> tuple[Queued, bool] | None:
        """Take what goes out next, and whether it goes again. It has a packet id then."""
        if self.again:
            return self.again.popleft(), True
        if not self.queue:
            return None
        queued = self.queue.popleft()
        queued.packet_id = self._free_id()
        self.inflight[queued.packet_id] = queued
        return queued, False

    def answered(self, packet_id: int, answer: type, *, failed: bool = False) -> Queued | None:
        """Apply a client's answer. Gives the message, in its new state (taken out if that is `DONE`), or None for an
        answer that nothing waits for."""
        queued = self.inflight.get(packet_id)
        if queued is None:
            return None
        state = NEXT.get((queued.state, queued.way.qos, answer))
        if state is None:
            return None
        queued.state = Outgoing.DONE if failed and state is Outgoing.RELEASED else state
        if queued.state is Outgoing.DONE:
            self.remove(queued)
        return queued

    def remove(self, queued: Queued) -> None:
        """Take a message in flight out."""
        del self.inflight[queued.packet_id]
        self.queued_bytes -= queued.size
        if self.again and queued in self.again:
            self.again.remove(queued)

    def begin_again(self) -> None:
        """A new connection begins: all that was in flight goes out again."""
        self.again = deque(self.inflight.values())

    def everything(self) -> list[Queued]:
        """List all messages, the oldest first."""
        return [*self.inflight.values(), *self.queue]

    def _free_id(self) -> int:
        number = self.last_id
        while True:
            number = number % _IDS + 1
            if number not in self.inflight:
                self.last_id = number
                return number
