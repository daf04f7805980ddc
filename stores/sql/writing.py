"""The write path's transaction: many groups' entries at once, each committed or fenced.

Rules
- Appending `(group, n)` if absent is the commit; what it commits is written in the same transaction.
- The connection holds the write lock, so what was read stays true until COMMIT.
- Derived things never go back: heads, receipt versions and marks only rise.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from stores.ports.entries import JournalEntry
from stores.ports.log import Outcome
from stores.sql import statements
from tidings.protocol.ids import Group

_body: Final = msgspec.msgpack.Encoder()
_entry: Final = msgspec.msgpack.Decoder(JournalEntry)
_windows: Final = msgspec.json.Encoder()

_FORGET: Final = "DELETE FROM message_ids WHERE conv = ? AND sender = ? AND device = ? AND id = ? AND seq = ?"
_STANDING: Final = "SELECT body FROM journal WHERE grp = ? AND n = ?"


def encoded(entry: JournalEntry) -> bytes:
    """Tell the entry's bytes, as the journal keeps them: the same entry has the same bytes."""
    return _body.encode(entry)


def decoded(body: bytes) -> JournalEntry:
    """Tell the entry of these bytes."""
    return _entry.decode(body)


def commit_all(connection: Connection, entries: Sequence[JournalEntry]) -> list[Outcome]:
    """Commit the entries; tell what became of each."""
    bodies: dict[tuple[Group, int], bytes] = {}
    fresh: list[JournalEntry] = []
    outcomes: list[Outcome] = []
    for entry in entries:
        place, body = (entry.group, entry.n), encoded(entry)
        standing = bodies.get(place) or _standing(connection, place)
        if standing is None:
            bodies[place] = body
            fresh.append(entry)
        outcomes.append(Outcome.COMMITTED if standing in (None, body) else Outcome.FENCED)
    append(connection, [(entry, bodies[entry.group, entry.n]) for entry in fresh])
    _write(connection, fresh)
    return outcomes


def append(connection: Connection, entries: Sequence[tuple[JournalEntry, bytes]]) -> None:
    """Append entries to their journals, where nothing stands."""
    statements.JOURNAL.do(
        connection,
        [(entry.group, entry.n, entry.at, entry.fence, entry.published, body) for entry, body in entries],
    )


def forget_ids(connection: Connection, entries: Iterable[JournalEntry]) -> None:
    """Delete the ids of the entries' rows from the index, unless a later row has taken them over."""
    keys = [(row.conv, row.sender, row.device, row.id, row.seq) for entry in entries for row in entry.rows]
    if keys:
        connection.exec_driver_sql(_FORGET, keys)


def _standing(connection: Connection, place: tuple[Group, int]) -> bytes | None:
    cursor = statements.driver(connection)
    cursor.execute(_STANDING, place)
    found = cursor.fetchone()
    return None if found is None else found[0]


def _write(connection: Connection, entries: Sequence[JournalEntry]) -> None:
    rows = [row for entry in entries for row in entry.rows]
    marks = [move for entry in entries for move in entry.marks]
    statements.ROWS.do(
        connection,
        [
            (r.conv, r.seq, r.id, r.sender, r.device, r.at, r.kind, r.payload, r.digest, " ".join(r.hidden_for))
            for r in rows
        ],
    )
    statements.IDS.do(connection, [(r.conv, r.sender, r.device, r.id, r.seq, r.digest, r.at) for r in rows if r.id])
    statements.MEMBERS.do(connection, list(_members(entries)))
    statements.MARKS.do(connection, [(m.conv, m.user, m.kind, m.to) for m in marks])
    statements.MOVES.do(connection, [(m.conv, m.user, m.kind, m.to, m.from_, m.at, m.version, m.shown) for m in marks])
    statements.CONVERSATIONS.do(connection, list(_headers(entries)))


def _members(entries: Iterable[JournalEntry]) -> Iterable[tuple[Any, ...]]:
    for entry in entries:
        for m in entry.members:
            yield m.conv, m.user, m.role, _windows.encode(m.windows).decode()


def _headers(entries: Iterable[JournalEntry]) -> Iterable[tuple[Any, ...]]:
    for entry in entries:
        for c in entry.conversations:
            yield (
                c.conv,
                c.kind,
                c.head,
                c.receipts,
                c.first,
                c.name,
                c.description,
                c.history,
                c.created_at,
                c.created_by,
            )
