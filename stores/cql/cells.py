"""What the write path needs of a store of cells: requests as narrow as CQL gives them.

Rules
- Each call is one request to one partition and atomic there; nothing spans two. The partition stands in its docstring.
- A value is a set of cells with a write `timestamp` that the caller fixes. The highest timestamp wins, whatever arrives
  last; the same bytes with the same timestamp change nothing, so every write may be repeated, and may land late.
- Writes raise `StoreUnavailable` (surely not done, and never will be) or `OutcomeUnknown` (done, or done later, or
  never). Reads raise `StoreUnavailable`. What a call acknowledged, every later read sees (QUORUM).
- Only journals have lightweight transactions (an append; the seal of what is forgotten), and serial reads.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from stores.ports.entries import Conversation, Epoch, IdKey, IdRecord, JournalEntry, MarkMove, Member, Row
from tidings.protocol.ids import ConvId, Group, UserId


class EpochRow(NamedTuple):
    """A row as its owner wrote it, committed or not. Its key is `((conv, bucket), seq, epoch)`."""

    epoch: Epoch
    row: Row


class RowCells(Protocol):
    """The rows of the logs: `PRIMARY KEY ((conv, bucket), seq, epoch)`."""

    async def put_rows(self, bucket: int, rows: Sequence[EpochRow], timestamp: int) -> None:
        """Write rows of one conversation and bucket, all or none (an unlogged batch)."""
        ...

    async def rows(self, conv: ConvId, bucket: int, low: int, high: int) -> list[EpochRow]:
        """Read every epoch's rows of `low … high` in one bucket, ascending by seq, then epoch."""
        ...


class JournalCells(Protocol):
    """The journals: `PRIMARY KEY (group, n)`, in partitions by ranges of `n`."""

    async def append_journal(self, entry: JournalEntry) -> JournalEntry:
        """`INSERT … IF NOT EXISTS` at `(group, n)`; tells the entry that stands there, this one or another."""
        ...

    async def journal(self, group: Group, after: int, limit: int) -> list[JournalEntry]:
        """Read entries with `n > after`, ascending, at serial consistency."""
        ...

    async def put_published(self, group: Group, n: int) -> None:
        """Note that every entry up to `n` is finished and published. Partition: the group. Timestamp: `n`."""
        ...

    async def published(self, group: Group) -> int:
        """Read that note; it may be behind. 0: none."""
        ...

    async def forget_journal(self, group: Group, below: int) -> int:
        """Forget entries with `n < below`, by whole partitions: perhaps fewer; tells how many. Only what is noted as
        published may be asked for. An append to a place that is forgotten finds another entry there, for ever."""
        ...


class IndexCells(Protocol):
    """What is found by key: idempotency keys, users' conversation lists."""

    async def put_ids(self, records: Sequence[IdRecord], timestamp: int) -> None:
        """Write records of the id index, each key once. Partition: conversation, user and device, which all share."""
        ...

    async def id(self, key: IdKey) -> IdRecord | None:
        """Read one record of the id index."""
        ...

    async def put_listed(self, user: UserId, conv: ConvId, timestamp: int) -> None:
        """Put a conversation on a user's list. Partition: the user."""
        ...

    async def listed(self, user: UserId, after: str, limit: int) -> list[ConvId]:
        """Read a user's list above `after`, ascending."""
        ...


class StateCells(Protocol):
    """What stands beside a log. Partition: the conversation."""

    async def put_members(self, members: Sequence[Member], timestamp: int) -> None:
        """Write members of one conversation."""
        ...

    async def members(self, conv: ConvId) -> list[Member]:
        """Read all members, present and past, ascending by user."""
        ...

    async def put_marks(self, moves: Sequence[MarkMove], timestamp: int) -> None:
        """Write moves of one conversation by `version`, and the marks where they arrive. A mark's cell has *the mark
        itself* as its timestamp: it can never fall."""
        ...

    async def marks(self, conv: ConvId) -> dict[tuple[UserId, str], int]:
        """Read where the marks stand: `{(user, kind): seq}`."""
        ...

    async def moves(self, conv: ConvId) -> list[MarkMove]:
        """Read all moves, ascending by version."""
        ...

    async def put_head(self, header: Conversation, timestamp: int) -> None:
        """Write a header, whose cell `head` has *the head itself* as its timestamp: it can never fall."""
        ...

    async def head(self, conv: ConvId) -> Conversation | None:
        """Read a header. None: the conversation does not exist."""
        ...


class CellStore(RowCells, JournalCells, IndexCells, StateCells, Protocol):
    """All of it: what a driver provides."""
