"""What a client keeps over restarts: its outbox and how far each conversation was delivered. SQLite, one file.

Rules: a put is durable when it returns (`synchronous=FULL`), so a message that was accepted for sending is sent some
day. Positions are written after the application has seen the entries: after a crash it may see one again, never miss
one.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from tidings.protocol.ids import ConvId, MessageId
from tidings.session import Position, Unsent

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS outbox (
        number INTEGER PRIMARY KEY, conv TEXT NOT NULL, id TEXT NOT NULL, entry BLOB NOT NULL, UNIQUE (conv, id));
    CREATE TABLE IF NOT EXISTS positions (conv TEXT PRIMARY KEY, position BLOB NOT NULL) WITHOUT ROWID;
"""
_unsent: Final = msgspec.json.Decoder(Unsent)
_position: Final = msgspec.json.Decoder(Position)


class Cache:
    """A device's own file; an `Outbox`. A context manager. The file's folder must exist."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def entries(self) -> Iterable[Unsent]:
        """List what waits to be sent, oldest first."""
        return [_unsent.decode(row[0]) for row in self._db.execute("SELECT entry FROM outbox ORDER BY number")]

    def put(self, entry: Unsent) -> None:
        """Keep a message, or replace it in its place."""
        self._db.execute(
            "INSERT INTO outbox (conv, id, entry) VALUES (?, ?, ?) "
            "ON CONFLICT (conv, id) DO UPDATE SET entry = excluded.entry",
            (entry.conv, entry.message.id, msgspec.json.encode(entry)),
        )

    def remove(self, conv: ConvId, message_id: MessageId) -> None:
        """Forget a message that was stored or refused."""
        self._db.execute("DELETE FROM outbox WHERE conv = ? AND id = ?", (conv, message_id))

    def positions(self) -> dict[ConvId, Position]:
        """Tell how far each conversation was delivered."""
        return {ConvId(conv): _position.decode(raw) for conv, raw in self._db.execute("SELECT * FROM positions")}

    def reached(self, conv: ConvId, position: Position) -> None:
        """Keep how far one conversation was delivered."""
        self._db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (conv, msgspec.json.encode(position)))
