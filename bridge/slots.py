"""The conversations of a lane group in memory: a bounded cache, least recently used first out.

Rules: a slot with work of its own (waiting messages, a load on its way, entries in a batch that is not finished) is
never evicted; so the cache may be above its bound by what is in progress, which has bounds of its own.
"""

from collections import OrderedDict, deque
from typing import Final

from bridge.conversation import Found
from bridge.intake import Item
from bridge.state import State
from tidings.protocol.ids import ConvId

_SCAN: Final = 64
"""How many of the oldest are looked at for one to evict, so that no call is long."""


class Slot:
    """A conversation's place: its state once loaded, and the messages that wait for it, in order."""

    __slots__ = ("blocked", "conv", "found", "generation", "known_until", "pins", "state", "waiting")

    def __init__(self, conv: ConvId) -> None:
        self.conv = conv
        self.state: State | None = None
        self.waiting: deque[Item] = deque()
        self.blocked = False
        """A load or look-up is on its way: the first waiting message goes on when it is answered."""
        self.found = Found()
        self.pins = 0
        """How many unfinished batches hold entries of it."""
        self.known_until = 0
        """Until when (steady ms) all its members' accounts are known, in the people cache's `generation`."""
        self.generation = 0

    @property
    def busy(self) -> bool:
        """Whether it must stay."""
        return bool(self.waiting) or self.blocked or self.pins > 0


class Slots:
    """Slots by conversation."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._slots: OrderedDict[ConvId, Slot] = OrderedDict()

    def take(self, conv: ConvId) -> Slot:
        """Find or make a conversation's slot, and count it as used now."""
        slot = self._slots.get(conv)
        if slot is None:
            slot = self._slots[conv] = Slot(conv)
            self._evict()
        else:
            self._slots.move_to_end(conv)
        return slot

    def get(self, conv: ConvId) -> Slot | None:
        """Find a slot without using it."""
        return self._slots.get(conv)

    def all(self) -> list[Slot]:
        """List all slots."""
        return list(self._slots.values())

    def __len__(self) -> int:
        return len(self._slots)

    def _evict(self) -> None:
        if len(self._slots) <= self._most:
            return
        oldest = [conv for conv, _ in zip(self._slots, range(_SCAN), strict=False)]
        newest = next(reversed(self._slots))
        for conv in oldest:
            if conv != newest and not self._slots[conv].busy:
                del self._slots[conv]
                if len(self._slots) <= self._most:
                    return
