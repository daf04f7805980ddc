"""How connections are made: SQLite's settings, and the watch over its file.

Rules
- A write transaction is `BEGIN IMMEDIATE`, so it waits for the lock at its start or not at all.
- Only `create` may make a file. Later connections open what is there: a store that lost its file is unavailable, it
  does not begin anew; and a connection whose file was replaced below it is not written to.
"""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from tidings.protocol.errors import StoreUnavailable

_SETTINGS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = 1",  # macOS: plain fsync leaves data in the drive's cache
    "PRAGMA checkpoint_fullfsync = 1",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -32768",
    "PRAGMA temp_store = MEMORY",
)
_STATEMENTS_KEPT: Final = 256
_CREATING_MS: Final = 30_000
_WAL_RETRY_SECONDS: Final = 0.02


class SqliteFile:
    """Makes connections to one SQLite file. `busy_ms` is how long a connection waits for another's lock."""

    def __init__(self, path: Path, *, busy_ms: int) -> None:
        self.path = path
        self._writing = self._engine("rw", "BEGIN IMMEDIATE", busy_ms=busy_ms)
        self._reading = self._engine("rw", "BEGIN", busy_ms=busy_ms)
        self._inode = 0

    def create(self) -> Connection:
        """Open for migrating; make the file, and the folder, if absent. Waits long: another process may be at it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._engine("rwc", "BEGIN IMMEDIATE", busy_ms=_CREATING_MS).connect()
        self._inode = os.stat(self.path).st_ino
        return connection

    def writer(self) -> Connection:
        """Open for writing."""
        self.check()
        return self._writing.connect()

    def reader(self) -> Connection:
        """Open for reading."""
        return self._reading.connect()

    def check(self) -> None:
        """Raise `StoreUnavailable` unless the file is still the one that was opened at the start."""
        try:
            inode = os.stat(self.path).st_ino
        except OSError as error:
            raise StoreUnavailable(f"{self.path.name}: {error.strerror}") from error
        if inode != self._inode:
            raise StoreUnavailable(f"{self.path.name} was replaced while in use")

    def _engine(self, mode: str, begin: str, *, busy_ms: int) -> Engine:
        def connect() -> sqlite3.Connection:
            return _connect(f"file:{quote(str(self.path))}?mode={mode}", busy_ms)

        engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine


def _connect(uri: str, busy_ms: int) -> sqlite3.Connection:
    # isolation_level None: the driver begins nothing by itself. Connections pass between threads, one at a time.
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=busy_ms / 1000,
        cached_statements=_STATEMENTS_KEPT,
    )
    try:
        _use_wal(connection, time.monotonic() + busy_ms / 1000)
        for setting in _SETTINGS:
            connection.execute(setting)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, deadline: float) -> None:
    # Changing the mode does not honour the busy time-out, so two first starts at once would fail one of them.
    while True:
        try:
            mode: Any = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_WAL_RETRY_SECONDS)
            continue
        if mode != "wal":
            raise sqlite3.OperationalError(f"this folder's file system cannot keep a write-ahead log (mode {mode})")
        return
