"""The broker without sockets: bytes, publishes and time go in, effects come out.

Rules
- Every input says what time it is (ms); the core has no clock. `tick` comes five times a second or so.
- Inputs change state at once; what is to be done outside gathers until `take`. So whatever came in one turn of the loop
  leaves in one write a connection, and in one batch to the store.
- Any bytes are an input: they may end their connection, and nothing else.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import mqtt5
from mqtt5 import DisconnectReasonCode

from acl.decisions import Gate
from broker.embedded import notices
from broker.embedded.connection import Connection, Hold
from broker.embedded.door import Door, Turned
from broker.embedded.effects import Effect, Persist
from broker.embedded.endings import Endings
from broker.embedded.exchange import Exchange
from broker.embedded.inbox import Inbox, TooLong, UnknownVersion
from broker.embedded.local import Local
from broker.embedded.messages import Message
from broker.embedded.packets import MalformedPacket, ProtocolViolation
from broker.embedded.rates import Bucket
from broker.embedded.records import Saved
from broker.embedded.requests import Fault, Requests
from broker.embedded.restoring import restore
from broker.embedded.sessions import NEVER, Session, Subscription
from broker.embedded.tickets import Ticket
from broker.port import Limits
from tidings.protocol.link import Handle, Outbound

_SWEEPS: Final = 5
"""Ticks over which one look at every connection is spread."""
_STALLED: Final = 60_000
"""Milliseconds that a client may take nothing of what it is sent."""
_UNSUPPORTED: Final = b"\x20\x02\x00\x01"
"""CONNACK of 3.1.1, return code 1, for a version that nobody speaks."""


class Core:
    """The broker's state. `entropy` gives random bytes, for client ids of clients that have none."""

    def __init__(self, gate: Gate, limits: Limits, saved: Saved, now: int, entropy: Callable[[int], bytes]) -> None:
        self.limits = limits
        self.exchange = Exchange(limits, now, max((row.row for row in saved.rows), default=0))
        self.counts = self.exchange.counts
        self._endings = Endings(self.exchange)
        self.connections = self._endings.connections
        self.locals = self._endings.locals
        self._gate = gate
        self._door = Door(self.exchange, gate, limits, lambda: f"auto-{entropy(12).hex()}")
        self._requests = Requests(self.exchange, gate)
        self._last_number = 0
        self._ticks = 0
        for session in restore(self.exchange, saved, now):
            self._endings.note_end(session)

    @property
    def is_durable(self) -> bool:
        """Tell whether nothing waits to be written."""
        return self.exchange.ledger.is_empty

    def admit(self) -> None:
        """Let devices in."""
        self._door.admitting = True

    @property
    def is_admitting(self) -> bool:
        """Tell whether devices are let in."""
        return self._door.admitting

    def _at(self, now: int) -> None:
        """Note the time. If the clock was set back, what began before begins so much earlier, so that nothing waits for
        the time to come again. What a token or a message says of time is left to the clock."""
        back = self.exchange.now - now
        self.exchange.now = now
        if back <= 0:
            return
        self.exchange.ledger.set_back(back)
        self._endings.set_back(back)

    # Inputs: connections.

    def opened(self, now: int) -> int:
        """A connection has come; give its number."""
        self._last_number += 1
        limits = self.limits
        connection = Connection(
            self._last_number,
            now,
            Inbox(min(limits.connect_bytes, limits.packet_bytes)),
            Bucket(limits.publish_rate, limits.publish_burst, now),
            limits.write_buffer_bytes,
        )
        connection.on_answer = self._answered
        self.connections[connection.number] = connection
        return connection.number

    def received(self, number: int, data: bytes, now: int) -> None:
        """Bytes have come."""
        self._at(now)
        connection = self.connections.get(number)
        if connection is not None:
            connection.seen_at = now
            connection.inbox.feed(data)
            self._work(connection)
            self._resume()

    def closed(self, number: int, now: int) -> None:
        """A connection has ended."""
        self._at(now)
        connection = self.connections.get(number)
        if connection is not None:
            self._endings.end(connection)
            self.exchange.dirty.pop(number, None)
            self._resume()

    def congested(self, number: int, on: bool, now: int) -> None:
        """A connection's write buffer is full, or has room again."""
        self._at(now)
        connection = self.connections.get(number)
        if connection is None:
            return
        if on:
            connection.holds.add(Hold.CONGESTED)
            connection.congested_at = now
        else:
            self._unhold(connection, Hold.CONGESTED)
            self._resume()
        self.exchange.touch(connection)

    def flushed(self, numbers: Iterable[int]) -> None:
        """What was taken for these connections is written: more may go."""
        for number in numbers:
            connection = self.connections.get(number)
            if connection is not None and connection.session is not None and connection.session.queue:
                self.exchange.pump(connection.session)

    # Inputs: links of ours, which need no token.

    def link_opened(self, client_id: str, filters: Sequence[str], now: int, *, keep: bool) -> int:
        """A link has come: it cuts its predecessor, has the session, and subscribes with QoS 1 instead of what was
        subscribed. Gives its number."""
        self._at(now)
        self._endings.cut(client_id)
        session = self.exchange.sessions.get(client_id)
        if session is None:
            session = Session(client_id, custodian=True)
            self.exchange.sessions[client_id] = session
        session.custodian = True
        session.expiry, session.expires_at = (NEVER if keep else 0), None
        for text in [one for one in session.subscriptions if one not in filters]:
            self.exchange.unsubscribe(session, text)
        for text in filters:
            self.exchange.subscribe(session, text, Subscription(text, 1))
        if keep:
            self.exchange.ledger.save(session)
        self._last_number += 1
        local = Local(self._last_number, session)
        self.locals[client_id] = local
        session.begin_again()
        session.outlet = local
        self.exchange.pump(session)
        self._resume()
        return local.number

    def link_publish(
        self, client_id: str, number: int, messages: Iterable[Outbound], then: Callable[[], None], now: int
    ) -> bool:
        """A link publishes; `then` is called when all of it is durable or acknowledged. False if the link is cut."""
        self._at(now)
        local = self.locals.get(client_id)
        if local is None or local.number != number:
            return False
        exchange, session, ticket = self.exchange, local.session, Ticket(then)
        match = exchange.subscriptions.match
        for topic, payload, qos in messages:
            exchange.counts.received += 1
            exchange.route(match(topic), Message(topic, payload, qos), session, ticket if qos else None, withhold=False)
        ticket.release()
        return True

    def link_acknowledge(self, client_id: str, handles: Iterable[Handle], now: int) -> None:
        """A link acknowledges; handles of other connections do nothing."""
        self._at(now)
        local = self.locals.get(client_id)
        if local is None:
            return
        for number, packet_id in handles:
            if number == local.number and packet_id:
                self.exchange.answered(local.session, packet_id, mqtt5.PubAckPacket)
        self._resume()

    def link_closed(self, client_id: str, number: int, now: int) -> None:
        """A link closes; a kept session stays."""
        self._at(now)
        local = self.locals.get(client_id)
        if local is not None and local.number == number:
            self._endings.end_local(local)
            self.exchange.dirty.pop(number, None)
            self._resume()

    # Inputs: the rest.

    def written(self, now: int) -> None:
        """The batch of the last `Persist` is durable."""
        self._at(now)
        self.exchange.ledger.written()
        self._resume()

    def kick(self, client_id: str, now: int, *, forget: bool) -> None:
        """Disconnect a client, and delete its session if it is to be forgotten."""
        self._at(now)
        self._endings.cut(client_id, DisconnectReasonCode.ADMINISTRATIVE_ACTION)
        session = self.exchange.sessions.get(client_id)
        if forget and session is not None:
            self._endings.forget(session)
        self._resume()

    def when_durable(self, then: Callable[[], None]) -> None:
        """Call `then` when all that has happened so far is durable."""
        ticket = Ticket(then)
        self.exchange.ledger.when_durable(ticket)
        ticket.release()

    def shut_down(self, now: int) -> None:
        """End every connection and link."""
        self._at(now)
        self._door.admitting = False
        for connection in list(self.connections.values()):
            self._endings.close(connection, DisconnectReasonCode.SERVER_SHUTTING_DOWN)
        for local in list(self.locals.values()):
            self._endings.end_local(local)

    def tick(self, now: int) -> None:
        """Do what is due: time-outs, keepalives, ended tokens, delayed wills, expired sessions."""
        self._at(now)
        self._ticks += 1
        for connection in list(self.connections.values()):
            if Hold.RATE in connection.holds and not connection.bucket.is_empty(now):
                self._unhold(connection, Hold.RATE)
            if connection.number % _SWEEPS == self._ticks % _SWEEPS:
                self._look_at(connection, now)
        self._endings.tick()
        self._resume()

    @property
    def has_effects(self) -> bool:
        """Tell whether outlets have something to hand over."""
        return bool(self.exchange.dirty)

    @property
    def due_at(self) -> int | None:
        """Tell when `take` will have something for the store, ms; None for not before another input."""
        return self.exchange.ledger.due_at

    def take(self, now: int | None = None) -> list[Effect]:
        """Take what is to be done outside, and what is due at the store by now, or by the last input."""
        if now is not None:
            self._at(now)
        effects: list[Effect] = []
        dirty, self.exchange.dirty = self.exchange.dirty, {}
        for outlet in dirty.values():
            outlet.take(effects)
        operations = self.exchange.ledger.take()
        if operations:
            effects.append(Persist(operations))
        return effects

    # A connection's packets.

    def _work(self, connection: Connection) -> None:
        """Handle what has come, until it is not enough or the connection is held."""
        try:
            while not connection.holds and not connection.closed:
                packet = connection.next_packet()
                if packet is None:
                    break
                if connection.session is None:
                    self._connect(connection, packet)
                else:
                    self._requests.handle(connection, packet)
                if connection.goodbye:
                    self._endings.end(connection)
        except TooLong:
            self._endings.close(connection, DisconnectReasonCode.PACKET_TOO_LARGE)
        except MalformedPacket:
            self._endings.close(connection, DisconnectReasonCode.MALFORMED_PACKET)
        except ProtocolViolation:
            self._endings.close(connection, DisconnectReasonCode.PROTOCOL_ERROR)
        except Fault as fault:
            self._endings.close(connection, fault.reason)
        except UnknownVersion:
            connection.write_bytes(_UNSUPPORTED)
            self._endings.close(connection, None)
        except Turned as turned:
            self.counts.refused_connects += 1
            connection.write(mqtt5.ConnAckPacket(reason_code=turned.reason))
            self._endings.close(connection, None)
        if connection.holds:
            self.exchange.touch(connection)

    def _connect(self, connection: Connection, packet: mqtt5.Packet) -> None:
        if not isinstance(packet, mqtt5.ConnectPacket):
            raise ProtocolViolation("the first packet is not CONNECT [MQTT-3.1.0-1]")
        self._door.full = len(self.connections) > self.limits.connections
        principal, client_id = self._door.check(connection, packet)
        connection.inbox.most = self.limits.packet_bytes
        self._endings.cut(client_id, DisconnectReasonCode.SESSION_TAKEN_OVER)
        self.counts.connects += 1
        ended, settle = self._door.enter(connection, packet, principal, client_id)
        session = connection.session
        assert session is not None
        if ended is not None:
            self._endings.forget(ended)
        self._endings.keep_will(client_id)
        session.outlet = connection
        self._tell_dropped(session)
        settle()

    def _tell_dropped(self, session: Session) -> None:
        """Tell a connected device that something for it was dropped, behind what is queued."""
        outlet = session.outlet
        if session.dropped and isinstance(outlet, Connection) and outlet.principal is not None:
            notice = notices.sync_needed(outlet.principal, self.exchange.now)
            if notice is not None:
                session.dropped = False
                self.exchange.tell(session, notice)
                if session.is_kept:
                    self.exchange.ledger.save(session)

    def _answered(self, connection: Connection) -> None:
        """Answers have left a connection."""
        if Hold.ANSWERS in connection.holds:
            self._unhold(connection, Hold.ANSWERS)
        self.exchange.touch(connection)

    def _unhold(self, connection: Connection, hold: Hold) -> None:
        connection.holds.discard(hold)
        self.exchange.resumed.append(connection)

    def _resume(self) -> None:
        """Go on with the connections whose holds were lifted in this input, and tell who has taken a queue that was
        too full."""
        exchange = self.exchange
        drained, exchange.drained = exchange.drained, []
        for session in drained:
            self._tell_dropped(session)
        while exchange.resumed:
            connection = exchange.resumed.popleft()
            connection.holds.discard(Hold.CUSTODY)
            if connection.closed:
                continue
            exchange.touch(connection)
            self._work(connection)
            if connection.session is not None:
                exchange.pump(connection.session)

    def _look_at(self, connection: Connection, now: int) -> None:
        """End a connection whose time is over."""
        principal = connection.principal
        if principal is None:
            if now - connection.opened_at >= self.limits.connect_timeout * 1000:
                self._endings.close(connection, None)
        elif self._gate.is_void(principal, now):
            expired = now >= principal.expires_at
            code = DisconnectReasonCode.MAX_CONNECT_TIME if expired else DisconnectReasonCode.NOT_AUTHORIZED
            self._endings.close(connection, code)
        elif Hold.CONGESTED in connection.holds:
            if now - connection.congested_at >= _STALLED:
                self._endings.close(connection, None)
        elif connection.holds:
            connection.seen_at = now
        elif connection.keep_alive and now - connection.seen_at > connection.keep_alive:
            self._endings.close(connection, DisconnectReasonCode.KEEP_ALIVE_TIMEOUT)
