"""From a message to the sessions that want it, and from their queues to their outlets.

Rules
- A device's message for one of ours (a custodian) is not stored: the device's answer is withheld until every custodian
  session that matched has acknowledged it, so the device itself is what keeps it.
- Every other message for a kept session has a row in the store, and its publisher's answer waits for that, or for the
  receiver's acknowledgement if it is sooner.
- All queues together are bounded as well; beyond that every queue is full.
- A full queue drops the newest message: what is queued before it stays an unbroken beginning, and dropping costs no
  write. It is counted, and the client is told to sync when it is back, or has taken its queue. Nobody else is delayed.
- Where a custodian's queue is full nothing is dropped: `full` says so before anything is done, and the sender is not
  read from until there is room.
- QoS 0 is handed over now or not at all.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from broker.embedded.connection import Connection
from broker.embedded.counts import Counts
from broker.embedded.ledger import Ledger
from broker.embedded.local import Local
from broker.embedded.messages import Delivery, Message
from broker.embedded.retained import Retained
from broker.embedded.sessions import NEVER, Outgoing, Queued, Session, Subscription
from broker.embedded.subscriptions import Matches, Subscriptions
from broker.embedded.tickets import Answer, Ticket
from broker.port import Limits

_PLAIN: Final = tuple(Delivery(qos) for qos in range(3))


class Exchange:
    """Sessions, subscriptions, retained messages and what is owed to the store."""

    def __init__(self, limits: Limits, now: int, last_row: int = 0) -> None:
        self.limits = limits
        self.counts = Counts()
        self.ledger = Ledger(now, last_row)
        self.subscriptions = Subscriptions()
        self.retained = Retained(limits.retained_messages, limits.retained_bytes)
        self.sessions: dict[str, Session] = {}
        self.dirty: dict[int, Connection | Local] = {}
        self.held_up: dict[str, dict[int, Connection]] = {}
        self.resumed: deque[Connection] = deque()
        self.drained: list[Session] = []
        self.queued_bytes = 0

    @property
    def now(self) -> int:
        """The core's time, ms."""
        return self.ledger.now

    @now.setter
    def now(self, now: int) -> None:
        self.ledger.now = now

    # Messages in.

    def fits(self, topic: str) -> bool:
        """Tell whether a topic, or a filter, is within the limits. What is not is never kept, nor looked up."""
        return len(topic) <= self.limits.topic_chars and topic.count("/") < self.limits.topic_levels

    def full(self, found: Matches) -> Session | None:
        """Find a custodian session among these that has no room."""
        for session in found.sessions:
            if session.custodian and not session.has_room(0, self.limits.queue_messages, self.limits.queue_bytes):
                return session
        return None

    def route(
        self, found: Matches, message: Message, publisher: Session | None, ticket: Ticket | None, *, withhold: bool
    ) -> None:
        """Bring a message to everybody found who wants it. `ticket` waits as the rules say; `withhold`: its publisher
        keeps what custodians have not acknowledged."""
        if not found.sessions and not found.shared:
            self.counts.unrouted += 1
            return
        for session, subscriptions in found.sessions.items():
            way = _way(message, subscriptions, session is publisher)
            if way is not None:
                self._offer(session, message, way, ticket, withhold)
        for shared in found.shared:
            members = shared.in_turn()
            chosen = next((one for one in members if one[0].outlet is not None), members[0])
            way = _way(message, [chosen[1]], False)
            if way is not None:
                self._offer(chosen[0], message, way, ticket, withhold)

    def send_retained(self, session: Session, subscription: Subscription) -> None:
        """Queue the retained messages that a new subscription matches, marked as retained [MQTT-3.3.1-8]."""
        ids = (subscription.id,) if subscription.id else ()
        for message in self.retained.match(subscription.filter):
            if not message.is_expired(self.now):
                way = Delivery(min(message.qos, subscription.qos), True, ids)
                self._offer(session, message, way, None, False)

    def retain(self, message: Message) -> bool:
        """Keep a retained message, or delete by an empty one. False if there is no room."""
        if not message.payload:
            if self.retained.delete(message.topic):
                self.ledger.retain(message.topic, None)
            return True
        if not self.retained.put(message):
            self.counts.dropped += 1
            return False
        self.ledger.retain(message.topic, message)
        return True

    def tell(self, session: Session, message: Message) -> None:
        """Queue a notice of the broker's own for one session, full or not, if the session has subscribed its topic."""
        subscriptions = self.subscriptions.match(message.topic).sessions.get(session)
        way = _way(message, subscriptions, False) if subscriptions else None
        if way is not None and way.qos:
            self._add(session, Queued(message, way), None)

    def _offer(self, session: Session, message: Message, way: Delivery, ticket: Ticket | None, withhold: bool) -> None:
        outlet = session.outlet
        if not way.qos:
            if outlet is not None and outlet.send_plain(message, way, self.now):
                self.counts.sent += 1
                self.touch(outlet)
            else:
                self.counts.dropped_plain += 1
            return
        if outlet is None and not session.expiry:
            return
        if withhold and session.custodian and ticket is not None:
            ticket.hold()
            queued = Queued(message, way, 0, ticket)
            self.queued_bytes += queued.size
            session.add(queued)
            if outlet is not None:
                self.pump(session)
            return
        queued = Queued(message, way)
        limits = self.limits
        if self.queued_bytes + queued.size > limits.all_queues_bytes or not session.has_room(
            queued.size, limits.queue_messages, limits.queue_bytes
        ):
            self._drop(session)
            return
        self._add(session, queued, ticket)

    def _add(self, session: Session, queued: Queued, ticket: Ticket | None) -> None:
        if session.expiry:
            self.ledger.put(session, queued)
            if ticket is not None:
                ticket.hold()
                queued.ticket = ticket
        self.queued_bytes += queued.size
        session.add(queued)
        if session.outlet is not None:
            self.pump(session)

    def _drop(self, session: Session) -> None:
        self.counts.dropped += 1
        if not session.dropped:
            session.dropped = True
            if session.is_kept:
                self.ledger.save(session)

    # Messages out.

    def touch(self, outlet: object) -> None:
        """Note that an outlet has something to hand over."""
        if isinstance(outlet, Connection | Local):
            self.dirty[outlet.number] = outlet

    def pump(self, session: Session) -> None:
        """Send what is queued, as far as window and buffer allow."""
        outlet = session.outlet
        if outlet is None:
            return
        while outlet.is_ready and session.outstanding < outlet.window:
            item = session.next_in_line()
            if item is None:
                return
            queued, again = item
            if queued.state is Outgoing.RELEASED:
                outlet.release(queued.packet_id)
            elif not again and queued.message.is_expired(self.now):
                self.counts.expired += 1
                self._finish(session, queued)
            elif outlet.send(queued, self.now, again=again):
                self.counts.sent += 1
                if queued.way.qos == 2 and not again:
                    self.ledger.move(queued)
            else:
                self.counts.oversized += 1
                self._finish(session, queued)
            self.touch(outlet)

    def answered(self, session: Session, packet_id: int, answer: type, *, failed: bool = False) -> bool:
        """Apply a client's answer to a message, and send what there is room for now. False if nothing waited for it."""
        queued = session.answered(packet_id, answer, failed=failed)
        if queued is None:
            return False
        if queued.state is Outgoing.RELEASED:
            self.ledger.move(queued)
            if session.outlet is not None:
                session.outlet.release(packet_id)
                self.touch(session.outlet)
            return True
        self._finished(session, queued)
        if session.queue or session.again:
            self.pump(session)
        return True

    def _finish(self, session: Session, queued: Queued) -> None:
        session.remove(queued)
        self._finished(session, queued)

    def _finished(self, session: Session, queued: Queued) -> None:
        self.queued_bytes -= queued.size
        self.ledger.drop(queued)
        if session.dropped and not session.queue:
            self.drained.append(session)
        if session.client_id in self.held_up and session.has_room(
            0, self.limits.queue_messages * 9 // 10, self.limits.queue_bytes * 9 // 10
        ):
            self.resumed.extend(self.held_up.pop(session.client_id).values())

    # Sessions.

    def subscribe(self, session: Session, text: str, subscription: Subscription) -> bool:
        """Add a subscription under its text; True if it is a new one."""
        is_new = text not in session.subscriptions
        session.subscriptions[text] = subscription
        self.subscriptions.add(session, subscription)
        return is_new

    def unsubscribe(self, session: Session, text: str) -> bool:
        """Remove a subscription; False if there was none."""
        subscription = session.subscriptions.pop(text, None)
        if subscription is None:
            return False
        self.subscriptions.remove(session, subscription)
        return True

    def forget(self, session: Session) -> list[Connection]:
        """Delete a session with its queue. Gives the connections whose publishes it should have acknowledged: they must
        end, so that their clients send them again."""
        orphans: list[Connection] = []
        for queued in session.everything():
            self.queued_bytes -= queued.size
            if isinstance(queued.ticket, Answer) and not queued.row:
                if queued.ticket.connection is not None:
                    orphans.append(queued.ticket.connection)
                queued.ticket.is_lost = True
                queued.ticket = None
        self.subscriptions.remove_all(session, session.subscriptions.values())
        if session.is_kept:
            self.ledger.forget(session)
        for queued in session.everything():
            queued.settle()
        self.sessions.pop(session.client_id, None)
        self.resumed.extend(self.held_up.pop(session.client_id, {}).values())
        return orphans

    def restore(self, session: Session, queued: Iterable[Queued]) -> None:
        """Put a session from the store back, with its queue in order."""
        self.sessions[session.client_id] = session
        for subscription in session.subscriptions.values():
            self.subscriptions.add(session, subscription)
        for one in queued:
            self.queued_bytes += one.size
            session.queued_bytes += one.size
            if one.packet_id:
                session.inflight[one.packet_id] = one
            else:
                session.queue.append(one)


def _way(message: Message, subscriptions: list[Subscription], own: bool) -> Delivery | None:
    """Tell how a message goes to a session, by all of its subscriptions that match; None if not at all."""
    if len(subscriptions) == 1:
        one = subscriptions[0]
        if own and one.no_local:
            return None
        if not one.id and not (message.retain and one.retain_as_published):
            return _PLAIN[min(message.qos, one.qos)]
    wanted = [one for one in subscriptions if not (own and one.no_local)]
    if not wanted:
        return None
    qos = min(message.qos, max(one.qos for one in wanted))
    retain = message.retain and any(one.retain_as_published for one in wanted)
    return Delivery(qos, retain, tuple(one.id for one in wanted if one.id))


def lifetime(expiry: int, now: int) -> int | None:
    """Tell when a session ends whose connection ends now, ms; None for never."""
    return None if expiry == NEVER else now + expiry * 1000
