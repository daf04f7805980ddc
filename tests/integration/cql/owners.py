"""An owner as the tests play it: it opens a group, commits, and heeds what every owner must.

Rules
- An unknown outcome is retried byte for byte until it is known; a store that is away is tried again.
- FENCED ends it. It never renumbers.
- `told` has exactly the entries whose commit was acknowledged.
"""

import asyncio

from stores.ports.entries import IdKey, JournalEntry, Opened
from stores.ports.log import Outcome
from tests.conformance.stores.entries import NOW, conv, entry, row, user
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable

AGAIN_SECONDS = 0.05


class Owner:
    """One lane group's owner; its one conversation is the group's first."""

    def __init__(self, log, group, name="one", *, rows=5, payload=200):
        self.log = log
        self.group = group
        self.name = name
        self.conv = conv(1, f"{group}1")
        self.told: list[JournalEntry] = []
        self.retries = 0
        self._rows = rows
        self._payload = bytes(payload)
        self._opened: Opened | None = None
        self._n = self._head = 0

    async def open(self):
        """Fence the group, and learn where its conversation stands."""
        self._opened = await self._persist(lambda: self.log.open(self.group, self.name, NOW))
        found = await self._persist(lambda: self.log.header(self.conv))
        self._n, self._head = self._opened.next_n, found.conversation.head if found else 0

    async def commit(self):
        """Commit one entry; tells whether this owner still is the owner."""
        rows = [
            row(seq, of=self.conv, id_=f"{self.name}-{self._n}-{seq}", sender=user(1), payload=self._payload)
            for seq in range(self._head + 1, self._head + 1 + self._rows)
        ]
        given = entry(self._n, *rows, epoch=self._opened.epoch, group=self.group, published=self._n - 1)
        if await self._persist(lambda: self.log.commit(given)) is Outcome.FENCED:
            return False
        self.told.append(given)
        self._n += 1
        self._head += self._rows
        return True

    async def serve(self, until: asyncio.Event):
        """Commit one entry after the other."""
        while not until.is_set() and await self.commit():
            pass

    async def _persist(self, attempt):
        while True:
            try:
                return await attempt()
            except (StoreUnavailable, OutcomeUnknown):
                self.retries += 1
                await asyncio.sleep(AGAIN_SECONDS)


async def check_kept(log, group, of, told):
    """Check that every acknowledged entry stands as it was, and that the conversation has each row once, no hole."""
    journal, after = [], 0
    while page := await log.read(group, after, 200):
        journal += page
        after = page[-1].n
    assert [one.n for one in journal] == list(range(1, len(journal) + 1))
    by_n = {one.n: one for one in journal}
    lost = [one.n for one in told if by_n.get(one.n) != one]
    assert lost == []
    committed = [written for one in journal for written in one.rows if written.conv == of]
    assert [written.seq for written in committed] == list(range(1, len(committed) + 1))
    assert await log.rows(of, 1, len(committed)) == committed
    for one in committed[:: max(1, len(committed) // 50)]:
        found = await log.find_id(key_of(one))
        assert found is not None
        assert (found.seq, found.digest) == (one.seq, one.digest)
    return len(committed)


def key_of(row):
    """Tell a row's idempotency key."""
    return IdKey(row.conv, row.sender, row.device, row.id)
