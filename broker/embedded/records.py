"""What of the broker outlives its process, as values: records, and the operations that change them.

Rules
- A batch of operations is written whole or not at all, in its order.
- A row is one message for one session; its number grows, so that numbers order a queue.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from broker.embedded.messages import Delivery, Properties
from broker.embedded.sessions import Subscription


class SessionRecord(Struct, frozen=True, omit_defaults=True):
    """A session without its queue. `expires_at` in ms, None while connected or for ever; `received` as in `Session`."""

    client_id: str
    expiry: int
    custodian: bool = False
    expires_at: int | None = None
    subscriptions: tuple[Subscription, ...] = ()
    received: tuple[int, ...] = ()
    dropped: bool = False


class MessageRecord(Struct, frozen=True, omit_defaults=True):
    """A message."""

    topic: str
    payload: bytes
    qos: int = 0
    expires_at: int = 0
    properties: Properties | None = None


class RowRecord(Struct, frozen=True):
    """A queued message. `packet_id` is kept for QoS 2 in flight, else 0; `released`: its PUBREC has come."""

    row: int
    client_id: str
    message: MessageRecord
    way: Delivery
    packet_id: int = 0
    released: bool = False


class SaveSession(Struct, frozen=True):
    """Write a session in place of what there was."""

    session: SessionRecord


class ForgetSession(Struct, frozen=True):
    """Delete a session. Its rows are dropped one by one."""

    client_id: str


class PutRow(Struct, frozen=True):
    """Add a row."""

    record: RowRecord


class MoveRow(Struct, frozen=True):
    """Note how far a QoS 2 message has come."""

    row: int
    packet_id: int
    released: bool


class DropRow(Struct, frozen=True):
    """Delete a row."""

    row: int


class Retain(Struct, frozen=True):
    """Keep a topic's retained message, or delete it (None)."""

    topic: str
    message: MessageRecord | None


Operation = SaveSession | ForgetSession | PutRow | MoveRow | DropRow | Retain


class Saved(Struct, frozen=True):
    """All that a store holds; rows by their number."""

    sessions: tuple[SessionRecord, ...] = ()
    rows: tuple[RowRecord, ...] = ()
    retained: tuple[MessageRecord, ...] = ()


class SessionStore(Protocol):
    """Keeps records over the broker's end. One batch is under way at a time."""

    def load(self) -> Saved:
        """Open, and read everything. Raises `StoreUnavailable`."""
        ...

    def append(self, operations: Sequence[Operation], done: Callable[[Exception | None], None]) -> None:
        """Write a batch, and call `done` in the loop's thread when it is durable, or with what went wrong; then nothing
        of it was written, and the same batch comes again."""
        ...

    def close(self) -> None:
        """Finish and close. Idempotent."""
        ...
