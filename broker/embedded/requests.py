"""What a connected client may ask: one handler for each packet type, in the table `HANDLERS`.

Rules
- Every publish and every subscription is asked of the gate; its answers to publishes are remembered a while for the
  connection, for topics repeat.
- A topic or filter over the limits is refused before anybody is asked, so nothing remembers it.
- The receipt of a QoS 2 publish is written down only when its message is safe: one that waits in custody is not, for a
  crash would take it, and its sender must then send it again.
- A refused publish is not handed on. Version 5 is told so by its reason code. In 3.1.1 a PUBACK could only mean
  "stored", which would be a lie, so the connection ends; a refused QoS 0 publish is dropped and counted.
- Topics that begin with `$` belong to the server [4.7.2].
"""

from collections.abc import Callable
from typing import Any, Final

import mqtt5
from mqtt5 import DisconnectReasonCode, PubAckReasonCode, SubAckReasonCode, UnsubAckReasonCode

from acl.decisions import Gate
from broker.embedded import codec5
from broker.embedded.connection import Connection, Hold
from broker.embedded.exchange import Exchange
from broker.embedded.local import WINDOW
from broker.embedded.messages import Message, from_packet
from broker.embedded.packets import ProtocolViolation
from broker.embedded.sessions import Session, Subscription
from broker.embedded.subscriptions import NOBODY, Matches, split_share
from broker.embedded.tickets import Answer, Ticket

ALIASES: Final = 32
"""Topic aliases that a client may set on a connection."""
_FORBIDDEN: Final = PubAckReasonCode.NOT_AUTHORIZED
_FAILED: Final = 0x80
"""Reason codes from here on report an error [2.4]."""
_REMEMBERED: Final = 1_000
"""The gate's answers remembered for a connection."""


class Fault(Exception):
    """The client may not go on; `reason` is what version 5 is told."""

    def __init__(self, reason: DisconnectReasonCode) -> None:
        super().__init__(reason.name)
        self.reason = reason


