"""`check_message_log`: what every message log must keep (`LogWriter` and `LogReader` together)."""

import asyncio

import msgspec

from stores.ports.entries import Epoch
from stores.ports.log import HeadOf, Outcome
from tests.conformance.stores.entries import (
    ALICE,
    BOB,
    CAROL,
    CONV,
    DAY,
    NOW,
    PHONE,
    TABLET,
    A,
    B,
    conv,
    entry,
    header,
    key,
    member,
    move,
    row,
)
from tests.conformance.stores.suite import Suite
from tidings.protocol.ids import GROUPS, Group

SUITE = Suite("log")
check_message_log = SUITE.check


async def opened(log, group=A):
    """Open a group; returns the next free n and the epoch."""
    found = await log.open(group, "one", NOW)
    return found.next_n, found.epoch


@SUITE.case
async def a_new_group_opens_empty(log):
    """The first owner's fence is entry 1, and nothing waits to be published."""
    found = await log.open(A, "one", NOW)
    assert (found.epoch, found.next_n, found.unpublished) == (1, 2, ())


@SUITE.case
async def what_is_committed_is_readable_at_once(log):
    """COMMITTED means durable and readable: rows, header, members, ids, list."""
    n, epoch = await opened(log)
    given = entry(n, row(1), row(2), epoch=epoch, members=(member(ALICE), member(BOB)))
    assert await log.commit(given) is Outcome.COMMITTED
    assert await log.rows(CONV, 1, 2) == [row(1), row(2)]
    found = await log.header(CONV)
    assert found is not None
    assert found.conversation == header(2)
    assert found.members == (member(ALICE), member(BOB))
    assert (found.tail, found.ids) == ((), ())
    assert await log.members(CONV) == [member(ALICE), member(BOB)]
    assert (await log.find_id(key("m2"))).seq == 2
    assert await log.heads(BOB, "", 10) == [HeadOf(CONV, 1, 2, 0)]


@SUITE.case
async def a_predecessor_is_fenced(log):
    """After a fence the old owner's entry is FENCED, and nothing of it is readable by any door."""
    n, epoch = await opened(log)
    await log.open(A, "two", NOW)
    late = entry(n, row(1), epoch=epoch, members=(member(BOB),), marks=(move(BOB, 0, 1, 1),))
    assert await log.commit(late) is Outcome.FENCED
    assert await log.commit(late) is Outcome.FENCED
    assert await log.rows(CONV, 1, 10) == []
    assert await log.header(CONV) is None
    assert await log.load(CONV, ids_since=0) is None
    assert await log.find_id(key("m1")) is None
    assert await log.members(CONV) == []
    assert await log.heads(BOB, "", 10) == []
    assert await log.moves(CONV, 1) == []


@SUITE.case
async def the_successor_serves_where_the_predecessor_was_cut(log):
    """The new owner writes its own rows at the numbers that the fenced entry wanted."""
    n, epoch = await opened(log)
    assert await log.commit(entry(n, row(1), epoch=epoch)) is Outcome.COMMITTED
    found = await log.open(A, "two", NOW)
    assert await log.commit(entry(n + 1, row(2, id_="old"), epoch=epoch)) is Outcome.FENCED
    mine = row(2, id_="new")
    assert await log.commit(entry(found.next_n, mine, epoch=found.epoch)) is Outcome.COMMITTED
    assert await log.rows(CONV, 1, 9) == [row(1), mine]
    assert await log.find_id(key("old")) is None


@SUITE.case
async def groups_fence_apart(log):
    """Opening one group leaves the owner of another alone."""
    n, epoch = await opened(log, B)
    await log.open(A, "two", NOW)
    assert await log.commit(entry(n, epoch=epoch, group=B)) is Outcome.COMMITTED


