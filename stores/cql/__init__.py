"""The message log on a store that keeps cells: ScyllaDB, Cassandra. `path` is the write path, `cells` what it needs."""
