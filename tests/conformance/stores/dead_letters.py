"""`check_dead_letters` and `check_last_seen`: what is kept beside the log. Stores of dead letters keep 50 here."""

import msgspec

from stores.ports.deadletters import DeadLetter
from tests.conformance.stores.entries import ALICE, BOB, CAROL, NOW, user
from tests.conformance.stores.suite import Suite

MOST = 50
SUITE = Suite("letters")
check_dead_letters = SUITE.check
SEEN = Suite("seen")
check_last_seen = SEEN.check


def letter(count: int) -> DeadLetter:
    """Make a letter."""
    return DeadLetter("a", f"u/x/{count}", bytes([count % 256, 0, 255]), "badPayload", f"no ünï {count}", NOW + count)


@SUITE.case
async def letters_come_back_numbered(letters):
    """Numbers rise; everything else is as it was put."""
    await letters.put([letter(1), letter(2)])
    await letters.put([letter(3)])
    page = await letters.page()
    assert [msgspec.structs.replace(found, number=0) for found in page] == [letter(1), letter(2), letter(3)]
    numbers = [found.number for found in page]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 0
    assert [await letters.get(number) for number in numbers] == page


@SUITE.case
async def letters_are_paged(letters):
    """Above a number, at most so many."""
    await letters.put([letter(count) for count in range(10)])
    first = await letters.page(limit=4)
    rest = await letters.page(after=first[-1].number)
    assert [found.reason for found in first + rest] == [letter(count).reason for count in range(10)]
    assert await letters.page(after=rest[-1].number) == []


@SUITE.case
async def dropped_letters_are_gone(letters):
    """Dropping tells how many were there, and numbers are not given again."""
    await letters.put([letter(count) for count in range(3)])
    one, two, three = (found.number for found in await letters.page())
    assert await letters.drop([two, three, three, 99_999]) == 2
    assert await letters.drop([two]) == 0
    assert await letters.drop([]) == 0
    assert await letters.get(two) is None
    assert await letters.count() == 1
    await letters.put([letter(4)])
    assert [found.number for found in await letters.page(after=one)] == [three + 1]


@SUITE.case
async def the_oldest_go_when_there_are_too_many(letters):
    """A flood of bad messages is bounded: the newest are kept."""
    for start in range(0, 60, 20):
        await letters.put([letter(count) for count in range(start, start + 20)])
    assert await letters.count() == MOST
    page = await letters.page(limit=MOST)
    assert [found.reason for found in page] == [letter(count).reason for count in range(10, 60)]


@SUITE.case
async def nothing_is_there_at_first(letters):
    """An empty store answers."""
    await letters.put([])
    assert (await letters.count(), await letters.page(), await letters.get(1)) == (0, [], None)


@SEEN.case
async def the_newest_time_stands(seen):
    """An older time never replaces a newer."""
    await seen.put({ALICE: 5, BOB: 7})
    await seen.put({ALICE: 6, BOB: 3})
    assert await seen.get(frozenset((ALICE, BOB, CAROL))) == {ALICE: 6, BOB: 7}
    assert await seen.get(frozenset((CAROL,))) == {}
    assert await seen.get(frozenset()) == {}


@SEEN.case
async def many_are_asked_at_once(seen):
    """More users than a statement has parameters."""
    times = {user(number): number for number in range(1, 1_501)}
    await seen.put(times)
    await seen.put({})
    assert await seen.get(frozenset(times)) == times
