"""The snapshot of revocations: read when the version moved, kept when the store is away."""

import pytest

from acl.revocations import Revocations
from stores.ports.accounts import Revocation
from tidings.protocol.errors import StoreUnavailable
from tidings.protocol.ids import DeviceId, UserId

ALICE = UserId("alice")
PHONE = DeviceId("phone")


class Store:
    def __init__(self) -> None:
        self.number = 1
        self.cuts: list[Revocation] = []
        self.reads = 0
        self.away = False

    async def version(self) -> int:
        if self.away:
            raise StoreUnavailable
        return self.number

    async def revocations(self) -> list[Revocation]:
        self.reads += 1
        return self.cuts


async def test_it_is_read_again_only_when_the_version_moved() -> None:
    store, snapshot = Store(), Revocations()
    assert not snapshot.loaded
    assert await snapshot.refresh(store)
    assert snapshot.loaded
    assert not await snapshot.refresh(store)
    store.number, store.cuts = 2, [Revocation(ALICE, PHONE, 0, gone=True)]
    assert await snapshot.refresh(store)
    assert store.reads == 2
    assert snapshot.voids(ALICE, PHONE, 5)


async def test_a_store_that_is_away_changes_nothing() -> None:
    store, snapshot = Store(), Revocations()
    store.cuts = [Revocation(ALICE, PHONE, 10, gone=False)]
    await snapshot.refresh(store)
    store.away = True
    with pytest.raises(StoreUnavailable):
        await snapshot.refresh(store)
    assert snapshot.voids(ALICE, PHONE, 9)
    assert not snapshot.voids(ALICE, PHONE, 10)


def test_the_strictest_of_several_cuts_counts() -> None:
    snapshot = Revocations()
    snapshot.replace(1, [Revocation(ALICE, PHONE, 10, gone=False), Revocation(ALICE, PHONE, 5, gone=False)])
    assert snapshot.voids(ALICE, PHONE, 9)
    snapshot.replace(2, [Revocation(ALICE, PHONE, 0, gone=True), Revocation(ALICE, PHONE, 5, gone=False)])
    assert snapshot.voids(ALICE, PHONE, 9)


def test_whose_sessions_are_to_be_deleted() -> None:
    snapshot = Revocations()
    banned, aged = (
        Revocation(UserId("bob"), DeviceId(""), 0, gone=True),
        Revocation(ALICE, DeviceId("tv"), 9, gone=False),
    )
    snapshot.replace(1, [Revocation(ALICE, PHONE, 0, gone=True), banned, aged])
    assert snapshot.gone == {"alice:phone"}


def test_a_copy_of_what_is_listed_voids_the_same() -> None:
    snapshot, copy = Revocations(), Revocations()
    assert snapshot.version is None
    snapshot.replace(3, [Revocation(ALICE, PHONE, 10, gone=False), Revocation(ALICE, PHONE, 20, gone=False)])
    copy.replace(snapshot.version or 0, snapshot.listed())
    assert copy.version == 3
    assert [copy.voids(ALICE, PHONE, at) for at in (9, 19, 20)] == [True, True, False]
