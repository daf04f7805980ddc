"""`check_accounts` and `check_directory`. A store has the ports as attributes: `users`, `blocks`, `verifications`,
`refresh_tokens`, `policy`, `directory`."""

import asyncio

import msgspec

from stores.ports.accounts import Device, RefreshToken, Revocation, User, Verification
from stores.ports.directory import Person
from tests.conformance.stores.entries import ALICE, BOB, CAROL, DAY, NOW, PHONE, TABLET, user
from tests.conformance.stores.suite import Suite

SUITE = Suite("accounts")
check_accounts = SUITE.check
DIRECTORY = Suite("directory")
check_directory = DIRECTORY.check

ALICE_USER = User(ALICE, "+4915112345678", "Alice Ünï", NOW)
BOB_USER = User(BOB, "+4915112345679", "Bob", NOW + 1, hides_read=True)


def thing(number: int) -> User:
    """Make a user without a phone."""
    return User(user(number), "", f"thing {number}", NOW)


def verification(id_: str, **given) -> Verification:
    """Make a verification."""
    fields = {"phone": ALICE_USER.phone, "address": "10.0.0.1", "created_at": NOW} | given
    return Verification(id=id_, name="Alice", code_hash=b"\x00\xff", expires_at=NOW + 300_000, tries_left=3, **fields)


@SUITE.case
async def a_user_is_found_by_id_and_number(accounts):
    """As it was added; an empty number finds nobody."""
    assert await accounts.users.add(ALICE_USER) == ALICE_USER
    assert await accounts.users.add(thing(9)) == thing(9)
    assert await accounts.users.by_id(ALICE) == ALICE_USER
    assert await accounts.users.by_phone(ALICE_USER.phone) == ALICE_USER
    assert await accounts.users.by_id(BOB) is None
    assert await accounts.users.by_phone("+1") is None
    assert await accounts.users.by_phone("") is None


@SUITE.case
async def a_number_has_one_user(accounts):
    """Whoever comes second is the first: also when both come at once."""
    first, second = (msgspec.structs.replace(ALICE_USER, id=user(number)) for number in (7, 8))
    found = await asyncio.gather(accounts.users.add(first), accounts.users.add(second))
    assert found[0] == found[1]
    assert await accounts.users.by_phone(ALICE_USER.phone) == found[0]


@SUITE.case
async def things_share_no_number(accounts):
    """Users without a phone are told apart by their ids."""
    for number in (1, 2):
        assert (await accounts.users.add(thing(number))).id == user(number)


@SUITE.case
async def devices_are_listed_and_revoked(accounts):
    """By the time they were added, revoked ones too; revoking tells whether it was in use."""
    first, second = Device(ALICE, TABLET, "Täblet", "person", NOW), Device(ALICE, PHONE, "", "person", NOW + 1)
    await accounts.users.add_device(second)
    await accounts.users.add_device(first)
    await accounts.users.add_device(Device(BOB, PHONE, "", "person", NOW))
    assert await accounts.users.devices(ALICE) == [first, second]
    before = await accounts.policy.version()
    assert await accounts.users.revoke_device(ALICE, PHONE, NOW + 5)
    assert not await accounts.users.revoke_device(ALICE, PHONE, NOW + 6)
    assert not await accounts.users.revoke_device(CAROL, PHONE, NOW)
    assert await accounts.users.devices(ALICE) == [first, msgspec.structs.replace(second, revoked_at=NOW + 5)]
    assert await accounts.policy.version() == before + 1
    assert await accounts.policy.revocations() == [Revocation(ALICE, PHONE, 0, gone=True)]


@SUITE.case
async def a_banned_user_is_a_revocation(accounts):
    """Of all its devices, until it is pardoned; the policy's version rises with each change only."""
    await accounts.users.add(ALICE_USER)
    before = await accounts.policy.version()
    assert await accounts.users.set_banned(ALICE, True)
    assert not await accounts.users.set_banned(ALICE, True)
    assert not await accounts.users.set_banned(CAROL, True)
    assert (await accounts.users.by_id(ALICE)).banned
    assert await accounts.policy.revocations() == [Revocation(ALICE, "", 0, gone=True)]
    assert await accounts.users.set_banned(ALICE, False)
    assert await accounts.policy.revocations() == []
    assert await accounts.policy.version() == before + 2


@SUITE.case
async def a_device_whose_old_tokens_are_void(accounts):
    """Adding a device again replaces it, which brokers must notice; adding the same again changes nothing."""
    device = Device(ALICE, PHONE, "phone", "person", NOW)
    await accounts.users.add_device(device)
    before = await accounts.policy.version()
    await accounts.users.add_device(device)
    assert await accounts.policy.version() == before
    await accounts.users.add_device(msgspec.structs.replace(device, tokens_from=NOW + 9))
    assert await accounts.policy.revocations() == [Revocation(ALICE, PHONE, NOW + 9, gone=False)]
    assert await accounts.policy.version() == before + 1