@SUITE.case
async def a_repeated_entry_is_committed_once(log):
    """The same entry again is COMMITTED again, and changes nothing: also after others have followed it."""
    n, epoch = await opened(log)
    first = entry(n, row(1), epoch=epoch, members=(member(BOB),), marks=(move(BOB, 0, 1, 1),))
    second = entry(n + 1, row(2), epoch=epoch, members=(member(BOB, (1, 2)),))
    for given in (first, first, second, first):
        assert await log.commit(given) is Outcome.COMMITTED
    assert await log.rows(CONV, 1, 9) == [row(1), row(2)]
    assert await log.members(CONV) == [member(BOB, (1, 2))]
    assert len(await log.moves(CONV, 1)) == 1
    assert (await log.header(CONV)).conversation.head == 2


@SUITE.case
async def another_entry_at_the_same_place_is_fenced(log):
    """One `n`, two contents: the first stands, even when they differ in one byte of a payload or in the time alone."""
    n, epoch = await opened(log)
    given = entry(n, row(1), epoch=epoch)
    assert await log.commit(given) is Outcome.COMMITTED
    for other in (
        entry(n, row(1, payload=b'{"seq":2}'), epoch=epoch),
        msgspec.structs.replace(given, at=NOW + 1),
        msgspec.structs.replace(given, published=1),
        entry(n, epoch=epoch),
    ):
        assert await log.commit(other) is Outcome.FENCED
    assert await log.rows(CONV, 1, 9) == [row(1)]


@SUITE.case
async def two_owners_at_once_commit_one(log):
    """Of two entries for one place, sent at once, exactly one is committed, and its rows are what is read."""
    n, epoch = await opened(log)
    ours, theirs = (entry(n, row(1, id_=id_), epoch=epoch) for id_ in ("ours", "theirs"))
    outcomes = await asyncio.gather(log.commit(ours), log.commit(theirs), log.commit(ours), log.commit(theirs))
    assert set(outcomes) == {Outcome.COMMITTED, Outcome.FENCED}
    assert outcomes[:2] == outcomes[2:]
    winner = ours if outcomes[0] is Outcome.COMMITTED else theirs
    assert await log.rows(CONV, 1, 9) == list(winner.rows)


@SUITE.case
async def a_new_owner_is_told_what_was_perhaps_not_published(log):
    """`unpublished` are the entries above the highest published position, oldest first, without fences; after a second
    take-over they are told again."""
    n, epoch = await opened(log)
    given = [entry(n + at, row(1 + at), epoch=epoch, published=n if at == 2 else 0) for at in range(3)]
    for one in given:
        await log.commit(one)
    assert (await log.open(A, "two", NOW)).unpublished == tuple(given[1:])
    found = await log.open(A, "three", NOW)
    assert found.unpublished == tuple(given[1:])
    assert (found.epoch, found.next_n) == (n + 4, n + 5)


@SUITE.case
async def published_is_known_from_every_owner(log):
    """An owner that did not tell yet what it published does not make old entries unpublished again."""
    n, epoch = await opened(log)
    await log.commit(entry(n, row(1), epoch=epoch))
    await log.commit(entry(n + 1, row(2), epoch=epoch, published=n))
    found = await log.open(A, "two", NOW)
    late = entry(found.next_n, row(3), epoch=found.epoch)
    await log.commit(late)
    assert [one.n for one in (await log.open(A, "three", NOW)).unpublished] == [n + 1, late.n]


@SUITE.case
async def fences_are_numbered_after_everything(log):
    """Epochs rise: a fence's `n` is above every entry's."""
    n, epoch = await opened(log)
    await log.commit(entry(n, row(1), epoch=epoch))
    epochs = [(await log.open(A, f"owner {count}", NOW)).epoch for count in range(3)]
    assert epochs == [n + 1, n + 2, n + 3]


@SUITE.case
async def owners_that_open_at_once_get_different_epochs(log):
    """Fences are entries: two never share a place."""
    found = await asyncio.gather(*(log.open(A, f"owner {count}", NOW) for count in range(8)))
    assert sorted(one.epoch for one in found) == [Epoch(n) for n in range(1, 9)]


