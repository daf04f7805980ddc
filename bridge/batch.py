"""One batch of a lane group: what is committed together, then published together, then acknowledged together."""

import enum
from collections.abc import Iterable

from msgspec import Struct

from bridge.decision import Decision
from bridge.slots import Slot
from stores.ports.deadletters import DeadLetter
from stores.ports.entries import Conversation, MarkMove, Member, Row
from tidings.protocol.ids import ConvId, UserId
from tidings.protocol.link import Handle, Outbound


class Bounds(Struct, frozen=True):
    """What a lane group holds at most. Sizes in bytes, times in ms."""

    batch_rows: int = 500
    batch_bytes: int = 4 * 1024 * 1024
    batch_outgoing: int = 20_000
    batch_handles: int = 2_000
    waiting: int = 20_000
    loads: int = 64
    conversations: int = 4_000
    messages_a_minute: int | None = 100
    dead_letters_a_minute: int = 60
    questions: int = 256


class Phase(enum.Enum):
    """Where a batch stands. Each step follows only after the one before is known to be done."""

    FILLING = "filling"
    RECOVERING = "recovering"
    """After a take-over: the predecessor's entries wait for their conversations' members."""
    COMMITTING = "committing"
    KEEPING = "keeping"
    PUBLISHING = "publishing"


class Batch:
    """See `Phase`. Filled by the lane group, then passed through the phases; nothing is ever taken out of it."""

    def __init__(self) -> None:
        self.phase = Phase.FILLING
        self.n = 0
        self.rows: list[Row] = []
        self.members: dict[tuple[ConvId, UserId], Member] = {}
        self.marks: list[MarkMove] = []
        self.touched: dict[ConvId, Slot] = {}
        self.outgoing: list[Outbound] = []
        self.letters: list[DeadLetter] = []
        self.handles: list[Handle] = []
        self.size = 0
        self.since = 0

    def take(self, slot: Slot, decision: Decision) -> None:
        """Take a decision in; the slot is pinned until the batch is done."""
        if slot.conv not in self.touched:
            self.touched[slot.conv] = slot
            slot.pins += 1
        self.rows.extend(decision.rows)
        self.marks.extend(decision.marks)
        for member in decision.members:
            self.members[member.conv, member.user] = member
        self.size += sum(len(row.payload) for row in decision.rows)

    def send(self, messages: Iterable[Outbound]) -> None:
        """Take messages in that are published after the commit."""
        self.outgoing.extend(messages)

    def headers(self) -> tuple[Conversation, ...]:
        """Tell the touched conversations' headers as they stand now: asked when the batch is sealed."""
        return tuple(slot.state.header() for slot in self.touched.values() if slot.state is not None)

    def unpin(self) -> None:
        """Let the slots go: the batch is done."""
        for slot in self.touched.values():
            slot.pins -= 1
        self.touched.clear()

    def is_full(self, bounds: Bounds) -> bool:
        """Whether nothing more may be decided into it."""
        return (
            len(self.rows) + len(self.marks) >= bounds.batch_rows
            or self.size >= bounds.batch_bytes
            or len(self.outgoing) >= bounds.batch_outgoing
            or len(self.handles) >= bounds.batch_handles
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do with it at all."""
        return not (self.rows or self.marks or self.outgoing or self.letters or self.handles)

    @property
    def commits(self) -> bool:
        """Whether it needs a journal entry."""
        return bool(self.rows or self.marks or self.members)
