"""Accounts: users, devices, blocks, verifications, refresh tokens, and the policy's version."""

import sqlalchemy as sa
from alembic import op

revision = "app0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    _people()
    _logins()
    op.create_table(
        "probe",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tried", sa.BigInteger, nullable=False),
    )


def _people() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("phone", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("banned", sa.Boolean, nullable=False),
        sa.Column("hides_read", sa.Boolean, nullable=False),
    )
    named = sa.text("phone <> ''")
    op.create_index("users_by_phone", "users", ["phone"], unique=True, sqlite_where=named, postgresql_where=named)
    op.create_table(
        "devices",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger, nullable=False),
        sa.Column("tokens_from", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "blocks",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("blocked", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def _logins() -> None:
    op.create_table(
        "verifications",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("phone", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("code_hash", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("tries_left", sa.BigInteger, nullable=False),
        sa.Column("used", sa.Boolean, nullable=False),
    )
    op.create_index("verifications_by_phone", "verifications", ["phone", "created_at"])
    op.create_index("verifications_by_address", "verifications", ["address", "created_at"])
    op.create_index("verifications_by_time", "verifications", ["created_at"])
    op.create_table(
        "refresh_tokens",
        sa.Column("hash", sa.LargeBinary, primary_key=True),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("device", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
    )
    op.create_index("refresh_tokens_by_family", "refresh_tokens", ["family"])
    op.create_index("refresh_tokens_by_expiry", "refresh_tokens", ["expires_at"])
    op.create_table(
        "policy",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.execute(sa.text("INSERT INTO policy (id, version) VALUES (1, 1)"))