@SUITE.case
async def readers_stop_at_the_stored_head(log):
    """Rows above the head are not shown, whatever was asked, nor in the tail."""
    n, epoch = await opened(log)
    await log.commit(entry(n, row(1), row(2), row(3), epoch=epoch, conversations=(header(2),)))
    assert await log.rows(CONV, 1, 100) == [row(1), row(2)]
    assert await log.rows(CONV, 3, 3) == []
    assert (await log.load(CONV, ids_since=0)).tail == (row(1), row(2))


@SUITE.case
async def a_conversation_without_a_header_does_not_exist(log):
    """Rows and members alone make no conversation."""
    n, epoch = await opened(log)
    await log.commit(entry(n, row(1), epoch=epoch, members=(member(BOB),), conversations=()))
    assert await log.rows(CONV, 1, 9) == []
    assert await log.header(CONV) is None
    assert await log.load(CONV, ids_since=0) is None
    assert await log.heads(BOB, "", 9) == []


@SUITE.case
async def heads_never_fall(log):
    """A header with a lower head or receipt version than the stored one changes nothing."""
    n, epoch = await opened(log)
    standing = header(3, 5, name="three")
    await log.commit(entry(n, row(1), row(2), row(3), epoch=epoch, conversations=(standing,)))
    lower = (header(2, 9, name="two"), header(9, 4, name="four"), header(0, 0))
    for place, given in enumerate(lower, n + 1):
        await log.commit(entry(place, epoch=epoch, conversations=(given,)))
        assert (await log.header(CONV)).conversation == standing
    renamed = header(3, 5, name="new", description="d", history=False)
    await log.commit(entry(n + 4, epoch=epoch, conversations=(renamed,)))
    assert (await log.header(CONV)).conversation == renamed


@SUITE.case
async def marks_never_fall(log):
    """A mark is the highest that any move reached."""
    n, epoch = await opened(log)
    rows = tuple(row(seq) for seq in range(1, 6))
    marks = (move(BOB, 0, 4, 1), move(BOB, 0, 5, 2, kind="delivered"), move(ALICE, 0, 5, 3))
    await log.commit(entry(n, *rows, epoch=epoch, marks=marks))
    await log.commit(entry(n + 1, epoch=epoch, marks=(move(BOB, 0, 2, 4),)))
    expected = {(BOB, "read"): 4, (BOB, "delivered"): 5, (ALICE, "read"): 5}
    assert (await log.header(CONV)).marks == expected
    assert (await log.load(CONV, ids_since=0)).marks == expected


@SUITE.case
async def moves_tell_who_read_an_entry_when(log):
    """The moves that covered a number, oldest first, of every member and kind, with `shown`."""
    n, epoch = await opened(log)
    rows = tuple(row(seq) for seq in range(1, 8))
    marks = (
        move(BOB, 0, 3, 1, kind="delivered"),
        move(CAROL, 0, 7, 2, shown=False),
        move(BOB, 0, 3, 3),
        move(BOB, 3, 7, 4, kind="delivered"),
        move(BOB, 3, 4, 5),
        move(BOB, 4, 7, 6),
    )
    await log.commit(entry(n, *rows, epoch=epoch, marks=marks))
    versions = [[found.version for found in await log.moves(CONV, seq)] for seq in range(1, 9)]
    assert versions == [[1, 2, 3]] * 3 + [[2, 4, 5]] + [[2, 4, 6]] * 3 + [[]]
    assert await log.moves(CONV, 4) == [marks[1], marks[3], marks[4]]


@SUITE.case
async def windows_are_kept_as_given(log):
    """A member's windows come back whole, in order; a later entry replaces them."""
    n, epoch = await opened(log)
    await log.commit(entry(n, row(1), epoch=epoch, members=(member(BOB), member(ALICE, role="admin"))))
    await log.commit(entry(n + 1, row(2), epoch=epoch, members=(member(BOB, (1, 2)),)))
    await log.commit(entry(n + 2, row(3), epoch=epoch, members=(member(BOB, (1, 2), (3, 0)),)))
    assert await log.members(CONV) == [member(ALICE, role="admin"), member(BOB, (1, 2), (3, 0))]


