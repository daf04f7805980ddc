"""What the write path writes: rows, membership windows, watermark moves, and the journal entry that commits them.

Rules
- A `JournalEntry` is one batch of one lane group. Appending it as `(group, n)` *if absent* is the commit (promise 3):
  rows without their journal entry do not exist. It carries everything a successor needs to finish it.
- Everything in it is a value, fixed before the first attempt: a retry writes the same bytes.
- Times are milliseconds since 1970 UTC, the owner's clock.
"""

from typing import NewType

from msgspec import Struct

from tidings.protocol.ids import ConvId, DeviceId, Group, MessageId, UserId

Epoch = NewType("Epoch", int)
"""The owner's fence: the `n` of its fence entry in the group's journal."""


class Row(Struct, frozen=True, array_like=True):
    """One numbered entry of a conversation's log. `payload` is the canonical `Message` as JSON, the bytes that are
    published;
    `digest` is of what the sender said (16 bytes), to tell a repeat from a reused id; `hidden_for` see a tombstone."""

    conv: ConvId
    seq: int
    id: MessageId
    sender: UserId
    device: DeviceId
    at: int
    kind: str
    payload: bytes
    digest: bytes
    hidden_for: tuple[UserId, ...] = ()


class Window(Struct, frozen=True, array_like=True):
    """Which seqs a member may see: `first … last`, `last` 0 while open."""

    first: int
    last: int = 0


class Member(Struct, frozen=True, array_like=True):
    """A member of a conversation, present or past, as it stands after this entry. Windows in rising order, disjoint."""

    conv: ConvId
    user: UserId
    role: str  # "member" | "admin"
    windows: tuple[Window, ...]

    @property
    def active(self) -> bool:
        """Whether the user is a member now: the last window is open."""
        return bool(self.windows) and self.windows[-1].last == 0

    def sees(self, seq: int) -> bool:
        """Whether entry `seq` lies in one of the member's windows."""
        return any(window.first <= seq and (seq <= window.last or not window.last) for window in self.windows)


class MarkMove(Struct, frozen=True, array_like=True):
    """A member's watermark went from `from_` to `to` at `at`; `version` counts the conversation's moves from 1.
    `shown` is false when the reader hides read receipts: kept for unread counts, and
    told to the reader's own devices alone."""

    conv: ConvId
    user: UserId
    kind: str  # "delivered" | "read"
    from_: int
    to: int
    at: int
    version: int
    shown: bool = True


class Conversation(Struct, frozen=True, array_like=True):
    """A conversation's header as it stands after this entry. `receipts` is its receipt version."""

    conv: ConvId
    kind: str  # "d" | "g" | "s"
    head: int
    receipts: int
    first: int = 1
    name: str = ""
    description: str = ""
    history: bool = True
    created_at: int = 0
    created_by: UserId = UserId("")


class JournalEntry(Struct, frozen=True, array_like=True):
    """One commit of a lane group. A fence has no content: it only opens an epoch (its own `n`).

    `published` is the journal position up to which everything is known to have been published, told with each entry.
    """

    group: Group
    n: int
    epoch: Epoch
    at: int
    fence: bool = False
    owner: str = ""
    rows: tuple[Row, ...] = ()
    members: tuple[Member, ...] = ()
    marks: tuple[MarkMove, ...] = ()
    conversations: tuple[Conversation, ...] = ()
    published: int = 0


class IdKey(Struct, frozen=True, array_like=True):
    """The idempotency key of a message."""

    conv: ConvId
    user: UserId
    device: DeviceId
    id: MessageId


class IdRecord(Struct, frozen=True, array_like=True):
    """What the id index tells of a key: its number, the digest of what was said, and when (ms)."""

    key: IdKey
    seq: int
    digest: bytes
    at: int


class Snapshot(Struct, frozen=True):
    """All that an owner needs to serve a conversation: header, every member with windows, marks
    (`{(user, kind): seq}`), the last rows (at most 100, oldest first), and the ids of the last 7 days;
    `ids_whole` is false when there were more ids than asked for, so a miss must be looked up."""

    conversation: Conversation
    members: tuple[Member, ...]
    marks: dict[tuple[UserId, str], int]
    tail: tuple[Row, ...]
    ids: tuple[IdRecord, ...]
    ids_whole: bool


class Opened(Struct, frozen=True):
    """The result of fencing a lane group: the new epoch (the fence's `n`), the next free `n`, and the committed entries
    above the published position, oldest first, for the new owner to publish again."""

    epoch: Epoch
    next_n: int
    unpublished: tuple[JournalEntry, ...]
