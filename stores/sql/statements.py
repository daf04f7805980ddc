"""Prepared text of the statements of the write path: they run once a row, where building them would cost more.

Rules: text is built once, from the tables; parameters are tuples in the order of the columns. SQLite and PostgreSQL
understand the same text.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table
from sqlalchemy.engine.interfaces import DBAPICursor

from stores.sql import schema


def driver(connection: Connection) -> DBAPICursor:
    """Open a cursor of the driver itself, within the connection's transaction: a quarter of the cost of a statement.
    It raises the driver's own errors, which `faults` knows."""
    return connection.connection.cursor()


class Insert:
    """An INSERT of whole rows, `conflict` its ON CONFLICT clause. Doing it with no rows does nothing."""

    def __init__(self, table: Table, conflict: str = "") -> None:
        columns = [column.name for column in table.columns]
        places = ", ".join("?" for _ in columns)
        self._text: Final = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({places}) {conflict}"  # noqa: S608

    def do(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert the rows."""
        if rows:
            driver(connection).executemany(self._text, rows)


JOURNAL: Final = Insert(schema.journal)
ROWS: Final = Insert(schema.log_rows)
MOVES: Final = Insert(schema.mark_moves)
IDS: Final = Insert(
    schema.message_ids,
    "ON CONFLICT (conv, sender, device, id) DO UPDATE SET seq = excluded.seq, digest = excluded.digest,"
    " at = excluded.at",
)
MEMBERS: Final = Insert(
    schema.members, "ON CONFLICT (conv, member) DO UPDATE SET role = excluded.role, windows = excluded.windows"
)
MARKS: Final = Insert(
    schema.marks,
    "ON CONFLICT (conv, member, kind) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > marks.seq",
)
CONVERSATIONS: Final = Insert(
    schema.conversations,
    "ON CONFLICT (conv) DO UPDATE SET head = excluded.head, receipts = excluded.receipts,"
    " first_seq = excluded.first_seq, name = excluded.name, description = excluded.description,"
    " history = excluded.history"
    " WHERE excluded.head >= conversations.head AND excluded.receipts >= conversations.receipts",
)
LAST_SEEN: Final = Insert(
    schema.last_seen, "ON CONFLICT (member) DO UPDATE SET at = excluded.at WHERE excluded.at > last_seen.at"
)
