"""A message log whose next answers are scripted: refused, lost on the way back, lost on the way there, late, never."""

import asyncio
import enum

from stores.memory.log import MemoryLog
from stores.ports.entries import IdKey, IdRecord, JournalEntry, Opened, Snapshot
from stores.ports.log import Outcome
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable
from tidings.protocol.ids import ConvId, Group


class Fault(enum.Enum):
    """What becomes of one commit."""

    NONE = "none"
    REFUSED = "surely not done"
    UNKNOWN_DONE = "done, and the answer was lost"
    UNKNOWN_NOT_DONE = "not done, and the answer was lost"
    UNKNOWN_LATE = "the answer was lost, and it lands a second later"
    HANGS_DONE = "done, and no answer ever comes"
    HANGS_NOT_DONE = "never done, and no answer ever comes"
    BUG = "an error that no adapter may raise"


class FaultyLog(MemoryLog):
    """`faults` are used up by commits, one each; then all goes well. `down` refuses everything."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[Fault] = []
        self.down = False
        self.delay = 0.0
        """How long a commit takes, s."""
        self.attempts: list[JournalEntry] = []

    async def commit(self, entry: JournalEntry) -> Outcome:
        """See the port."""
        self._check_up()
        self.attempts.append(entry)
        await asyncio.sleep(self.delay)
        fault = self.faults.pop(0) if self.faults else Fault.NONE
        if fault is Fault.REFUSED:
            raise StoreUnavailable("scripted")
        if fault is Fault.BUG:
            raise ZeroDivisionError("scripted")
        if fault in (Fault.UNKNOWN_DONE, Fault.HANGS_DONE):
            await super().commit(entry)
        if fault is Fault.UNKNOWN_LATE:
            asyncio.get_running_loop().call_later(1.0, self._land, entry)
        if fault in (Fault.UNKNOWN_DONE, Fault.UNKNOWN_NOT_DONE, Fault.UNKNOWN_LATE):
            raise OutcomeUnknown("scripted")
        if fault in (Fault.HANGS_DONE, Fault.HANGS_NOT_DONE):
            await asyncio.get_running_loop().create_future()
        return await super().commit(entry)

    async def open(self, group: Group, owner: str, now: int) -> Opened:
        """See the port."""
        self._check_up()
        return await super().open(group, owner, now)

    async def load(self, conv: ConvId, *, ids_since: int, ids_most: int = 10_000) -> Snapshot | None:
        """See the port."""
        self._check_up()
        return await super().load(conv, ids_since=ids_since, ids_most=ids_most)

    async def find_id(self, key: IdKey) -> IdRecord | None:
        """See the port."""
        self._check_up()
        return await super().find_id(key)

    def _check_up(self) -> None:
        if self.down:
            raise StoreUnavailable("down")

    def _land(self, entry: JournalEntry) -> None:
        self._landing = asyncio.ensure_future(super().commit(entry))
