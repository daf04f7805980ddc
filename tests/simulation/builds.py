"""Known-bad builds: each breaks one rule of the design, as a small subclass of the real class.

Rules: a simulation that does not catch these proves nothing. Each names the rule that it breaks.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from bridge.effects import Commit
from bridge.lanegroup import LaneGroup
from bridge.owner import Owner
from stores.cql.path import CqlLog
from stores.ports.entries import IdKey, IdRecord, JournalEntry, Opened, Snapshot
from stores.ports.log import Outcome
from tests.simulation.broker import Session, SimBroker, SimLink
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable
from tidings.protocol.ids import ConvId
from tidings.protocol.link import Handle, Outbound


class Build(Struct, frozen=True):
    """A build under test: the classes that an installation is made of."""

    owner: type[Owner] = Owner
    link: type[SimLink] = SimLink
    broker: type[SimBroker] = SimBroker
    path: type[CqlLog] = CqlLog


class _EarlyOwner(Owner):
    """Acknowledges when the commit is sent, not when it is known."""

    async def _commit(self, machine: LaneGroup, effect: Commit) -> None:
        self._spawn(self._commit_later(effect))
        self._feed(machine.committed, Outcome.COMMITTED)

    async def _commit_later(self, effect: Commit) -> None:
        await self._retrying.until_done("commit", lambda: self._stores.writer.commit(effect.entry))


class _DeafOwner(Owner):
    """Goes on though it has a successor."""

    async def _commit(self, machine: LaneGroup, effect: Commit) -> None:
        await self._retrying.until_done("commit", lambda: self._stores.writer.commit(effect.entry))
        self._feed(machine.committed, Outcome.COMMITTED)


class _RenumberingOwner(Owner):
    """Hears no outcome, takes it for a failure, and numbers what comes again anew, at the same place."""

    async def _commit(self, machine: LaneGroup, effect: Commit) -> None:
        entry = effect.entry
        try:
            while (outcome := await self._try(entry)) is None:
                await asyncio.sleep(0.1)
            self._feed(machine.committed, outcome)
        except OutcomeUnknown:
            opened = Opened(entry.epoch, entry.n, ())
            self._machine = LaneGroup(
                self.group, opened, self._now(), owner=self._around.name, new_id=self._around.new_id
            )
            await self._link.close()
            self._lost()

    async def _try(self, entry: JournalEntry) -> Outcome | None:
        try:
            return await self._stores.writer.commit(entry)
        except StoreUnavailable:
            return None


class _HoardingOwner(Owner):
    """Keeps its ack handles when the link is lost."""

    def _lost(self) -> None:
        machine = self._machine
        batches = [] if machine is None else [machine._pipeline.filling, machine._pipeline.flight]
        kept = [(batch, list(batch.handles)) for batch in batches if batch is not None]
        super()._lost()
        for batch, handles in kept:
            batch.handles.extend(handles)


class _StaleLink(SimLink):
    """Acknowledges by packet alone, whatever the connection was."""

    def ack(self, handles: Iterable[Handle]) -> None:
        if self.connection is not None:
            super().ack([Handle(self.connection.number, handle.packet) for handle in handles])


class _HastyBroker(SimBroker):
    """Answers a device's publish before the bridge has."""

    def publish(self, session: Session, message: Outbound, acknowledge: Callable[[], None]) -> None:
        acknowledge()
        super().publish(session, message, lambda: None if not session.custodian else acknowledge())


class _EpochsAlone(CqlLog):
    """Has no journal: an owner whose rows landed looks whether it still holds the lease."""

    async def commit(self, entry: JournalEntry) -> Outcome:
        await self._do_rows(entry)
        fences = await self._journal_above(entry.group, 0)
        if fences[-1].epoch != entry.epoch:
            return Outcome.FENCED
        await self._do_derive(entry)
        cells: Any = self._cells
        cells.show(entry)
        return Outcome.COMMITTED


class _NoFinish(CqlLog):
    """Leaves what a predecessor committed and did not finish."""

    async def open(self, group: Any, owner: str, now: int) -> Opened:
        published = await self._cells.published(group)
        entries = await self._journal_above(group, published)
        fence = await self._do_fence(group, owner, now, entries, published)
        return Opened(fence.epoch, fence.n + 1, ())


class _CacheOnly(CqlLog):
    """Knows the ids that its memory holds, and no others."""

    async def load(self, conv: ConvId, *, ids_since: int, ids_most: int = 10_000) -> Snapshot | None:
        snapshot = await super().load(conv, ids_since=ids_since, ids_most=ids_most)
        return None if snapshot is None else msgspec.structs.replace(snapshot, ids=(), ids_whole=True)

    async def find_id(self, key: IdKey) -> IdRecord | None:
        return None


KNOWN_BAD: Final[dict[str, Build]] = {
    "acknowledges-before-commit": Build(owner=_EarlyOwner),
    "epochs-without-journal": Build(path=_EpochsAlone),
    "renumbers-after-time-out": Build(owner=_RenumberingOwner),
    "handles-outlive-connection": Build(owner=_HoardingOwner, link=_StaleLink),
    "dedup-by-cache-only": Build(path=_CacheOnly),
    "goes-on-when-fenced": Build(owner=_DeafOwner),
    "finishes-nothing": Build(path=_NoFinish),
    "broker-withholds-nothing": Build(broker=_HastyBroker),
}
