"""CONNECT: who may come in, what session they find, and what becomes of who was there before.

Rules
- Nothing of any session changes before the gate has taken the token, and the will has passed it too (promise 5).
- Devices are let in only after `admit`: until every bridge session exists, a publish could be acknowledged to nobody.
- The newer connection has the session; the older is told so and its will goes out, unless it has a delay.
- A kept session has no more rights than the token that it is resumed with.
- CONNACK leaves when what it says of the session is durable.
"""

from collections.abc import Callable
from typing import Final

import mqtt5
from mqtt5 import ConnAckReasonCode

from acl.decisions import Gate, Principal
from broker.embedded import codec5
from broker.embedded.connection import Connection, Hold
from broker.embedded.exchange import Exchange
from broker.embedded.local import WINDOW
from broker.embedded.requests import ALIASES
from broker.embedded.sessions import NEVER, Session
from broker.embedded.tickets import Ticket
from broker.port import Limits
from tidings.protocol.errors import Code, Refusal

_KEEP_ALIVE_MORE: Final = 1_500
"""Milliseconds of silence allowed for each second of keepalive [MQTT-3.1.2-22]."""

_REASONS: Final = {
    Code.UNAVAILABLE: ConnAckReasonCode.SERVER_UNAVAILABLE,
    Code.RATE_LIMITED: ConnAckReasonCode.CONNECTION_RATE_EXCEEDED,
    Code.NOT_ALLOWED: ConnAckReasonCode.NOT_AUTHORIZED,
}
"""How the gate's refusals are said; every other one is a bad user name or password."""


class Turned(Exception):
    """The client is not let in."""

    def __init__(self, reason: ConnAckReasonCode) -> None:
        super().__init__(reason.name)
        self.reason = reason


class Door:
    """Lets clients in. `name` makes client ids for clients that have none."""

    def __init__(self, exchange: Exchange, gate: Gate, limits: Limits, name: Callable[[], str]) -> None:
        self._exchange = exchange
        self._gate = gate
        self._limits = limits
        self._name = name
        self.admitting = False
        self.full = False

    def check(self, connection: Connection, packet: mqtt5.ConnectPacket) -> tuple[Principal, str]:
        """Decide on a CONNECT and give who it is and the client id. Changes nothing. Raises `Turned`."""
        if packet.authentication_method is not None:
            raise Turned(ConnAckReasonCode.BAD_AUTHENTICATION_METHOD)
        if not packet.client_id and connection.level != codec5.LEVEL and not packet.clean_start:
            raise Turned(ConnAckReasonCode.CLIENT_ID_NOT_VALID)
        try:
            principal = self._gate.authenticate(packet.client_id, packet.username, packet.password, self._exchange.now)
        except Refusal as refusal:
            raise Turned(_REASONS.get(refusal.code, ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD)) from None
        if not principal.custodian:
            if not self.admitting:
                raise Turned(ConnAckReasonCode.SERVER_UNAVAILABLE)
            if self.full:
                raise Turned(ConnAckReasonCode.QUOTA_EXCEEDED)
        self._check_will(principal, packet.will)
        return principal, principal.client_id or self._name()

    def _check_will(self, principal: Principal, will: mqtt5.Will | None) -> None:
        if will is None:
            return
        if len(will.payload or b"") > self._limits.will_bytes:
            raise Turned(ConnAckReasonCode.PACKET_TOO_LARGE)
        if not self._exchange.fits(will.topic):
            raise Turned(ConnAckReasonCode.TOPIC_NAME_INVALID)
        decision = self._gate.publish(principal, will.topic, retain=will.retain, qos=will.qos.value)
        if not decision.allowed or will.topic.startswith("$"):
            raise Turned(ConnAckReasonCode.NOT_AUTHORIZED)

    def enter(
        self, connection: Connection, packet: mqtt5.ConnectPacket, principal: Principal, client_id: str
    ) -> tuple[Session | None, Callable[[], None]]:
        """Give the connection its session. Gives the session that ends for it, if any, and what answers CONNECT.

        Whoever was connected before is gone already.
        """
        exchange = self._exchange
        old = exchange.sessions.get(client_id)
        present = old is not None and not packet.clean_start
        session = old if old is not None and present else Session(client_id, custodian=principal.custodian)
        expiry = self._expiry(packet, principal)
        connection.principal = principal
        connection.session = session
        connection.will = packet.will
        connection.keep_alive = packet.keep_alive * _KEEP_ALIVE_MORE
        connection.window = min(packet.receive_max, WINDOW if principal.custodian else self._limits.inflight)
        connection.most_bytes = packet.max_packet_size or 0
        connection.holds.add(Hold.CONNECT)

        def answer() -> None:
            if connection.closed:
                return
            self._answer(connection, packet, session, present=present, assigned=not principal.client_id)

        return (None if present else old), self._settle(session, principal, expiry, present, answer)

    def _settle(
        self, session: Session, principal: Principal, expiry: int, present: bool, answer: Callable[[], None]
    ) -> Callable[[], None]:
        """Make the session what CONNECT says, and give what is to be called when the one before it is gone."""

        def settle() -> None:
            exchange = self._exchange
            narrowed = present and self._narrow(session, principal)
            changed = narrowed or session.expiry != expiry or session.expires_at is not None
            was_kept, session.expiry, session.expires_at = session.is_kept, expiry, None
            exchange.sessions[session.client_id] = session
            ticket = Ticket(answer)
            if session.is_kept and (changed or not present):
                exchange.ledger.save(session)
            elif was_kept and not session.is_kept:
                exchange.ledger.forget(session)
            if not present:
                exchange.ledger.when_durable(ticket)
            session.begin_again()
            ticket.release()

        return settle

    def _narrow(self, session: Session, principal: Principal) -> bool:
        """Take away what an older token had subscribed and this one may not; what is queued was granted then. Tells
        whether there was any."""
        refused = [text for text in session.subscriptions if not self._gate.subscribe(principal, text).allowed]
        for text in refused:
            self._exchange.unsubscribe(session, text)
        return bool(refused)

    def _expiry(self, packet: mqtt5.ConnectPacket, principal: Principal) -> int:
        if principal.custodian and packet.session_expiry_interval == NEVER:
            return NEVER
        return min(packet.session_expiry_interval, self._limits.session_expiry)

    def _answer(
        self, connection: Connection, packet: mqtt5.ConnectPacket, session: Session, *, present: bool, assigned: bool
    ) -> None:
        limits = self._limits
        asked = packet.session_expiry_interval
        connection.write(
            mqtt5.ConnAckPacket(
                session_present=present,
                session_expiry_interval=session.expiry if session.expiry != asked else None,
                assigned_client_id=session.client_id if assigned else None,
                receive_max=WINDOW if session.custodian else limits.inflight,
                topic_alias_max=ALIASES,
                max_packet_size=limits.packet_bytes,
            )
        )
        connection.live = True
        connection.holds.discard(Hold.CONNECT)
        self._exchange.touch(connection)
        self._exchange.resumed.append(connection)
        self._exchange.pump(session)
