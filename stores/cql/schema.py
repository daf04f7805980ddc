"""The tables, in CQL that ScyllaDB and Cassandra both accept, and the steps that lead to them.

Rules
- No option that only one engine knows (tablets, tombstone_gc, …). A keyspace that is there already is taken as it is:
  whoever needs such an option creates it beforehand.
- A step, once released, never changes; every statement may be run again, so that a migration cut short is begun anew.
- What is written as a whole is one cell (a blob, MessagePack): two writes of it never mix. Only marks and heads are
  cells of their own, for their timestamp is their own value.
- Write timestamps are the entries' numbers, not times: windows of time (TimeWindowCompactionStrategy) would be wrong.
- The id index forgets by itself. Rows never do, and journals only by `CqlLog.prune`.
"""

import re
from typing import Final

from stores.cql.driver import Ask, CqlSession
from tidings.protocol import limits

ID_SECONDS: Final = limits.ID_KEPT_SECONDS + 86_400
"""Life of a record of the id index, from its writing. Promised are seven days from the row's time; the eighth is for
clocks that differ, and for an owner that wrote it long after it read its clock."""

TABLES: Final = (
    # A conversation's rows; `bucket = seq // 1,000`. Several epochs at a seq: the highest, not above the head, counts.
    "rows (conv text, bucket bigint, seq bigint, epoch bigint, row blob, PRIMARY KEY ((conv, bucket), seq, epoch))",
    # The commits. A slot is a partition of consecutive `n`; `sealed` bars a pruned slot against late appends for ever.
    "journal (lane_group text, slot bigint, n bigint, sealed boolean static, entry blob,"
    " PRIMARY KEY ((lane_group, slot), n))",
    # Where journals stand: `published` with itself as timestamp, `pruned`: slots below it are sealed.
    "positions (lane_group text PRIMARY KEY, published bigint, pruned bigint)",
    # A partition is what one device says in one conversation in eight days: the limit on a user's messages bounds it.
    "ids (conv text, sender text, device text, id text, record blob, PRIMARY KEY ((conv, sender, device), id))"
    f" WITH default_time_to_live = {ID_SECONDS}",
    "lists (member text, conv text, PRIMARY KEY (member, conv))",
    "members (conv text, member text, entry blob, PRIMARY KEY (conv, member))",
    # One partition for where the marks stand (part 0, version 0) and how they got there (part 1, by version).
    "marks (conv text, part int, version bigint, member text, kind text, mark bigint, move blob,"
    " PRIMARY KEY (conv, part, version, member, kind))",
    # `head` has itself as timestamp, the rest the entry's number.
    "headers (conv text PRIMARY KEY, header blob, head bigint)",
)
STEPS: Final[tuple[tuple[str, ...], ...]] = (tuple(f"CREATE TABLE IF NOT EXISTS {{keyspace}}.{of}" for of in TABLES),)
"""Statements by version, from 1."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")


class SchemaTooNew(Exception):
    """The keyspace was migrated by a later release: run that one."""


async def migrate(session: CqlSession, keyspace: str, *, replicas: int, datacenter: str) -> int:
    """Make the keyspace what this release needs; tells its version. To be run by one process at a time; again does
    nothing. Raises `StoreUnavailable` (begin anew), `SchemaTooNew`, `ValueError` (a keyspace's name that is none)."""
    _check_name(keyspace)
    await session.define(
        f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication ="
        f" {{'class': 'NetworkTopologyStrategy', '{_check_datacenter(datacenter)}': {int(replicas)}}}"
    )
    await session.define(f"CREATE TABLE IF NOT EXISTS {keyspace}.about (name text PRIMARY KEY, value bigint)")
    done = await version(session, keyspace)
    if done > len(STEPS):
        raise SchemaTooNew(f"keyspace {keyspace} is at version {done}, this release knows {len(STEPS)}")
    note = await session.prepare(f"INSERT INTO {keyspace}.about (name, value) VALUES ('version', ?)", Ask.WRITE)  # noqa: S608
    for number, step in enumerate(STEPS[done:], done + 1):
        for statement in step:
            await session.define(statement.format(keyspace=keyspace))
        await session.execute(note, (number,))
    return len(STEPS)


async def version(session: CqlSession, keyspace: str) -> int:
    """Read which steps a keyspace has behind it. 0: none. Raises `StoreUnavailable`, also when it is not there."""
    _check_name(keyspace)
    ask = await session.prepare(f"SELECT value FROM {keyspace}.about WHERE name = 'version'", Ask.READ)  # noqa: S608
    found = await session.execute(ask, ())
    return int(found[0][0]) if found else 0


def _check_name(keyspace: str) -> None:
    if not _NAME.fullmatch(keyspace):
        raise ValueError(f"a keyspace is named by a-z, 0-9 and _, at most 48: {keyspace!r}")


def _check_datacenter(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise ValueError(f"not a data centre's name: {name!r}")
    return name
