"""From what the store holds to sessions, after a start.

Rules
- A session that was connected when the process ended begins to expire now.
- QoS 1 messages begin again without DUP: whether they were ever sent is not written down. Those of QoS 2 in flight
  keep their packet ids, which is what makes them come once.
"""

from collections import defaultdict

from broker.embedded.exchange import Exchange, lifetime
from broker.embedded.messages import Message
from broker.embedded.records import MessageRecord, RowRecord, Saved, SessionRecord
from broker.embedded.sessions import Outgoing, Queued, Session
from broker.embedded.tickets import Answer


def restore(exchange: Exchange, saved: Saved, now: int) -> list[Session]:
    """Put everything saved back, and list the sessions."""
    rows: dict[str, list[Queued]] = defaultdict(list)
    for row in sorted(saved.rows, key=lambda row: row.row):
        rows[row.client_id].append(_queued(row))
    for record in saved.retained:
        exchange.retained.put(_message(record, retain=True))
    sessions = []
    for one in saved.sessions:
        session = _session(one, now)
        exchange.restore(session, rows.pop(session.client_id, []))
        sessions.append(session)
    return sessions


def _session(record: SessionRecord, now: int) -> Session:
    session = Session(record.client_id, custodian=record.custodian, expiry=record.expiry)
    session.expires_at = record.expires_at or lifetime(record.expiry, now)
    session.dropped = record.dropped
    for one in record.subscriptions:
        session.subscriptions[f"$share/{one.share}/{one.filter}" if one.share else one.filter] = one
    for packet_id in record.received:
        answer = Answer(None, packet_id, 2)
        answer.is_taken = True
        answer.release()
        session.received[packet_id] = answer
    return session


def _queued(row: RowRecord) -> Queued:
    queued = Queued(_message(row.message, retain=False), row.way, row.row)
    queued.packet_id = row.packet_id
    if row.released:
        queued.state = Outgoing.RELEASED
    return queued


def _message(record: MessageRecord, *, retain: bool) -> Message:
    return Message(record.topic, record.payload, record.qos, retain, record.expires_at, record.properties)
