"""What must be written, and who waits for it.

Rules
- One batch is under way at a time; what changes meanwhile gathers for the next, the last change of a thing winning. So
  a message that is acknowledged before its row was taken into a batch is never written.
- A change has a time by which it must be taken. What somebody waits for, and a message for who is away, goes at once. A
  message that was just sent waits `LINGER` for its acknowledgement, which mostly spares writing it; what only tidies up
  (a row that is no longer needed) waits `LAZY`. The first that is due takes all others along.
- A message's waiting ends when its row is durable, or when it needs none any more.
"""

from typing import Final

from broker.embedded.messages import Message
from broker.embedded.records import (
    DropRow,
    ForgetSession,
    MessageRecord,
    MoveRow,
    Operation,
    PutRow,
    Retain,
    RowRecord,
    SaveSession,
    SessionRecord,
)
from broker.embedded.sessions import Outgoing, Queued, Session
from broker.embedded.tickets import Ticket

LINGER: Final = 5
"""Milliseconds that a message waits for its acknowledgement before it is written."""
LAZY: Final = 100
"""Milliseconds after which what nobody waits for is written."""
_NEVER: Final = 2**62


class Ledger:
    """The changes that are not durable yet. `last_row` is the highest row number given out, `now` the core's time and
    `due_at` when the next batch is due, ms."""

    def __init__(self, now: int, last_row: int = 0) -> None:
        self.last_row = last_row
        self.now = now
        self._due_at = _NEVER
        self._sessions: dict[str, Session] = {}
        self._forgotten: set[str] = set()
        self._puts: dict[int, tuple[Session, Queued]] = {}
        self._rows: dict[int, MoveRow | DropRow] = {}
        self._retained: dict[str, Message | None] = {}
        self._waiting: list[Ticket] = []
        self._flying: list[Queued] | None = None
        self._flying_tickets: list[Ticket] = []

    @property
    def is_empty(self) -> bool:
        """Tell whether everything is durable."""
        return self._flying is None and not self._has_changes

    @property
    def _has_changes(self) -> bool:
        return bool(self._puts or self._rows or self._sessions or self._forgotten or self._retained)

    @property
    def due_at(self) -> int | None:
        """Tell when the next batch is due, ms; None while one is under way, or if there is nothing to write."""
        return self._due_at if self._flying is None and self._has_changes else None

    def set_back(self, back: int) -> None:
        """The clock was set back by so many ms."""
        self._due_at -= back

    def _due(self, wait: int) -> None:
        at = self.now + wait
        if at < self._due_at:
            self._due_at = at

    def put(self, session: Session, queued: Queued) -> None:
        """Give a message a row. Its ticket, if it has one, waits for that."""
        self.last_row += 1
        queued.row = self.last_row
        self._puts[queued.row] = session, queued
        self._due(LINGER if session.outlet is not None else 0)

    def move(self, queued: Queued) -> None:
        """Note a QoS 2 message's packet id and state."""
        if queued.row and queued.row not in self._puts:
            released = queued.state is Outgoing.RELEASED
            self._rows[queued.row] = MoveRow(queued.row, queued.packet_id, released)
            self._due(0)

    def drop(self, queued: Queued) -> None:
        """A message needs no row any more."""
        queued.settle()
        if queued.row and self._puts.pop(queued.row, None) is None:
            self._rows[queued.row] = DropRow(queued.row)
            self._due(LAZY)

    def save(self, session: Session) -> None:
        """Write a session; what it is when the batch is taken counts."""
        self._sessions[session.client_id] = session
        self._due(LAZY)

    def forget(self, session: Session) -> None:
        """Delete a session and all of its rows."""
        for queued in session.everything():
            self.drop(queued)
        self._sessions.pop(session.client_id, None)
        self._forgotten.add(session.client_id)
        self._due(LAZY)

    def retain(self, topic: str, message: Message | None) -> None:
        """Keep or delete a retained message."""
        self._retained[topic] = message
        self._due(LAZY)

    def when_durable(self, ticket: Ticket) -> None:
        """Let a ticket wait for all changes so far."""
        if self._has_changes:
            ticket.hold()
            self._waiting.append(ticket)
            self._due(0)
        elif self._flying is not None:
            ticket.hold()
            self._flying_tickets.append(ticket)

    def take(self) -> tuple[Operation, ...]:
        """Take the next batch, if it is due."""
        due = self.due_at
        if due is None or due > self.now:
            return ()
        self._due_at = _NEVER
        operations: list[Operation] = [ForgetSession(client_id) for client_id in self._forgotten]
        operations += [SaveSession(_session(session)) for session in self._sessions.values()]
        operations += [PutRow(_row(session, queued)) for session, queued in self._puts.values()]
        operations += self._rows.values()
        operations += [
            Retain(topic, message_record(message) if message is not None else None)
            for topic, message in self._retained.items()
        ]
        self._flying = [queued for _, queued in self._puts.values()]
        self._flying_tickets, self._waiting = self._waiting, []
        for changes in (self._forgotten, self._sessions, self._puts, self._rows, self._retained):
            changes.clear()
        return tuple(operations)

    def written(self) -> None:
        """The batch under way is durable."""
        queued, self._flying = self._flying or [], None
        tickets, self._flying_tickets = self._flying_tickets, []
        for one in queued:
            one.settle()
        for ticket in tickets:
            ticket.release()


def message_record(message: Message) -> MessageRecord:
    """Make the record of a message."""
    return MessageRecord(message.topic, message.payload, message.qos, message.expires_at, message.properties)


def _session(session: Session) -> SessionRecord:
    return SessionRecord(
        session.client_id,
        session.expiry,
        session.custodian,
        session.expires_at,
        tuple(session.subscriptions.values()),
        tuple(packet_id for packet_id, answer in session.received.items() if answer.is_taken),
        session.dropped,
    )


def _row(session: Session, queued: Queued) -> RowRecord:
    twice = queued.way.qos == 2
    return RowRecord(
        queued.row,
        session.client_id,
        message_record(queued.message),
        queued.way,
        queued.packet_id if twice else 0,
        queued.state is Outgoing.RELEASED,
    )
