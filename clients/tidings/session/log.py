"""One conversation's log as this device holds it: order, gaps, repeats.

Rules
- Entries `base + 1 … applied` were delivered, in order, each once. What comes ahead of a gap is held.
- `head` is the highest seq known to exist: `applied < head` is a gap, also when nothing is held (a lost last message).
- What is held is bounded; what does not fit is fetched again, since `head` remembers that it exists.
- Until it is placed, a log delivers nothing: a new device does not know yet where to begin.
"""

from typing import Final

from msgspec import Struct

from tidings.protocol.payloads import Message

HELD_MOST: Final = 500


class Position(Struct, frozen=True):
    """What of a log survives a restart of the client: entries `base + 1 … applied` were delivered; receipts are known
    at version `receipts`, and this user's delivered mark is known to stand at `claimed`."""

    base: int
    applied: int
    receipts: int = 0
    claimed: int = 0


class ConversationLog:
    """Put entries in any order, any number of times; take them in order, once."""

    def __init__(self, position: Position | None = None) -> None:
        self.placed = position is not None
        self.base = position.base if position else 0
        self.applied = position.applied if position else 0
        self.receipts = position.receipts if position else 0
        self.head = self.applied
        self._held: dict[int, Message] = {}

    @property
    def behind(self) -> bool:
        """Whether something is known to exist that was not applied."""
        return not self.placed or self.applied < self.head

    @property
    def gap_end(self) -> int:
        """The lowest held seq, where the gap ends; 0 when it is open."""
        return min(self._held, default=0)

    def place(self, base: int) -> list[Message]:
        """Begin after `base`, once; return what can be delivered."""
        if self.placed:
            return []
        self.placed, self.base, self.applied = True, base, base
        self.head = max(self.head, base)
        return self._follow()

    def skip_to(self, first: int) -> list[Message]:
        """The asker's log begins at `first`: what lies before it cannot be had. Return what can be delivered."""
        if self.placed and first > self.applied + 1:
            self.base = self.applied = first - 1
            self.head = max(self.head, self.applied)
            return self._follow()
        return []

    def learn_head(self, seq: int) -> None:
        """Entries up to `seq` exist."""
        self.head = max(self.head, seq)

    def put(self, entry: Message) -> list[Message]:
        """Take one entry in; return what can be delivered now, in order."""
        if entry.seq < 1 or (self.placed and entry.seq <= self.applied):
            return []
        self.head = max(self.head, entry.seq)
        self._held.setdefault(entry.seq, entry)
        ready = self._follow()
        if len(self._held) > HELD_MOST:
            del self._held[max(self._held)]
        return ready

    def _follow(self) -> list[Message]:
        if not self.placed:
            return []
        ready = []
        while (entry := self._held.pop(self.applied + 1, None)) is not None:
            self.applied += 1
            ready.append(entry)
        if self._held and min(self._held) <= self.applied:
            self._held = {seq: entry for seq, entry in self._held.items() if seq > self.applied}
        return ready