@SUITE.case
async def blocks_are_kept_once(accounts):
    """Blocking twice is blocking; the policy's version rises with each change only."""
    before = await accounts.policy.version()
    for _ in range(2):
        await accounts.blocks.block(ALICE, CAROL, NOW)
        await accounts.blocks.block(ALICE, BOB, NOW)
    assert await accounts.blocks.blocked(ALICE) == [BOB, CAROL]
    assert await accounts.blocks.blocked(BOB) == []
    assert await accounts.policy.version() == before + 2
    for _ in range(2):
        await accounts.blocks.unblock(ALICE, BOB)
    assert await accounts.blocks.blocked(ALICE) == [CAROL]
    assert await accounts.policy.version() == before + 3


@SUITE.case
async def a_code_is_tried_three_times(accounts):
    """Tries are counted down atomically; at none left a code is refused."""
    await accounts.verifications.put(verification("v"))
    assert await accounts.verifications.get("v") == verification("v")
    tries = await asyncio.gather(*(accounts.verifications.try_code("v") for _ in range(5)))
    assert sorted(tries) == [0, 0, 1, 2, 3]
    assert (await accounts.verifications.get("v")).tries_left == 0
    assert await accounts.verifications.try_code("none") == 0
    assert await accounts.verifications.get("none") is None


@SUITE.case
async def a_verification_is_used_once(accounts):
    """Of several who drop it at once one was first; then it is unusable, but still counted."""
    await accounts.verifications.put(verification("v"))
    assert sorted(await asyncio.gather(*(accounts.verifications.drop("v") for _ in range(3)))) == [False, False, True]
    assert await accounts.verifications.get("v") is None
    assert await accounts.verifications.try_code("v") == 0
    assert await accounts.verifications.count_since(phone=ALICE_USER.phone, since=NOW) == 1
    assert not await accounts.verifications.drop("none")


@SUITE.case
async def verifications_are_counted(accounts):
    """By number, by address, or both, at or after a time."""
    for id_, given in {
        "1": {},
        "2": {"address": "10.0.0.2", "created_at": NOW + 10},
        "3": {"phone": "+1", "created_at": NOW + 20},
    }.items():
        await accounts.verifications.put(verification(id_, **given))
    count = accounts.verifications.count_since
    assert await count(phone=ALICE_USER.phone, since=NOW) == 2
    assert await count(phone=ALICE_USER.phone, since=NOW + 10) == 1
    assert await count(address="10.0.0.1", since=NOW) == 2
    assert await count(phone="+1", address="10.0.0.2", since=NOW) == 0
    assert await count(since=NOW + 1) == 2


@SUITE.case
async def a_verification_of_today_is_counted_after_many_others(accounts):
    """Sweeping old ones leaves those of the last day."""
    for number in range(30):
        await accounts.verifications.put(verification(f"old {number}", created_at=NOW - 3 * DAY))
    for number in range(3):
        await accounts.verifications.put(verification(f"new {number}"))
    assert await accounts.verifications.count_since(since=NOW - DAY) == 3


@SUITE.case
async def a_refresh_token_tells_whether_it_was_used(accounts):
    """The first use gives it unused, a later one with the time of the first; the family ends whole."""
    given = [RefreshToken(bytes([n]) * 32, "one" if n < 2 else "two", ALICE, PHONE, NOW + DAY) for n in range(3)]
    for token in given:
        await accounts.refresh_tokens.put(token)
    assert await accounts.refresh_tokens.use(given[0].hash, NOW) == given[0]
    assert (await accounts.refresh_tokens.use(given[0].hash, NOW + 5)).used_at == NOW
    assert await accounts.refresh_tokens.use(b"unknown", NOW) is None
    await accounts.refresh_tokens.end_family("one")
    assert await accounts.refresh_tokens.use(given[1].hash, NOW) is None
    assert await accounts.refresh_tokens.use(given[2].hash, NOW) == given[2]


@SUITE.case
async def one_of_two_uses_is_the_first(accounts):
    """A token used twice at once is known to be reused."""
    await accounts.refresh_tokens.put(RefreshToken(b"h" * 32, "f", ALICE, PHONE, NOW + DAY))
    found = await asyncio.gather(*(accounts.refresh_tokens.use(b"h" * 32, NOW + at) for at in (1, 2)))
    assert sorted(bool(token.used_at) for token in found) == [False, True]


@DIRECTORY.case
async def people_are_told_as_they_are(accounts):
    """Those that exist, with whom they block; unknown ones are absent."""
    await accounts.users.add(ALICE_USER)
    await accounts.users.add(BOB_USER)
    await accounts.blocks.block(ALICE, BOB, NOW)
    await accounts.blocks.block(ALICE, CAROL, NOW)
    await accounts.users.set_banned(BOB, True)
    assert await accounts.directory.people(frozenset((ALICE, BOB, CAROL))) == {
        ALICE: Person(ALICE, blocks=frozenset((BOB, CAROL))),
        BOB: Person(BOB, hides_read=True, banned=True),
    }
    assert await accounts.directory.people(frozenset()) == {}


@DIRECTORY.case
async def a_large_group_is_asked_at_once(accounts):
    """More users than a statement has parameters."""
    for number in range(0, 600, 60):
        await accounts.users.add(thing(number))
    asked = frozenset(user(number) for number in range(1_100))
    assert set(await accounts.directory.people(asked)) == {user(number) for number in range(0, 600, 60)}
