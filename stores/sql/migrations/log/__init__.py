"""Migrations of the message log's tables."""
