"""A process that commits entries of one group, one after the other, and prints each `n` once it is committed.

Usage: python -m tests.integration.stores.committer FILE
"""

import asyncio
import sys
from pathlib import Path

from stores.ports.log import Outcome
from stores.sql.engine import SqlEngine
from stores.sql.log import SqlLog
from stores.sql.schema import Chain
from tests.conformance.stores.entries import CONV, A, entry, row


async def main(file: Path) -> None:
    """Commit until killed."""
    engine = SqlEngine(file, Chain.LOG)
    await engine.start()
    log = SqlLog(engine)
    opened = await log.open(A, "committer", 0)
    found = await log.header(CONV)
    seq = found.conversation.head if found else 0
    n = opened.next_n
    while True:
        rows = [row(seq + 1 + at, payload=bytes(500)) for at in range(20)]
        assert await log.commit(entry(n, *rows, epoch=opened.epoch)) is Outcome.COMMITTED
        seq = rows[-1].seq
        print(n, seq, flush=True)
        n += 1


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
