"""The write path over cells, step by step: what stands after each fault, and what a successor makes of it."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from stores.cql.path import KEPT_MS, CqlLog
from stores.ports.entries import (
    Conversation,
    Epoch,
    IdKey,
    JournalEntry,
    MarkMove,
    Member,
    Row,
    Window,
)
from stores.ports.log import HeadOf, Journal, LogReader, LogWriter, Outcome
from tests.simulation.cells import SimCells
from tests.simulation.loop import SimLoop, run
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable
from tidings.protocol.ids import ConvId, DeviceId, Group, MessageId, UserId

CONV = ConvId("0000g" + "0" * 26)
ALICE, BOB = UserId("0000u" + "0" * 15 + "1"), UserId("0000u" + "0" * 15 + "2")
PHONE = DeviceId("d000000001")
GROUP = Group("0")
Step = str


class Faulty(SimCells):
    """Cells where the test decides which request fails, and whether it lands first."""

    def __init__(self) -> None:
        super().__init__(random.Random(0))
        self.failing: dict[Step, Exception] = {}
        self.landing = False

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if not name.startswith("put_") and name != "append_journal":
            return value

        async def call(*args: Any) -> Any:
            if name not in self.failing:
                return await value(*args)
            if self.landing:
                await value(*args)
            raise self.failing[name]

        return call


def row(seq: int, id_: str = "", at: int = 1) -> Row:
    name = MessageId(id_ or f"m{seq}")
    return Row(CONV, seq, name, ALICE, PHONE, at, "text", name.encode(), b"digest", ())


def entry(n: int, epoch: int, *rows: Row, receipts: int = 0, marks: tuple[MarkMove, ...] = ()) -> JournalEntry:
    head = max((row.seq for row in rows), default=0)
    members = tuple(Member(CONV, user, "member", (Window(1),)) for user in (ALICE, BOB)) if head == len(rows) else ()
    header = Conversation(CONV, "g", head, receipts)
    return JournalEntry(GROUP, n, Epoch(epoch), 5, rows=rows, members=members, marks=marks, conversations=(header,))


def play(history: Callable[[Faulty, CqlLog], Awaitable[None]]) -> None:
    async def begin(_: SimLoop) -> None:
        cells = Faulty()
        await history(cells, CqlLog(cells, bucket=4))

    run(0, begin)


def test_a_fence_opens_an_epoch_and_shuts_the_last_one_out() -> None:
    async def history(cells: Faulty, log: CqlLog) -> None:
        first = await log.open(GROUP, "p1", 1)
        assert (first.epoch, first.next_n, first.unpublished) == (1, 2, ())
        second = await CqlLog(cells, 4).open(GROUP, "p2", 1)
        assert (second.epoch, second.next_n) == (2, 3)
        assert await log.commit(entry(2, 1, row(1))) is Outcome.FENCED
        assert await log.rows(CONV, 1, 9) == []

    play(history)


def test_a_commit_over_three_buckets_is_read_whole() -> None:
    async def history(cells: Faulty, log: CqlLog) -> None:
        await log.open(GROUP, "p1", 1)
        rows = [row(seq) for seq in range(1, 10)]
        assert await log.commit(entry(2, 1, *rows)) is Outcome.COMMITTED
        assert await log.rows(CONV, 0, 99) == rows
        assert await log.rows(CONV, 3, 8) == rows[2:8]
        assert await log.heads(BOB, "", 10) == [HeadOf(CONV, 1, 9, 0)]
        assert await log.heads(BOB, CONV, 10) == []
        found = await log.find_id(IdKey(CONV, ALICE, PHONE, MessageId("m9")))
        assert found is not None
        assert found.seq == 9

    play(history)


@pytest.mark.parametrize("landing", [False, True])
@pytest.mark.parametrize(
    "step", ["put_rows", "append_journal", "put_ids", "put_listed", "put_members", "put_marks", "put_head"]
)
def test_an_unknown_step_is_healed_by_the_same_bytes(step: Step, landing: bool) -> None:
    async def history(cells: Faulty, log: CqlLog) -> None:
        await log.open(GROUP, "p1", 1)
        move = MarkMove(CONV, BOB, "read", 0, 2, 5, 1)
        batch = entry(2, 1, row(1), row(2), receipts=1, marks=(move,))
        cells.failing, cells.landing = {step: OutcomeUnknown("time-out")}, landing
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await log.commit(batch)
        cells.failing = {}
        assert await log.commit(batch) is Outcome.COMMITTED
        assert [row.seq for row in await log.rows(CONV, 1, 9)] == [1, 2]
        assert await log.moves(CONV, 2) == [move]

    play(history)


@pytest.mark.parametrize("step", ["put_ids", "put_listed", "put_members", "put_head"])
def test_a_successor_finishes_what_was_committed(step: Step) -> None:
    async def history(cells: Faulty, log: CqlLog) -> None:
        await log.open(GROUP, "p1", 1)
        batch = entry(2, 1, row(1), row(2))
        cells.failing = {step: StoreUnavailable("down")}
        with pytest.raises(OutcomeUnknown):
            await log.commit(batch)
        assert await log.rows(CONV, 1, 9) == []
        cells.failing = {}
        opened = await CqlLog(cells, 4).open(GROUP, "p2", 9)
        assert opened.unpublished == (batch,)
        assert [row.seq for row in await log.rows(CONV, 1, 9)] == [1, 2]
        assert [head.head for head in await log.heads(ALICE, "", 9)] == [2]
        assert await log.find_id(IdKey(CONV, ALICE, PHONE, MessageId("m1"))) is not None

    play(history)


def test_refused_at_the_first_step_is_surely_not_done() -> None:
    async def history(cells: Faulty, log: CqlLog) -> None:
        await log.open(GROUP, "p1", 1)
        cells.failing = {"put_rows": StoreUnavailable("down")}
        with pytest.raises(StoreUnavailable):
            await log.commit(entry(2, 1, row(1)))
        cells.failing = {"put_rows": OutcomeUnknown("time-out")}
        with pytest.raises(OutcomeUnknown):
            await log.commit(entry(2, 1, row(1)))
        cells.failing = {"put_rows": StoreUnavailable("down")}
        with pytest.raises(OutcomeUnknown):
            await log.commit(entry(2, 1, row(1)))

    play(history)


def test_a_late_row_of_a_fenced_owner_is_never_the_row() -> None:
    async def history(cells: Faulty, log: CqlLog) -> None:
        await log.open(GROUP, "p1", 1)
        successor = CqlLog(cells, 4)
        await successor.open(GROUP, "p2", 1)
        assert await successor.commit(entry(3, 2, row(1, "true"))) is Outcome.COMMITTED
        assert await log.commit(entry(2, 1, row(1, "late"), row(2, "later"))) is Outcome.FENCED
        assert [row.id for row in await log.rows(CONV, 1, 9)] == ["true"]

    play(history)


def test_published_entries_are_not_told_again() -> None:
    async def history(cells: Faulty, log: CqlLog) -> None:
        await log.open(GROUP, "p1", 1)
        for n in range(2, 40):
            await log.commit(replace(entry(n, 1, row(n - 1)), published=n - 1))
        opened = await CqlLog(cells, 4).open(GROUP, "p2", 9)
        assert [entry.n for entry in opened.unpublished] == [39]
        assert await cells.published(GROUP) == 31

    play(history)


def test_young_ids_are_found_below_an_older_row_and_cut_at_the_limit() -> None:
    async def history(cells: Faulty, log: CqlLog) -> None:
        await log.open(GROUP, "p1", 1)
        times = [100, 1, 1, 1, 1, 1, 1, 1, 100, 1, 100]
        await log.commit(entry(2, 1, *(row(seq, at=at) for seq, at in enumerate(times, 1))))
        snapshot = await log.load(CONV, ids_since=50)
        assert snapshot is not None
        assert [record.seq for record in snapshot.ids] == [9, 11]
        assert snapshot.ids_whole
        assert len(snapshot.tail) == 11
        cut = await log.load(CONV, ids_since=0, ids_most=3)
        assert cut is not None
        assert [record.seq for record in cut.ids] == [9, 10, 11]
        assert not cut.ids_whole
        assert await log.load(ConvId("0000g" + "1" * 26), ids_since=0) is None

    play(history)


def test_it_is_all_three_ports() -> None:
    log = CqlLog(SimCells(random.Random(0)))
    ports: tuple[LogWriter, LogReader, Journal] = (log, log, log)  # mypy's to check
    assert ports


def test_what_is_old_and_noted_as_published_is_forgotten() -> None:
    async def history(cells: Faulty, log: CqlLog) -> None:
        await log.open(GROUP, "p1", 1)
        for n in range(2, 40):
            await log.commit(replace(entry(n, 1, row(n - 1)), published=n - 1, at=n))
        assert await log.prune(KEPT_MS) == 0
        assert await log.prune(KEPT_MS + 10) == 9
        assert await log.prune(KEPT_MS + 99) == 21
        assert await log.prune(KEPT_MS + 99) == 0
        assert [entry.n for entry in await log.read(GROUP, 0, 99)] == list(range(31, 40))
        assert await log.commit(entry(5, 1, row(9, "late"))) is Outcome.FENCED

    play(history)
