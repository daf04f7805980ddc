"""The session store on SQLite: `broker.db` in the data folder. The one file here that knows SQLite.

Rules
- One thread owns the connection and does all of it; the loop hands it batches and hears from it by
  `call_soon_threadsafe`.
- WAL with `synchronous=FULL` (and `fullfsync`, which macOS needs for the same): a batch is one transaction, durable
  when `done` is called. What gathered while one was written goes in the next, so the disk sets the batch's size.
- What cannot be opened or read is `StoreUnavailable`; a batch that fails was rolled back and may come again.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from broker.embedded.messages import Delivery
from broker.embedded.records import (
    DropRow,
    ForgetSession,
    MessageRecord,
    MoveRow,
    Operation,
    PutRow,
    Retain,
    RowRecord,
    Saved,
    SaveSession,
    SessionRecord,
)
from tidings.protocol.errors import StoreUnavailable

VERSION: Final = 1
"""Of the schema, in `PRAGMA user_version`."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS session (client_id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue (
    row INTEGER PRIMARY KEY, client_id TEXT NOT NULL, way BLOB NOT NULL, message BLOB NOT NULL,
    packet_id INTEGER NOT NULL, released INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, message BLOB NOT NULL) WITHOUT ROWID;
"""
_PRAGMAS: Final = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA fullfsync=ON",
    "PRAGMA busy_timeout=2000",
    "PRAGMA wal_autocheckpoint=2000",
    "PRAGMA journal_size_limit=16777216",  # a large batch does not leave its WAL behind for good
)

_SAVE: Final = "INSERT INTO session VALUES (?, ?) ON CONFLICT (client_id) DO UPDATE SET record = excluded.record"
_FORGET: Final = "DELETE FROM session WHERE client_id = ?"
_PUT: Final = "INSERT OR REPLACE INTO queue VALUES (?, ?, ?, ?, ?, ?)"
_MOVE: Final = "UPDATE queue SET packet_id = ?, released = ? WHERE row = ?"
_DROP: Final = "DELETE FROM queue WHERE row = ?"
_RETAIN: Final = "INSERT INTO retained VALUES (?, ?) ON CONFLICT (topic) DO UPDATE SET message = excluded.message"
_UNRETAIN: Final = "DELETE FROM retained WHERE topic = ?"

Done = Callable[[Exception | None], None]


class SqliteStore:
    """A `SessionStore` in a file. `load` is called once, in the loop that hears of the batches."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batches: queue.SimpleQueue[tuple[Sequence[Operation], Done] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._encode = msgspec.msgpack.Encoder().encode

    def load(self) -> Saved:
        """Open the file, made if need be, and read everything. Raises `StoreUnavailable`."""
        try:
            connection = self._open()
            saved = _read(connection)
        except (sqlite3.Error, OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
            raise StoreUnavailable(f"{self._path.name}: {error}") from error
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, args=(connection, loop), name="broker.db", daemon=True)
        self._thread.start()
        return saved

    def append(self, operations: Sequence[Operation], done: Done) -> None:
        """Hand a batch to the thread."""
        self._batches.put((operations, done))

    def close(self) -> None:
        """Wait until every batch is written, and close. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._batches.put(None)
            thread.join()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, VERSION):
            connection.close()
            raise StoreUnavailable(f"{self._path.name}: schema {version} is newer than this program's {VERSION}")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        return connection

    def _serve(self, connection: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
        while (batch := self._batches.get()) is not None:
            operations, done = batch
            error = self._write(connection, operations)
            try:
                loop.call_soon_threadsafe(done, error)
            except RuntimeError:  # the loop has ended, and with it whoever wanted to know
                break
        connection.close()

    def _write(self, connection: sqlite3.Connection, operations: Sequence[Operation]) -> Exception | None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement, rows in self._statements(operations):
                connection.executemany(statement, rows)
            connection.execute("COMMIT")
        except Exception as error:  # whatever it is, the thread goes on and the broker says that it cannot write
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return StoreUnavailable(f"{self._path.name}: {error}")
        return None

    def _statements(self, operations: Sequence[Operation]) -> list[tuple[str, list[tuple[Any, ...]]]]:
        """Group a batch by statement. Sessions are forgotten before they are saved; nothing else depends on order."""
        rows: dict[str, list[tuple[Any, ...]]] = {
            one: [] for one in (_FORGET, _SAVE, _PUT, _MOVE, _DROP, _UNRETAIN, _RETAIN)
        }
        for operation in operations:
            statement, row = self._statement(operation)
            rows[statement].append(row)
        return [(statement, some) for statement, some in rows.items() if some]

    def _statement(self, operation: Operation) -> tuple[str, tuple[Any, ...]]:
        encode = self._encode
        match operation:
            case PutRow(one):
                message = encode(one.message)
                return _PUT, (one.row, one.client_id, encode(one.way), message, one.packet_id, one.released)
            case DropRow(row):
                return _DROP, (row,)
            case MoveRow(row, packet_id, released):
                return _MOVE, (packet_id, released, row)
            case SaveSession(session):
                return _SAVE, (session.client_id, encode(session))
            case ForgetSession(client_id):
                return _FORGET, (client_id,)
            case Retain(topic, None):
                return _UNRETAIN, (topic,)
            case Retain(topic, message):
                return _RETAIN, (topic, encode(message))


def _read(connection: sqlite3.Connection) -> Saved:
    session = msgspec.msgpack.Decoder(SessionRecord).decode
    message = msgspec.msgpack.Decoder(MessageRecord).decode
    way = msgspec.msgpack.Decoder(Delivery).decode
    return Saved(
        tuple(session(record) for (record,) in connection.execute("SELECT record FROM session")),
        tuple(
            RowRecord(row, client_id, message(body), way(how), packet_id, bool(released))
            for row, client_id, how, body, packet_id, released in connection.execute("SELECT * FROM queue ORDER BY row")
        ),
        tuple(message(body) for (body,) in connection.execute("SELECT message FROM retained")),
    )
