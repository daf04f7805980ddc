"""Queries of the message log, each on one committed state; and what stands in a table as the ports' values.

Rules: nothing above a conversation's stored head is shown; results are ordered as the ports say.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from stores.ports.entries import Conversation, IdKey, IdRecord, MarkMove, Member, Row, Snapshot, Window
from stores.ports.log import HeadOf
from stores.sql.schema import conversations, log_rows, marks, members, message_ids
from stores.visible import receipts_told, span
from tidings.protocol.ids import ConvId, UserId

_TAIL: Final = 100
_windows: Final = msgspec.json.Decoder(tuple[Window, ...])

_MOVES: Final = (
    "SELECT m.conv, m.member, m.kind, m.to_seq, m.from_seq, m.at, m.version, m.shown FROM marks k"
    " JOIN mark_moves m ON m.conv = k.conv AND m.member = k.member AND m.kind = k.kind AND m.to_seq ="
    " (SELECT MIN(x.to_seq) FROM mark_moves x"
    " WHERE x.conv = k.conv AND x.member = k.member AND x.kind = k.kind AND x.to_seq >= ?)"
    " WHERE k.conv = ? AND m.from_seq < ? ORDER BY m.version"
)
"""A member's moves of a kind are disjoint and rise, so the first that ends at or above a seq alone can cover it."""


def rows(connection: Connection, conv: ConvId, low: int, high: int) -> list[Row]:
    """Read rows `low … high`, cut at the stored head."""
    head = select(conversations.c.head).where(conversations.c.conv == conv).scalar_subquery()
    found = connection.execute(
        select(log_rows)
        .where(log_rows.c.conv == conv, log_rows.c.seq >= low, log_rows.c.seq <= high, log_rows.c.seq <= head)
        .order_by(log_rows.c.seq)
    )
    return [_row(values) for values in found]


def header(connection: Connection, conv: ConvId) -> Snapshot | None:
    """Read header, members and marks; None when the conversation does not exist."""
    found = connection.execute(select(conversations).where(conversations.c.conv == conv)).first()
    if found is None:
        return None
    moved = connection.execute(select(marks).where(marks.c.conv == conv))
    return Snapshot(
        conversation=_conversation(tuple(found)),
        members=tuple(members_of(connection, conv)),
        marks={(UserId(mark.member), mark.kind): mark.seq for mark in moved},
        tail=(),
        ids=(),
        ids_whole=False,
    )


def snapshot(connection: Connection, conv: ConvId, ids_since: int, ids_most: int) -> Snapshot | None:
    """Read all that an owner needs."""
    found = header(connection, conv)
    if found is None:
        return None
    head = found.conversation.head
    ids = _ids(connection, conv, ids_since, ids_most + 1)
    return msgspec.structs.replace(
        found,
        tail=tuple(rows(connection, conv, head - _TAIL + 1, head)),
        ids=tuple(reversed(ids[:ids_most])),
        ids_whole=len(ids) <= ids_most,
    )


def find_id(connection: Connection, key: IdKey) -> IdRecord | None:
    """Look one key up."""
    c = message_ids.c
    found = connection.execute(
        select(message_ids).where(c.conv == key.conv, c.sender == key.user, c.device == key.device, c.id == key.id)
    ).first()
    return None if found is None else _record(tuple(found))


def heads(connection: Connection, user: UserId, after: str, limit: int) -> list[HeadOf]:
    """List a user's conversations above `after`."""
    found = connection.execute(
        select(members, conversations.c.head, conversations.c.receipts)
        .join(conversations, conversations.c.conv == members.c.conv)
        .where(members.c.member == user, members.c.conv > after)
        .order_by(members.c.conv)
        .limit(limit)
    )
    return [_head(_member(values[:4]), *values[4:]) for values in found]


def moves(connection: Connection, conv: ConvId, seq: int) -> list[MarkMove]:
    """List the moves that covered entry `seq`."""
    return [_move(tuple(values)) for values in connection.exec_driver_sql(_MOVES, (seq, conv, seq))]


def members_of(connection: Connection, conv: ConvId) -> list[Member]:
    """List all members, present and past, by user id."""
    found = connection.execute(select(members).where(members.c.conv == conv).order_by(members.c.member))
    return [_member(values) for values in found]


def _ids(connection: Connection, conv: ConvId, since: int, limit: int) -> list[IdRecord]:
    c = message_ids.c
    found = connection.execute(
        select(message_ids).where(c.conv == conv, c.at >= since).order_by(c.seq.desc()).limit(limit)
    )
    return [_record(tuple(values)) for values in found]


def _row(values: Iterable[Any]) -> Row:
    conv, seq, id_, sender, device, at, kind, payload, digest, hidden = values
    return Row(conv, seq, id_, sender, device, at, kind, payload, digest, tuple(hidden.split()))


def _member(values: Iterable[Any]) -> Member:
    conv, user, role, windows = values
    return Member(conv, user, role, _windows.decode(windows))


def _conversation(values: tuple[Any, ...]) -> Conversation:
    return Conversation(*values)


def _record(values: tuple[Any, ...]) -> IdRecord:
    conv, sender, device, id_, seq, digest, at = values
    return IdRecord(IdKey(conv, sender, device, id_), seq, digest, at)


def _move(values: tuple[Any, ...]) -> MarkMove:
    conv, user, kind, to, from_, at, version, shown = values
    return MarkMove(conv, user, kind, from_, to, at, version, bool(shown))


def _head(member: Member, head: int, receipts: int) -> HeadOf:
    first, last = span(member, head)
    return HeadOf(member.conv, first, last, receipts_told(member, receipts))
