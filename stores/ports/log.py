"""The message log's two ports: the owner's (write path) and everybody's (committed reads).

Rules
- `LogWriter` is used by the group's owner alone. Nothing it returns may be told to anyone before the commit is known.
- `LogReader` never shows what is not committed, nor anything above a conversation's stored head.
- Errors: `StoreUnavailable` (surely nothing was done), `OutcomeUnknown` (only the same bytes again can tell). Adapters
  translate every driver error to one of these two.
"""

import enum
from typing import Protocol

from msgspec import Struct

from stores.ports.entries import IdKey, IdRecord, JournalEntry, MarkMove, Member, Opened, Row, Snapshot
from tidings.protocol.ids import ConvId, Group, UserId


class Outcome(enum.Enum):
    """What became of a journal append."""

    COMMITTED = "committed"
    """The entry stands at its `n`, by this attempt or an earlier one of the same bytes."""
    FENCED = "fenced"
    """Another entry stands at its `n`: this owner has a successor and must give the group up."""


class LogWriter(Protocol):
    """The write path of a lane group."""

    async def open(self, group: Group, owner: str, now: int) -> Opened:
        """Append a fence, so that no earlier owner can commit any more; finish (make readable) every committed entry
        that a predecessor left unfinished; and tell what was perhaps not published."""
        ...

    async def commit(self, entry: JournalEntry) -> Outcome:
        """Write rows, append the journal entry if absent, then everything derived (ids, members, marks, lists, head).
        May be called again with the same entry after any error. Returns COMMITTED only when all of it is durable
        and readable."""
        ...

    async def load(self, conv: ConvId, *, ids_since: int, ids_most: int = 10_000) -> Snapshot | None:
        """Load a conversation for its owner; ids with `at >= ids_since` (ms). None: it does not exist."""
        ...

    async def find_id(self, key: IdKey) -> IdRecord | None:
        """Look one idempotency key up in the index."""
        ...


class HeadOf(Struct, frozen=True):
    """One conversation of a user's list: what the user may see of it (`first … head`), and the receipt version."""

    conv: ConvId
    first: int
    head: int
    receipts: int


class LogReader(Protocol):
    """Committed reads, for history, sync, heads and lists; from any process."""

    async def rows(self, conv: ConvId, low: int, high: int) -> list[Row]:
        """Read rows `low … high` (both included, cut at the stored head), ascending by seq."""
        ...

    async def header(self, conv: ConvId) -> Snapshot | None:
        """Read header, members and marks of a conversation (no tail, no ids)."""
        ...

    async def heads(self, user: UserId, after: str, limit: int) -> list[HeadOf]:
        """List the conversations that the user is or was a member of, ascending by id, those above `after`."""
        ...

    async def moves(self, conv: ConvId, seq: int) -> list[MarkMove]:
        """List the watermark moves that covered entry `seq` (`from_ < seq <= to`), oldest first."""
        ...

    async def members(self, conv: ConvId) -> list[Member]:
        """List all members, present and past."""
        ...


class Journal(Protocol):
    """Reading journals, for workers and for operators."""

    async def read(self, group: Group, after: int, limit: int) -> list[JournalEntry]:
        """Read committed entries with `n > after`, in order."""
        ...