@SUITE.case
async def who_left_is_not_told_of_receipts(log):
    """The receipt version goes on with what others read: to who left it is 0, until it is let in again."""
    n, epoch = await opened(log)
    moves = (move(ALICE, 0, 2, 1),)
    left = (member(BOB, (1, 1)), member(ALICE))
    await log.commit(
        entry(n, row(1), row(2), epoch=epoch, members=left, marks=moves, conversations=(header(2, receipts=1),))
    )
    assert await log.heads(BOB, "", 9) == [HeadOf(CONV, 1, 1, 0)]
    assert await log.heads(ALICE, "", 9) == [HeadOf(CONV, 1, 2, 1)]
    back = (member(BOB, (1, 1), (3, 0)),)
    await log.commit(entry(n + 1, row(3), epoch=epoch, members=back, conversations=(header(3, receipts=1),)))
    assert await log.heads(BOB, "", 9) == [HeadOf(CONV, 1, 3, 1)]


@SUITE.case
async def a_list_tells_what_its_user_may_see(log):
    """First and head are the member's: from its joining, to its leaving; the rest of the list is by id, in pages."""
    n, epoch = await opened(log)
    convs = [conv(number) for number in (3, 1, 2)]
    rows = tuple(row(seq, of=one) for one in convs for seq in range(1, 6))
    windows = {convs[0]: ((4, 0),), convs[1]: ((1, 2),), convs[2]: ((1, 1), (3, 0))}
    members = tuple(member(BOB, *given, of=one) for one, given in windows.items())
    await log.commit(entry(n, *rows, epoch=epoch, members=(*members, member(ALICE))))
    expected = [HeadOf(conv(1), 1, 2, 0), HeadOf(conv(2), 1, 5, 0), HeadOf(conv(3), 4, 5, 0)]
    assert await log.heads(BOB, "", 10) == expected
    assert await log.heads(BOB, "", 2) == expected[:2]
    assert await log.heads(BOB, conv(2), 2) == expected[2:]
    assert await log.heads(BOB, conv(3), 2) == []
    assert await log.heads(CAROL, "", 10) == []


@SUITE.case
async def a_load_has_the_last_hundred_rows(log):
    """The tail is the last 100 rows, oldest first."""
    n, epoch = await opened(log)
    rows = [row(seq) for seq in range(1, 151)]
    await log.commit(entry(n, *rows, epoch=epoch))
    assert (await log.load(CONV, ids_since=0)).tail == tuple(rows[50:])


@SUITE.case
async def a_load_has_the_ids_since(log):
    """Ids at or after `ids_since`, in order of seq; of more than asked for the newest, and `ids_whole` says so."""
    n, epoch = await opened(log)
    rows = [row(seq, at=NOW + seq) for seq in range(1, 11)]
    await log.commit(entry(n, *rows, row(1, of=conv(2)), epoch=epoch))

    async def ids(since, most):
        found = await log.load(CONV, ids_since=since, ids_most=most)
        return [record.seq for record in found.ids], found.ids_whole

    assert await ids(NOW + 4, 100) == ([4, 5, 6, 7, 8, 9, 10], True)
    assert await ids(NOW + 4, 7) == ([4, 5, 6, 7, 8, 9, 10], True)
    assert await ids(NOW + 4, 6) == ([5, 6, 7, 8, 9, 10], False)
    assert await ids(NOW + 11, 6) == ([], True)


@SUITE.case
async def the_index_knows_a_key_by_all_its_parts(log):
    """Conversation, user, device and id make the key; the record has number, digest and time."""
    n, epoch = await opened(log)
    rows = (
        row(1, id_="x"),
        row(2, id_="x", device=TABLET),
        row(3, id_="x", sender=BOB),
        row(1, id_="x", of=conv(2), digest=b"other digest 16 "),
    )
    await log.commit(entry(n, *rows, epoch=epoch))
    for given in rows:
        found = await log.find_id(key("x", who=given.sender, device=given.device, of=given.conv))
        assert (found.seq, found.digest, found.at) == (given.seq, given.digest, given.at)
    assert await log.find_id(key("X")) is None
    assert await log.find_id(key("x", of=conv(3))) is None


