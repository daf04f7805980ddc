"""How connections, links, sessions and wills end.

Rules
- A connection that ends is forgotten here at once; the shell closes it when it has written what was owed.
- Its will goes out unless DISCONNECT took it back: at once, or after its delay, or when the session ends before that;
  whoever resumes the session takes it back [3.1.3.2.2].
- A session that is kept begins to expire; another ends with its connection. Who waited for the answer of a session that
  ends must connect anew.
"""

from heapq import heapify, heappop, heappush
from typing import Final

import mqtt5
from mqtt5 import DisconnectReasonCode

from broker.embedded import codec5
from broker.embedded.connection import Connection
from broker.embedded.exchange import Exchange, lifetime
from broker.embedded.local import Local
from broker.embedded.messages import from_will
from broker.embedded.sessions import Session

_SPARE: Final = 1_000
"""Notes of ends that may be out of date before they are swept."""


class Endings:
    """The ends, and the connections and links that have not ended. Times in ms."""

    def __init__(self, exchange: Exchange) -> None:
        self.connections: dict[int, Connection] = {}
        self.locals: dict[str, Local] = {}
        self._exchange = exchange
        self._sessions: list[tuple[int, str]] = []
        self._wills: dict[str, tuple[int, mqtt5.Will]] = {}

    def set_back(self, back: int) -> None:
        """The clock was set back by so many ms."""
        for connection in self.connections.values():
            connection.set_back(back)
        self._wills = {client_id: (at - back, will) for client_id, (at, will) in self._wills.items()}

    def tick(self) -> None:
        """Send the wills and end the sessions that are due."""
        now = self._exchange.now
        for client_id, (at, will) in list(self._wills.items()):
            if at <= now:
                del self._wills[client_id]
                self._send_will(will)
        while self._sessions and self._sessions[0][0] <= now:
            session = self._exchange.sessions.get(heappop(self._sessions)[1])
            if session is not None and session.expires_at is not None and session.expires_at <= now:
                self.forget(session)

    def keep_will(self, client_id: str) -> None:
        """A session is resumed: its delayed will is not sent."""
        self._wills.pop(client_id, None)

    def close(self, connection: Connection, reason: DisconnectReasonCode | None) -> None:
        """End a connection from our side, telling version 5 why."""
        if connection.closed:
            return
        self._exchange.counts.closed += reason is not None
        if reason is not None and connection.level == codec5.LEVEL and connection.live:
            connection.write(mqtt5.DisconnectPacket(reason_code=reason))
        self.end(connection)

    def end(self, connection: Connection) -> None:
        """A connection is over: its will goes out, and its session waits or ends."""
        if connection.closed:
            return
        connection.end()
        self._exchange.counts.disconnects += 1
        self.connections.pop(connection.number, None)
        for held in self._exchange.held_up.values():
            held.pop(connection.number, None)
        self._exchange.touch(connection)
        session = connection.session
        if session is None:
            return
        if connection.will is not None:
            self._will(session, connection.will)
        if session.outlet is connection:
            self._leave(session)

    def _leave(self, session: Session) -> None:
        session.outlet = None
        if not session.is_kept:
            self.forget(session)
            return
        session.expires_at = lifetime(session.expiry, self._exchange.now)
        self.note_end(session)
        self._exchange.ledger.save(session)

    def note_end(self, session: Session) -> None:
        """Remember when a session ends that has no connection. What was noted at earlier ends is swept out now and
        then, so that a client which comes and goes for a month costs no more than one that stays."""
        if session.expires_at is None:
            return
        heappush(self._sessions, (session.expires_at, session.client_id))
        if len(self._sessions) > _SPARE + 2 * len(self._exchange.sessions):
            kept = self._exchange.sessions.values()
            self._sessions = [(one.expires_at, one.client_id) for one in kept if one.expires_at is not None]
            heapify(self._sessions)

    def cut(self, client_id: str, reason: DisconnectReasonCode | None = None) -> None:
        """End whoever is connected under a client id."""
        session = self._exchange.sessions.get(client_id)
        match session.outlet if session is not None else None:
            case Connection() as connection:
                self.close(connection, reason or DisconnectReasonCode.SESSION_TAKEN_OVER)
            case Local() as local:
                self.end_local(local)
            case _:
                return

    def end_local(self, local: Local) -> None:
        """A link is over."""
        local.closed = True
        self.locals.pop(local.session.client_id, None)
        self._exchange.touch(local)
        self._leave(local.session)

    def forget(self, session: Session) -> None:
        """End a session: a will that still waits goes out now [3.1.3.2.2]."""
        waiting = self._wills.pop(session.client_id, None)
        for orphan in self._exchange.forget(session):
            self.close(orphan, DisconnectReasonCode.SERVER_BUSY)
        if waiting is not None:
            self._send_will(waiting[1])

    def _will(self, session: Session, will: mqtt5.Will) -> None:
        delay = min(will.will_delay_interval, session.expiry)
        if delay:
            self._wills[session.client_id] = self._exchange.now + delay * 1000, will
        else:
            self._send_will(will)

    def _send_will(self, will: mqtt5.Will) -> None:
        message = from_will(will, self._exchange.now)
        if message.retain:
            self._exchange.retain(message)
        found = self._exchange.subscriptions.match(message.topic)
        self._exchange.route(found, message, None, None, withhold=False)
