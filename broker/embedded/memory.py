"""A session store in memory, for tests and simulations: what was not yet flushed at a crash is lost.

Rules
- `later(seconds, callback)` is how a flush takes time; a loop's `call_later` fits. Without it a flush is at once.
- `crash()` gives what a new process finds: everything flushed, nothing else. Callbacks of the old one never come.
"""

from collections.abc import Callable, Sequence

from broker.embedded.records import (
    DropRow,
    ForgetSession,
    MessageRecord,
    MoveRow,
    Operation,
    PutRow,
    Retain,
    RowRecord,
    Saved,
    SaveSession,
    SessionRecord,
)


class MemoryStore:
    """A `SessionStore` whose disk is a few dicts. `latency` in seconds."""

    def __init__(
        self, later: Callable[[float, Callable[[], None]], object] | None = None, latency: float = 0.001
    ) -> None:
        self._later = later
        self._latency = latency
        self._sessions: dict[str, SessionRecord] = {}
        self._rows: dict[int, RowRecord] = {}
        self._retained: dict[str, MessageRecord] = {}
        self._crashed = False
        self.failure: Exception | None = None
        self.batches = 0

    def load(self) -> Saved:
        """Give everything that was flushed."""
        rows = tuple(self._rows[number] for number in sorted(self._rows))
        return Saved(tuple(self._sessions.values()), rows, tuple(self._retained.values()))

    def append(self, operations: Sequence[Operation], done: Callable[[Exception | None], None]) -> None:
        """Flush a batch after the latency; while `failure` is set, fail with it."""
        if self._later is None:
            self._flush(operations, done)
        else:
            self._later(self._latency, lambda: self._flush(operations, done))

    def close(self) -> None:
        """Have nothing to close."""

    def crash(self) -> "MemoryStore":
        """End this process' life; give the store that the next one opens."""
        self._crashed = True
        after = MemoryStore(self._later, self._latency)
        after._sessions = dict(self._sessions)
        after._rows = dict(self._rows)
        after._retained = dict(self._retained)
        return after

    def _flush(self, operations: Sequence[Operation], done: Callable[[Exception | None], None]) -> None:
        if self._crashed:
            return
        if self.failure is None:
            self.batches += 1
            for operation in operations:
                self._apply(operation)
        done(self.failure)

    def _apply(self, operation: Operation) -> None:
        match operation:
            case SaveSession(session):
                self._sessions[session.client_id] = session
            case ForgetSession(client_id):
                self._sessions.pop(client_id, None)
            case PutRow(record):
                self._rows[record.row] = record
            case MoveRow(row, packet_id, released):
                old = self._rows[row]
                self._rows[row] = RowRecord(row, old.client_id, old.message, old.way, packet_id, released)
            case DropRow(row):
                self._rows.pop(row, None)
            case Retain(topic, message):
                self._retained.pop(topic, None)
                if message is not None:
                    self._retained[topic] = message