class Requests:
    """The handlers, over the exchange and the gate."""

    def __init__(self, exchange: Exchange, gate: Gate) -> None:
        self._exchange = exchange
        self._gate = gate

    def handle(self, connection: Connection, packet: mqtt5.Packet) -> None:
        """Do what a packet asks. Raises `ProtocolViolation` and `Fault`."""
        handler = HANDLERS.get(type(packet))
        if handler is None:
            raise ProtocolViolation(f"{type(packet).__name__} from a client")
        session = connection.session
        assert session is not None
        handler(self, connection, session, packet)

    # Publishing.

    def publish(self, connection: Connection, session: Session, packet: mqtt5.PublishPacket) -> None:
        """Take a PUBLISH [3.3], or hold its connection up: the packet stands in `stalled` then, to come again."""
        exchange = self._exchange
        qos = packet.qos.value
        if qos == 2 and (known := session.received.get(packet.packet_id or 0)) is not None and not known.is_lost:
            self._repeated(connection, known)
            return
        if qos and not self._may_await(connection, session, packet):
            return
        topic = self._topic(connection, packet)
        fits = exchange.fits(topic)
        allowed = fits and self._may_publish(connection, topic, qos, packet.retain)
        found = exchange.subscriptions.match(topic) if allowed else NOBODY
        if not session.custodian:
            if qos and (full := exchange.full(found)) is not None:
                connection.stalled = packet
                connection.holds.add(Hold.CUSTODY)
                exchange.held_up.setdefault(full.client_id, {})[connection.number] = connection
                return
            if not connection.bucket.take(exchange.now):
                connection.holds.add(Hold.RATE)
        exchange.counts.received += 1
        answer = connection.expect(packet.packet_id or 0, qos) if qos else None
        if not allowed:
            self._refuse(connection, answer, _FORBIDDEN if fits else PubAckReasonCode.TOPIC_NAME_INVALID)
            return
        message = from_packet(packet, topic, exchange.now)
        if answer is None:
            self._accept(session, message, found, None)
            return
        if qos == 2:
            session.received[answer.packet_id] = answer
        if not self._accept(session, message, found, answer):
            answer.code = PubAckReasonCode.QUOTA_EXCEEDED
            session.received.pop(answer.packet_id, None)
        exchange.touch(connection)
        answer.release()

    def _accept(self, session: Session, message: Message, found: Matches, answer: Answer | None) -> bool:
        """Hand a message on, and keep it if it is to be retained; False if there was no room for that."""
        exchange = self._exchange
        kept = not message.retain or exchange.retain(message)
        withhold = not session.custodian
        exchange.route(found, message, session, answer, withhold=withhold)
        if answer is None:
            return kept
        if message.retain:
            exchange.ledger.when_durable(answer)
        if answer.qos == 2:
            if withhold and any(one.custodian for one in found.sessions):
                answer.before = lambda: self._taken(session, answer)
            else:
                self._taken(session, answer)
        return kept

    def _taken(self, session: Session, answer: Answer) -> None:
        """The message of a QoS 2 publish is safe, or is written with its receipt."""
        answer.is_taken = True
        if session.is_kept:
            self._exchange.ledger.save(session)
            self._exchange.ledger.when_durable(answer)

    def _repeated(self, connection: Connection, answer: Answer) -> None:
        """A QoS 2 publish came again [4.3.3]: it is one message, whose PUBREC is sent again or still awaited."""
        if answer in connection.awaiting:
            return
        answer.connection = connection
        connection.awaiting.append(answer)
        connection.answer()
        self._exchange.touch(connection)

    def _may_await(self, connection: Connection, session: Session, packet: mqtt5.PublishPacket) -> bool:
        """Keep our receive maximum [MQTT-3.3.4-9]. 3.1.1 knows none, so its client waits; but not for its own PUBREL,
        which would not be read then."""
        most = self._exchange.limits.inflight if not session.custodian else WINDOW
        if connection.level == codec5.LEVEL:
            if connection.unanswered + len(session.received) < most:
                return True
            raise Fault(DisconnectReasonCode.RECEIVE_MAX_EXCEEDED)
        if len(session.received) >= WINDOW:
            raise Fault(DisconnectReasonCode.RECEIVE_MAX_EXCEEDED)
        if len(connection.awaiting) < most:
            return True
        connection.stalled = packet
        connection.holds.add(Hold.ANSWERS)
        return False

    def _topic(self, connection: Connection, packet: mqtt5.PublishPacket) -> str:
        if packet.subscription_ids:
            raise ProtocolViolation("PUBLISH of a client with a subscription id [MQTT-3.3.4-6]")
        alias = packet.topic_alias
        if alias is None:
            return packet.topic
        if alias > ALIASES:
            raise Fault(DisconnectReasonCode.TOPIC_ALIAS_INVALID)
        if packet.topic:
            connection.aliases[alias] = packet.topic
        topic = connection.aliases.get(alias)
        if topic is None:
            raise Fault(DisconnectReasonCode.TOPIC_ALIAS_INVALID)
        return topic

    def _may_publish(self, connection: Connection, topic: str, qos: int, retain: bool) -> bool:
        key = topic, qos, retain
        allowed = connection.allowed.get(key)
        if allowed is None:
            assert connection.principal is not None
            decision = self._gate.publish(connection.principal, topic, retain=retain, qos=qos)
            allowed = decision.allowed and not topic.startswith("$")
            if len(connection.allowed) >= _REMEMBERED:
                connection.allowed.clear()
            connection.allowed[key] = allowed
        return allowed

    def _refuse(self, connection: Connection, answer: Answer | None, code: PubAckReasonCode) -> None:
        self._exchange.counts.refused += 1
        if answer is None:
            return
        if connection.level != codec5.LEVEL:
            raise Fault(DisconnectReasonCode.NOT_AUTHORIZED)
        answer.code = code
        self._exchange.touch(connection)
        answer.release()

    def pubrel(self, connection: Connection, session: Session, packet: mqtt5.PubRelPacket) -> None:
        """End a QoS 2 publish [3.6]. An id that is not known is answered as well [4.3.3]."""
        known = session.received.pop(packet.packet_id, None)
        reason = mqtt5.PubCompReasonCode.SUCCESS if known is not None else mqtt5.PubCompReasonCode.PACKET_ID_NOT_FOUND
        if known is not None and session.is_kept:
            self._exchange.ledger.save(session)
        connection.write(mqtt5.PubCompPacket(packet.packet_id, reason_code=reason))
        connection.on_answer(connection)
        self._exchange.touch(connection)

    # Receiving.

    def puback(self, connection: Connection, session: Session, packet: mqtt5.PubAckPacket) -> None:
        """A message has arrived, whatever the code says [3.4]."""
        self._exchange.answered(session, packet.packet_id, mqtt5.PubAckPacket)

    def pubrec(self, connection: Connection, session: Session, packet: mqtt5.PubRecPacket) -> None:
        """A QoS 2 message has arrived [3.5]."""
        failed = packet.reason_code.value >= _FAILED
        if not self._exchange.answered(session, packet.packet_id, mqtt5.PubRecPacket, failed=failed) and not failed:
            reason = mqtt5.PubRelReasonCode.PACKET_ID_NOT_FOUND
            connection.write(mqtt5.PubRelPacket(packet.packet_id, reason_code=reason))
            self._exchange.touch(connection)

    def pubcomp(self, connection: Connection, session: Session, packet: mqtt5.PubCompPacket) -> None:
        """A QoS 2 message is done with [3.7]."""
        self._exchange.answered(session, packet.packet_id, mqtt5.PubCompPacket)

    # Subscribing.

    def subscribe(self, connection: Connection, session: Session, packet: mqtt5.SubscribePacket) -> None:
        """Subscribe [3.8]; the answer leaves when it is durable, and retained messages after it."""
        self._pace(connection, session)
        codes: list[SubAckReasonCode] = []
        retained: list[Subscription] = []
        for place, wanted in enumerate(packet.topic_filters):
            if place >= self._exchange.limits.subscriptions and not session.custodian:
                codes.append(SubAckReasonCode.QUOTA_EXCEEDED)
                continue
            code, subscription = self._check_subscribe(connection, session, wanted, packet.subscription_id or 0)
            codes.append(code)
            if subscription is None:
                continue
            is_new = self._exchange.subscribe(session, wanted.pattern, subscription)
            handling = wanted.retain_handling
            if not subscription.share and (
                handling == mqtt5.RetainHandling.SEND_ALWAYS
                or (is_new and handling == mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS)
            ):
                retained.append(subscription)

        def answer() -> None:
            if connection.session is session and not connection.closed:
                connection.write(mqtt5.SubAckPacket(packet.packet_id, codes))
                self._exchange.touch(connection)
                for subscription in retained:
                    self._exchange.send_retained(session, subscription)

        self._when_saved(connection, session, answer)

    def _check_subscribe(
        self, connection: Connection, session: Session, wanted: mqtt5.TopicFilter, number: int
    ) -> tuple[SubAckReasonCode, Subscription | None]:
        pattern = wanted.pattern
        parts = split_share(pattern)
        if parts is None or not self._exchange.fits(pattern):
            return SubAckReasonCode.TOPIC_FILTER_INVALID, None
        assert connection.principal is not None
        if not self._gate.subscribe(connection.principal, pattern).allowed:
            return SubAckReasonCode.NOT_AUTHORIZED, None
        most = self._exchange.limits.subscriptions
        if pattern not in session.subscriptions and len(session.subscriptions) >= most and not session.custodian:
            return SubAckReasonCode.QUOTA_EXCEEDED, None
        qos = wanted.max_qos.value
        share, rest = parts
        subscription = Subscription(rest, qos, wanted.no_local, wanted.retain_as_published, number, share)
        return SubAckReasonCode(qos), subscription

    def unsubscribe(self, connection: Connection, session: Session, packet: mqtt5.UnsubscribePacket) -> None:
        """Unsubscribe [3.10]; the answer leaves when it is durable."""
        self._pace(connection, session)
        codes = [
            UnsubAckReasonCode.SUCCESS
            if self._exchange.unsubscribe(session, pattern)
            else UnsubAckReasonCode.NO_SUBSCRIPTION_EXISTED
            for pattern in packet.patterns
        ]

        def answer() -> None:
            connection.write(mqtt5.UnsubAckPacket(packet.packet_id, codes))
            self._exchange.touch(connection)

        self._when_saved(connection, session, answer)

    def _pace(self, connection: Connection, session: Session) -> None:
        """Changing subscriptions costs more than publishing, so it counts as that."""
        if not session.custodian and not connection.bucket.take(self._exchange.now):
            connection.holds.add(Hold.RATE)

    def _when_saved(self, connection: Connection, session: Session, answer: Callable[[], None]) -> None:
        def saved() -> None:
            connection.pending -= 1
            answer()
            connection.on_answer(connection)

        connection.pending += 1
        ticket = Ticket(saved)
        if session.is_kept:
            self._exchange.ledger.save(session)
            self._exchange.ledger.when_durable(ticket)
        ticket.release()
        if connection.pending >= self._exchange.limits.inflight:
            connection.holds.add(Hold.ANSWERS)

    # The rest.

    def ping(self, connection: Connection, session: Session, packet: mqtt5.PingReqPacket) -> None:
        """Answer PINGREQ [3.12]."""
        connection.write(mqtt5.PingRespPacket())
        self._exchange.touch(connection)

    def disconnect(self, connection: Connection, session: Session, packet: mqtt5.DisconnectPacket) -> None:
        """Say goodbye [3.14]: the will is taken back, unless it is wanted; the expiry may change, but not from 0."""
        expiry = packet.session_expiry_interval
        if expiry is not None:
            if expiry and not session.expiry:
                raise ProtocolViolation("an expiry for a session that had none [3.14.2.2.2]")
            most = self._exchange.limits.session_expiry
            if not expiry and session.is_kept:
                self._exchange.ledger.forget(session)
            session.expiry = min(expiry, most)
        if packet.reason_code == DisconnectReasonCode.NORMAL_DISCONNECTION:
            connection.will = None
        connection.goodbye = True


HANDLERS: Final[dict[type, Callable[[Requests, Connection, Session, Any], None]]] = {
    mqtt5.PublishPacket: Requests.publish,
    mqtt5.PubAckPacket: Requests.puback,
    mqtt5.PubRecPacket: Requests.pubrec,
    mqtt5.PubRelPacket: Requests.pubrel,
    mqtt5.PubCompPacket: Requests.pubcomp,
    mqtt5.SubscribePacket: Requests.subscribe,
    mqtt5.UnsubscribePacket: Requests.unsubscribe,
    mqtt5.PingReqPacket: Requests.ping,
    mqtt5.DisconnectPacket: Requests.disconnect,
}
"""By packet type. What is not here no client sends, or not twice: CONNECT, AUTH, and the server's own."""
