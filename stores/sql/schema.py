"""The tables, in two chains of migrations: `LOG` is written by lane owners and bridges, `APP` by the services.

Rules
- Every change here has its migration in `migrations/`; a test compares the two.
- Names need no quoting and types are those that SQLite and PostgreSQL share. Times are ms UTC, BIGINT.
- Tables that are read by key prefix are clustered by it (`WITHOUT ROWID` on SQLite; elsewhere it means nothing).
- Nothing refers to anything by foreign key: one writer writes an entry's parts together, in one transaction.
"""

import enum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

LOG: Final = MetaData()
APP: Final = MetaData()


class Chain(enum.Enum):
    """A set of tables that is migrated together; the value names its folder and its version table."""

    LOG = "log"
    APP = "app"

    @property
    def metadata(self) -> MetaData:
        """The chain's tables."""
        return LOG if self is Chain.LOG else APP


def _key(name: str, kind: Any = Text) -> Column[Any]:
    # BIGINT would cost SQLite's automatic numbering and nothing else, so keys say plainly that they have none.
    return Column(name, kind, primary_key=True, nullable=False, autoincrement=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _big(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _number() -> Column[int]:
    # SQLite numbers INTEGER keys alone; PostgreSQL's INTEGER would end at 2^31.
    kind = BigInteger().with_variant(Integer, "sqlite")
    return Column("number", kind, primary_key=True, autoincrement=True)


def _probe(metadata: MetaData) -> Table:
    return Table("probe", metadata, _key("id", Integer), _big("tried"))


def _unless_empty(column: str) -> ColumnElement[bool]:
    return text(f"{column} <> ''")  # type: ignore[return-value]


journal = Table(
    "journal",
    LOG,
    _key("grp"),
    _key("n", BigInteger),
    _big("at"),
    _flag("fence"),
    _big("published"),
    _bytes("body"),  # MessagePack of the `JournalEntry`
)
Index("journal_published", journal.c.grp, journal.c.published)

log_rows = Table(
    "log_rows",
    LOG,
    _key("conv"),
    _key("seq", BigInteger),
    _text("id"),
    _text("sender"),
    _text("device"),
    _big("at"),
    _text("kind"),
    _bytes("payload"),
    _bytes("digest"),
    _text("hidden_for"),  # user ids with a space between
    sqlite_with_rowid=False,
)

message_ids = Table(
    "message_ids",
    LOG,
    _key("conv"),
    _key("sender"),
    _key("device"),
    _key("id"),
    _big("seq"),
    _bytes("digest"),
    _big("at"),
    sqlite_with_rowid=False,
)

conversations = Table(
    "conversations",
    LOG,
    _key("conv"),
    _text("kind"),
    _big("head"),
    _big("receipts"),
    _big("first_seq"),
    _text("name"),
    _text("description"),
    _flag("history"),
    _big("created_at"),
    _text("created_by"),
    sqlite_with_rowid=False,
)

members = Table(
    "members",
    LOG,
    _key("conv"),
    _key("member"),
    _text("role"),
    _text("windows"),  # JSON: [[first, last], ...]
    sqlite_with_rowid=False,
)
Index("members_of_user", members.c.member, members.c.conv)

marks = Table(
    "marks",
    LOG,
    _key("conv"),
    _key("member"),
    _key("kind"),
    _big("seq"),
    sqlite_with_rowid=False,
)

mark_moves = Table(
    "mark_moves",
    LOG,
    _key("conv"),
    _key("member"),
    _key("kind"),
    _key("to_seq", BigInteger),
    _big("from_seq"),
    _big("at"),
    _big("version"),
    _flag("shown"),
    sqlite_with_rowid=False,
)

dead_letters = Table(
    "dead_letters",
    LOG,
    _number(),
    _text("grp"),
    _text("topic"),
    _bytes("payload"),
    _text("code"),
    _text("reason"),
    _big("at"),
    sqlite_autoincrement=True,
)

last_seen = Table("last_seen", LOG, _key("member"), _big("at"), sqlite_with_rowid=False)

_probe(LOG)

users = Table(
    "users",
    APP,
    _key("id"),
    _text("phone"),
    _text("name"),
    _big("created_at"),
    _flag("banned"),
    _flag("hides_read"),
)
Index(
    "users_by_phone",
    users.c.phone,
    unique=True,
    sqlite_where=_unless_empty("phone"),
    postgresql_where=_unless_empty("phone"),
)

devices = Table(
    "devices",
    APP,
    _key("owner"),
    _key("id"),
    _text("name"),
    _text("role"),
    _big("created_at"),
    _big("revoked_at"),
    _big("tokens_from"),
)

blocks = Table("blocks", APP, _key("owner"), _key("blocked"), _big("at"))

verifications = Table(
    "verifications",
    APP,
    _key("id"),
    _text("phone"),
    _text("address"),
    _text("name"),
    _bytes("code_hash"),
    _big("created_at"),
    _big("expires_at"),
    _big("tries_left"),
    _flag("used"),
)
Index("verifications_by_phone", verifications.c.phone, verifications.c.created_at)
Index("verifications_by_address", verifications.c.address, verifications.c.created_at)
Index("verifications_by_time", verifications.c.created_at)

refresh_tokens = Table(
    "refresh_tokens",
    APP,
    _key("hash", LargeBinary),
    _text("family"),
    _text("owner"),
    _text("device"),
    _big("expires_at"),
    _big("used_at"),
)
Index("refresh_tokens_by_family", refresh_tokens.c.family)
Index("refresh_tokens_by_expiry", refresh_tokens.c.expires_at)

policy = Table("policy", APP, _key("id", Integer), _big("version"))

_probe(APP)
