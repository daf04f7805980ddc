"""Cassandra 5 as the CQL engine of tests and trials: its jars by Maven, its nodes as plain processes on loopback."""
