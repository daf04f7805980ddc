"""One conversation in its owner's memory: what deciding needs to know, and how decided entries change it.

Rules
- Only the owner of the conversation's lane group has one; it is changed by `apply` alone, and only by what is on its
  way into the journal. It may run ahead of the store by the batch in flight: an owner commits that or gives up.
- A conversation that does not exist is a state with head 0.
- Bounded: the tail by count and bytes, the ids by count. What was dropped is known to be incomplete
  (`ids_whole`, `known_from`), so that a miss is looked up instead of believed.
"""

from collections import deque
from typing import Final, NamedTuple

from bridge.decision import Decision
from stores.ports.entries import Conversation, MarkMove, Member, Row, Snapshot
from tidings.protocol import ids, limits
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId

TAIL_ROWS: Final = 100
TAIL_BYTES: Final = 128 * 1024
IDS_MOST: Final = 10_000
HIDDEN_MOST: Final = 1_000
KEPT_MS: Final = limits.ID_KEPT_SECONDS * 1000

Key = tuple[UserId, DeviceId, MessageId]
"""An idempotency key within one conversation."""


class Known(NamedTuple):
    """What is remembered of a key: its number, the digest of what was said, when (ms)."""

    seq: int
    digest: bytes
    at: int


class State:
    """See the module's rules. Attributes are read by deciders and changed by `apply` alone."""

    __slots__ = (
        "_tail_bytes",
        "active",
        "conv",
        "created_at",
        "created_by",
        "description",
        "head",
        "hidden",
        "history",
        "ids",
        "ids_whole",
        "known_from",
        "last_at",
        "marks",
        "members",
        "name",
        "receipts",
        "tail",
    )

    def __init__(self, conv: ConvId) -> None:
        self.conv = conv
        self.head = 0
        self.receipts = 0
        self.name = ""
        self.description = ""
        self.history = True
        self.created_at = 0
        self.created_by = UserId("")
        self.last_at = 0
        self.members: dict[UserId, Member] = {}
        self.active: tuple[UserId, ...] = ()
        self.marks: dict[tuple[UserId, str], int] = {}
        self.tail: deque[Row] = deque()
        self._tail_bytes = 0
        self.ids: dict[Key, Known] = {}
        self.ids_whole = True
        self.hidden: dict[UserId, list[int]] = {}
        self.known_from = 1
        """From this seq on, `hidden` is complete."""

    @classmethod
    def load(cls, conv: ConvId, snapshot: Snapshot | None) -> "State":
        """Build the state of a loaded conversation; None is one that does not exist."""
        state = cls(conv)
        if snapshot is None:
            return state
        header = snapshot.conversation
        state.head, state.receipts = header.head, header.receipts
        state.name, state.description, state.history = header.name, header.description, header.history
        state.created_at, state.created_by = header.created_at, header.created_by
        state.last_at = header.created_at
        state.marks = dict(snapshot.marks)
        state._join(snapshot.members)
        state.known_from = snapshot.tail[0].seq if snapshot.tail else header.head + 1
        for row in snapshot.tail:
            state._append(row)
        for record in sorted(snapshot.ids, key=lambda known: known.at):
            key = record.key
            state.ids[key.user, key.device, key.id] = Known(record.seq, record.digest, record.at)
        state.ids_whole = snapshot.ids_whole
        return state

    def apply(self, decision: Decision) -> None:
        """Take a decision in. The caller has put it into the batch that will commit it."""
        if decision.settings is not None:
            settings = decision.settings
            self.name, self.description, self.history = settings.name, settings.description, settings.history
        if decision.members:
            self._join(decision.members)
        for row in decision.rows:
            if not self.head:
                self.created_at, self.created_by = row.at, row.sender
            self.head = row.seq
            self._append(row)
            self._remember(row)
        for move in decision.marks:
            self.mark(move)

    def header(self) -> Conversation:
        """Tell the conversation's header as it stands."""
        return Conversation(
            conv=self.conv,
            kind=ids.kind_of(self.conv),
            head=self.head,
            receipts=self.receipts,
            name=self.name,
            description=self.description,
            history=self.history,
            created_at=self.created_at,
            created_by=self.created_by,
        )

    def mark(self, move: MarkMove) -> None:
        """Take a watermark's move in."""
        self.marks[move.user, move.kind] = move.to
        self.receipts = move.version

    def row(self, seq: int) -> Row | None:
        """Find a row in the tail."""
        if not self.tail or not self.tail[0].seq <= seq <= self.head:
            return None
        return self.tail[seq - self.tail[0].seq]

    def _join(self, members: tuple[Member, ...]) -> None:
        self.members.update((member.user, member) for member in members)
        self.active = tuple(user for user, member in self.members.items() if member.active)

    def _append(self, row: Row) -> None:
        self.last_at = max(self.last_at, row.at)
        self.tail.append(row)
        self._tail_bytes += len(row.payload)
        for user in row.hidden_for:
            self._hide(user, row.seq)
        while len(self.tail) > TAIL_ROWS or (self._tail_bytes > TAIL_BYTES and len(self.tail) > 1):
            dropped = self.tail.popleft()
            self._tail_bytes -= len(dropped.payload)

    def _hide(self, user: UserId, seq: int) -> None:
        seqs = self.hidden.setdefault(user, [])
        seqs.append(seq)
        if len(seqs) > HIDDEN_MOST:
            self.known_from = max(self.known_from, seqs.pop(0) + 1)

    def _remember(self, row: Row) -> None:
        # In order of time, so the oldest come first: what is past its time, or one too many, is dropped there.
        key = (row.sender, row.device, row.id)
        self.ids.pop(key, None)  # one that is used again after its time
        self.ids[key] = Known(row.seq, row.digest, row.at)
        oldest = next(iter(self.ids))
        if row.at - self.ids[oldest].at > KEPT_MS:
            del self.ids[oldest]
        elif len(self.ids) > IDS_MOST:
            del self.ids[oldest]
            self.ids_whole = False
