"""`python -m bench.cql [--nodes 3]`: what the write path costs on Cassandra nodes started here, in a table.

Rules
- Nodes and load share this machine: an order of magnitude, not a capacity.
- A latency is one owner's, one commit after the other; the rate is of 16 owners at once, one a lane group.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.meter import machine
from ops.engines.cassandra.node import DATACENTER, Node, NodeFailed, fetch
from stores.cql import schema
from stores.cql.driver import CqlSession
from stores.cql.path import CqlLog
from stores.cql.tables import CqlCells
from stores.ports.entries import Conversation, JournalEntry, Opened, Row
from stores.ports.log import Outcome
from tests.processes import free_port
from tidings.protocol.ids import GROUPS, ConvId, DeviceId, Group, MessageId, UserId

RESULTS = Path(__file__).resolve().parent / "results"
PAYLOAD = bytes(200)
WARM, TIMES, SECONDS = 100, 400, 8.0
SENDER, DEVICE = UserId("00a1u" + "0" * 16), DeviceId("d000000001")


class Line(msgspec.Struct):
    """One measured thing. Latencies in ms."""

    what: str
    p50: float
    p99: float
    per_second: float
    unit: str


class Owner:
    """A group's owner that commits batches of so many rows to one conversation."""

    def __init__(self, log: CqlLog, group: Group, opened: Opened, rows: int) -> None:
        self._log = log
        self._group = group
        self._opened = opened
        self._rows = rows
        self._n = opened.next_n
        self._head = 0
        self._conv = ConvId(f"00{group}{rows % 10}g{group}{rows:025}")

    async def commit(self) -> None:
        """Commit the next batch."""
        assert await self._log.commit(self.entry()) is Outcome.COMMITTED

    def entry(self) -> JournalEntry:
        """Make the next batch."""
        first, self._head = self._head + 1, self._head + self._rows
        rows = tuple(
            Row(self._conv, seq, MessageId(f"m{seq}"), SENDER, DEVICE, 1, "text", PAYLOAD, bytes(16))
            for seq in range(first, self._head + 1)
        )
        header = (Conversation(self._conv, "g", self._head, 0),)
        n, self._n = self._n, self._n + 1
        return JournalEntry(
            self._group, n, self._opened.epoch, 1, rows=rows, conversations=header, published=max(n - 1, 0)
        )


def main() -> int:
    """Start the nodes, measure, print and keep the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.cql", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 2, 3), help="nodes, and copies of everything")
    parser.add_argument("--results", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    try:
        fetch()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            told = table(asyncio.run(measured(started(stack, folder, chosen.nodes))), chosen.nodes, folder)
    except NodeFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(told)
    chosen.results.mkdir(parents=True, exist_ok=True)
    (chosen.results / f"cql-{chosen.nodes}.md").write_text(told)
    return 0


def started(stack: ExitStack, folder: Path, many: int) -> list[Node]:
    """Start nodes one by one; they are stopped with the stack."""
    port, storage_port = free_port(), free_port()
    nodes = []
    for number in range(1, many + 1):
        node = Node(folder / str(number), port, storage_port, address=f"127.0.0.{number}", seed="127.0.0.1")
        stack.callback(node.stop)
        node.start()
        node.wait()
        nodes.append(node)
    return nodes


async def measured(nodes: Sequence[Node]) -> list[Line]:
    """Measure everything."""
    session = await CqlSession.connect([node.address for node in nodes], nodes[0].port, datacenter=DATACENTER)
    try:
        await schema.migrate(session, "bench", replicas=len(nodes), datacenter=DATACENTER)
        cells = await CqlCells.prepare(session, "bench")
        log = CqlLog(cells)
        opened = await log.open(GROUPS[0], "bench", 1)
        appender = Owner(log, GROUPS[0], opened, 1)
        lines = [
            await timed("journal append (LWT), 1 row", lambda: cells.append_journal(appender.entry()), 1, "entries")
        ]
        for rows in (1, 20, 200):
            owner = Owner(log, GROUPS[0], await log.open(GROUPS[0], "bench", 1), rows)
            lines.append(await timed(f"commit, {rows} rows, 1 owner", owner.commit, rows, "rows"))
        for rows in (1, 20, 200):
            owners = [Owner(log, group, await log.open(group, "bench", 1), rows) for group in GROUPS]
            lines.append(await together(f"commit, {rows} rows, 16 owners", owners, rows))
        return lines
    finally:
        await session.close()


async def timed(what: str, call: Callable[[], Awaitable[object]], each: int, unit: str) -> Line:
    """Time one call after the other."""
    for _ in range(WARM):
        await call()
    took = []
    for _ in range(TIMES):
        before = time.perf_counter()
        await call()
        took.append(time.perf_counter() - before)
    return line(what, took, each * len(took) / sum(took), unit)


async def together(what: str, owners: Sequence[Owner], rows: int) -> Line:
    """Let all owners commit for some seconds."""
    took: list[float] = []
    end = time.perf_counter() + SECONDS

    async def serve(owner: Owner) -> None:
        while (before := time.perf_counter()) < end:
            await owner.commit()
            took.append(time.perf_counter() - before)

    before = time.perf_counter()
    await asyncio.gather(*(serve(owner) for owner in owners))
    return line(what, took, rows * len(took) / (time.perf_counter() - before), "rows")


def line(what: str, took: Sequence[float], per_second: float, unit: str) -> Line:
    """Tell seconds as a line."""
    cuts = statistics.quantiles(took, n=100)
    return Line(what, cuts[49] * 1_000, cuts[98] * 1_000, per_second, unit)


def table(lines: Sequence[Line], nodes: int, folder: Path) -> str:
    """Tell lines as Markdown."""
    here = machine(folder)
    rows = "\n".join(
        f"| {one.what} | {one.p50:.1f} | {one.p99:.1f} | {one.per_second:,.0f} {one.unit} |" for one in lines
    )
    return (
        f"Cassandra 5.0.9, {nodes} node(s) with as many copies, 512 MB heap each, beside the load: {here.system},"
        f" {here.cores} cores, load average {here.load:.1f} at the end. Rows of {len(PAYLOAD)} bytes.\n\n"
        f"| what | p50 ms | p99 ms | a second |\n| --- | --- | --- | --- |\n{rows}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
