"""What a session wants done: a closed sum, matched by the shell with `assert_never`.

Rules: effects are carried out in order; a `Publish` that fails needs no answer, the session sends again by itself.
"""

import enum

from msgspec import Struct

from tidings.protocol.ids import ConvId, MessageId, UserId
from tidings.protocol.payloads import ErrorNotice, Message, PresenceNotice, Typing


class State(enum.StrEnum):
    """Where one of this device's own messages is. The order of the members is the order of progress."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


class Subscribe(Struct, frozen=True):
    """Subscribe these filters, QoS 1: after every CONNECT, since a cut may have come before the last SUBACK."""

    filters: tuple[str, ...]


class Publish(Struct, frozen=True):
    """Publish this. No need to wait for the PUBACK."""

    topic: str
    payload: bytes
    qos: int = 1


class Deliver(Struct, frozen=True):
    """The next entry of its conversation's log, in order and without a gap since the one before."""

    entry: Message


class Status(Struct, frozen=True):
    """An own message moved on. `seq` is known from `sent` on; `error` says why it failed, or waits."""

    conv: ConvId
    id: MessageId
    state: State
    seq: int = 0
    error: ErrorNotice | None = None


class Moved(Struct, frozen=True):
    """A member's watermark moved: `user` has `kind` (`delivered`, `read`) everything up to `to`. This user's own move
    as well, whichever of the devices did it: what was read on one is read on all."""

    conv: ConvId
    user: UserId
    kind: str
    to: int


class Notice(Struct, frozen=True):
    """Something that is no entry of a log: typing, presence, an event without a number, a refusal of a request."""

    about: Typing | PresenceNotice | Message | ErrorNotice


Effect = Subscribe | Publish | Deliver | Status | Moved | Notice
