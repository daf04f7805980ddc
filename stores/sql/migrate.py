"""Brings a database's schema to this release, from code: no command line, no ini file.

Rules
- Runs inside the caller's write transaction, which is the lock: of two processes that start at once the second waits,
  then finds nothing to do. All of it happens, or nothing.
- A database written by a newer release is refused.
"""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from stores.sql.schema import Chain
from tidings.protocol.errors import StoreUnavailable

_HERE: Final = Path(__file__).parent / "migrations"


def migrate(connection: Connection, chain: Chain) -> None:
    """Apply the chain's missing migrations. Raises `StoreUnavailable` when the database is newer than this release."""
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", str(_HERE / chain.value).replace("%", "%%"))
    config.attributes.update(connection=connection, metadata=chain.metadata, version_table=f"alembic_{chain.value}")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreUnavailable(f"the {chain.value} database was written by another release: {error}") from error