@SUITE.case
async def an_id_used_again_names_the_later_row(log):
    """After the time of an id it may come again: the index then has the later number."""
    n, epoch = await opened(log)
    await log.commit(entry(n, row(1, id_="x"), epoch=epoch))
    await log.commit(entry(n + 1, row(2, id_="x", at=NOW + 9 * DAY), epoch=epoch))
    assert (await log.find_id(key("x"))).seq == 2
    assert [record.seq for record in (await log.load(CONV, ids_since=0)).ids] == [2]


@SUITE.case
async def text_and_bytes_come_back_as_they_were(log):
    """Any Unicode, any bytes, any size up to the packet limit; hidden_for and device as given."""
    n, epoch = await opened(log)
    rows = (
        row(1, payload=bytes(range(256)) * 1024, hidden_for=(BOB, CAROL)),
        row(2, payload=b"", digest=b"", device="", kind="member.added", hidden_for=(BOB,)),
        row(3, payload="🧵 \u0000 ünï".encode()),
    )
    named = header(3, name="Bücher 📚 'x' \"y\" %s ? :z", description="\u202eabc\n" * 300)
    await log.commit(entry(n, *rows, epoch=epoch, conversations=(named,)))
    assert await log.rows(CONV, 1, 3) == list(rows)
    assert (await log.header(CONV)).conversation == named
    assert (await log.load(CONV, ids_since=0)).tail == rows


@SUITE.case
async def groups_commit_at_once(log):
    """Sixteen groups that commit at the same time are each answered with their own verdict."""

    async def serve(group):
        found = await log.open(group, "one", NOW)
        of = conv(1, group + "0")
        for at in range(5):
            given = entry(found.next_n + at, row(1 + at, of=of), epoch=found.epoch, group=group)
            assert await log.commit(given) is Outcome.COMMITTED
            assert await log.commit(msgspec.structs.replace(given, at=0)) is Outcome.FENCED
        return await log.rows(of, 1, 9)

    for group, rows in zip(GROUPS, await asyncio.gather(*map(serve, GROUPS)), strict=True):
        assert rows == [row(seq, of=conv(1, group + "0")) for seq in range(1, 6)]


@SUITE.case
async def a_contradiction_harms_nobody_else(log):
    """An entry that writes a standing row again is a bug of its owner: it raises, does nothing, and entries that were
    committed beside it stand."""
    n, epoch = await opened(log)
    other, other_epoch = await opened(log, B)
    await log.commit(entry(n, row(1), epoch=epoch))
    wrong = entry(n + 1, row(2), row(1, id_="again"), epoch=epoch)
    beside = entry(other, row(1, of=conv(1, "b1")), epoch=other_epoch, group=B)
    found = await asyncio.gather(log.commit(wrong), log.commit(beside), return_exceptions=True)
    assert isinstance(found[0], ValueError)
    assert found[1] is Outcome.COMMITTED
    assert await log.rows(CONV, 1, 9) == [row(1)]
    assert await log.find_id(key("again")) is None
    assert await log.commit(entry(n + 1, row(2), epoch=epoch)) is Outcome.COMMITTED


@SUITE.case
async def what_is_not_there_is_empty(log):
    """Unknown conversations, users and ids are answered, with nothing."""
    assert await log.rows(CONV, 1, 9) == []
    assert await log.header(CONV) is None
    assert await log.load(CONV, ids_since=0) is None
    assert await log.members(CONV) == []
    assert await log.moves(CONV, 1) == []
    assert await log.heads(ALICE, "", 9) == []
    assert await log.find_id(key("x", device=PHONE)) is None
    assert await log.read(Group("f"), 0, 9) == []
