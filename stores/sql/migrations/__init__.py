"""Alembic's environment and, a folder a chain, the migrations. Run by `stores.sql.migrate`."""
