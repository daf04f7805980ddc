"""Engines of the ports on SQL databases, by SQLAlchemy Core: SQLite now; the same schema serves PostgreSQL."""
