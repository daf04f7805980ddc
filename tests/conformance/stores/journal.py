"""`check_journal`: what every journal must keep, read by position; and what pruning may forget.

`prune` is not of the port: a store without it is tried on the rest.
"""

from stores.ports.log import Outcome
from tests.conformance.stores.entries import ALICE, BOB, CONV, DAY, NOW, A, B, entry, key, member, move, row
from tests.conformance.stores.suite import Suite

SUITE = Suite("journal")
PRUNING = Suite("pruning")
check_journal = SUITE.check
check_pruning = PRUNING.check


@SUITE.case
async def entries_come_back_as_they_were(log):
    """Whole, in order, fences too; a fence tells its owner."""
    found = await log.open(A, "one", NOW)
    given = [
        entry(2, row(1), row(2, hidden_for=(BOB,)), members=(member(ALICE, (1, 2), (4, 0)),), published=1),
        entry(3, marks=(move(BOB, 0, 2, 1, shown=False),), published=2, at=NOW + 1),
        entry(4, row(3, payload=bytes(range(256)) * 400)),
    ]
    for one in given:
        assert await log.commit(one) is Outcome.COMMITTED
    fence, *rest = await log.read(A, 0, 10)
    assert rest == given
    assert (fence.n, fence.epoch, fence.fence, fence.owner, fence.at) == (1, found.epoch, True, "one", NOW)


@SUITE.case
async def a_journal_is_read_in_pages(log):
    """From above a position, at most so many; nothing at the end."""
    await log.open(A, "one", NOW)
    for n in range(2, 12):
        await log.commit(entry(n, row(n)))
    assert [one.n for one in await log.read(A, 0, 4)] == [1, 2, 3, 4]
    assert [one.n for one in await log.read(A, 9, 4)] == [10, 11]
    assert await log.read(A, 11, 4) == []


@SUITE.case
async def journals_are_apart(log):
    """A group's journal has that group's entries alone, each numbered from 1; a fenced entry is in none."""
    await log.open(A, "one", NOW)
    await log.open(B, "one", NOW)
    await log.commit(entry(2, row(1)))
    await log.open(A, "two", NOW)
    assert await log.commit(entry(3, row(2))) is Outcome.FENCED
    assert [(one.n, one.fence) for one in await log.read(A, 0, 9)] == [(1, True), (2, False), (3, True)]
    assert [(one.n, one.fence) for one in await log.read(B, 0, 9)] == [(1, True)]


async def _aged(log, *, published):
    await log.open(A, "one", NOW)
    for n, days in ((2, 0), (3, 1), (4, 2), (5, 8)):
        at = NOW + days * DAY
        await log.commit(entry(n, row(n - 1, at=at), at=at, published=published if n == 5 else 0))


@PRUNING.case
async def entries_and_ids_are_kept_seven_days(log):
    """What is seven days old or less stays; what is older goes, with its ids; rows stay."""
    await _aged(log, published=4)
    assert await log.prune(NOW + 8 * DAY) == 2
    assert [one.n for one in await log.read(A, 0, 9)] == [3, 4, 5]
    assert await log.find_id(key("m1")) is None
    assert (await log.find_id(key("m2"))).seq == 2
    assert len(await log.rows(CONV, 1, 9)) == 4
    assert await log.prune(NOW + 8 * DAY) == 0


@PRUNING.case
async def what_may_be_unpublished_is_kept(log):
    """However old: a new owner must be told."""
    await _aged(log, published=2)
    assert await log.prune(NOW + 99 * DAY) == 2
    assert [one.n for one in (await log.open(A, "two", NOW)).unpublished] == [3, 4, 5]


@PRUNING.case
async def the_last_entry_is_kept(log):
    """Or numbers would begin again, and with them an old owner's."""
    await _aged(log, published=5)
    assert await log.prune(NOW + 99 * DAY) == 4
    assert (await log.open(A, "two", NOW)).epoch == 6


@PRUNING.case
async def an_id_used_again_outlives_its_first_row(log):
    """Forgetting an old entry does not forget an id that a later row has taken over."""
    await log.open(A, "one", NOW)
    late = NOW + 9 * DAY
    await log.commit(entry(2, row(1, id_="x")))
    await log.commit(entry(3, row(2, id_="x", at=late), at=late, published=2))
    assert await log.prune(NOW + 8 * DAY) == 2
    assert (await log.find_id(key("x"))).seq == 2
