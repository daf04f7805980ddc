"""What there is in the model of the write path: a store, requests on their way to it, owners, and what was told.

Rules
- One conversation of one lane group. Messages are letters; an owner is named by its epoch, 1, 2, 3 …
- A crash is an owner that never steps again, a pause one that steps later: both are there without being said.
- A request once sent lands at any later time, or never: so time-outs, partial batches and late writes are there too.
- All is immutable and hashable: a state is the key of the search.
"""

import enum
from typing import NamedTuple


class Numbered(NamedTuple):
    """A message with the number that an owner gave it."""

    seq: int
    id: str


Batch = tuple[Numbered, ...]


class Row(NamedTuple):
    """A row of the log. Its key is `(seq, epoch)`."""

    seq: int
    epoch: int
    id: str


class Entry(NamedTuple):
    """A journal entry: a fence when its batch is empty."""

    epoch: int
    batch: Batch


# Requests. `owner` and `wave` say who waits for it to land.


class PutRows(NamedTuple):
    """Write rows of one partition, all or none."""

    owner: int
    wave: int
    rows: tuple[Row, ...]


class Append(NamedTuple):
    """Append to the journal at `n`, if nothing stands there."""

    owner: int
    wave: int
    n: int
    entry: Entry


class PutId(NamedTuple):
    """Write the id index."""

    owner: int
    wave: int
    message: Numbered


class PutHead(NamedTuple):
    """Write the head. Its timestamp is itself, so it never falls."""

    owner: int
    wave: int
    seq: int


Request = PutRows | Append | PutId | PutHead


class Phase(enum.IntEnum):
    """What an owner waits for. In the order of the path."""

    NEW = 0  # has not taken the group
    FENCED = 1  # has appended its fence, must load
    IDLE = 2  # serves
    ROWS = 3  # its rows are on their way
    APPEND = 4  # its journal entry is on its way: the commit
    DERIVED = 5  # the id index is on its way
    HEAD = 6  # the head is on its way


class Owner(NamedTuple):
    """An owner: the next free `n` of the journal, the head and the ids it knows, and the batch in hand."""

    phase: Phase = Phase.NEW
    n: int = 0
    head: int = 0
    known: frozenset[Numbered] = frozenset()
    batch: Batch = ()
    wave: int = 0


class State(NamedTuple):
    """Everything. `seen` is what any reader was ever shown or sent, `acked` what any sender was told."""

    journal: tuple[Entry, ...] = ()
    rows: frozenset[Row] = frozenset()
    ids: frozenset[Numbered] = frozenset()
    head: int = 0
    sent: frozenset[Request] = frozenset()
    owners: tuple[Owner, ...] = ()
    seen: frozenset[Numbered] = frozenset()
    acked: frozenset[Numbered] = frozenset()

    def with_owner(self, epoch: int, owner: Owner, *requests: Request) -> "State":
        """Tell the state after an owner's step and what it sends."""
        owners = (*self.owners[: epoch - 1], owner, *self.owners[epoch:])
        return self._replace(owners=owners, sent=self.sent.union(requests))


def shown(state: State) -> dict[int, str]:
    """Tell the log as readers see it: not above the stored head, and there the row of the highest epoch."""
    log: dict[int, Row] = {}
    for row in state.rows:
        if row.seq <= state.head and (row.seq not in log or row.epoch > log[row.seq].epoch):
            log[row.seq] = row
    return {seq: row.id for seq, row in log.items()}
