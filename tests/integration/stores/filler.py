"""A process whose files may not grow: what a full disk does to a commit, and how the store heals.

Usage: python -m tests.integration.stores.filler FILE
"""

import asyncio
import resource
import sys
from pathlib import Path

from stores.ports.log import Outcome
from stores.sql.engine import SqlEngine
from stores.sql.log import SqlLog
from stores.sql.schema import Chain
from tests.conformance.stores.entries import CONV, A, entry, row
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable


async def main(file: Path) -> None:
    """Commit, let the disk be full, commit in vain, let it have room, and commit the same."""
    engine = SqlEngine(file, Chain.LOG)
    await engine.start()
    log = SqlLog(engine)
    opened = await log.open(A, "filler", 0)
    n = opened.next_n
    assert await log.commit(entry(n, row(1), epoch=opened.epoch)) is Outcome.COMMITTED
    given = entry(n + 1, *(row(seq, payload=bytes(60_000)) for seq in range(2, 30)), epoch=opened.epoch)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    grown = Path(f"{file}-wal").stat().st_size + 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (grown, hard))
    for _ in range(3):
        try:
            await log.commit(given)
        except (StoreUnavailable, OutcomeUnknown):
            continue
        raise SystemExit("a commit on a full disk was answered")
    assert await log.rows(CONV, 1, 99) == [row(1)], "reading must go on"
    assert await engine.check(), "health must tell"
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await log.commit(given) is Outcome.COMMITTED
    assert await log.rows(CONV, 1, 99) == [row(1), *given.rows]
    assert await engine.check() == []
    await engine.close()
    print("healed")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
