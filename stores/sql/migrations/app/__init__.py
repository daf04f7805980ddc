"""Migrations of the services' tables."""
