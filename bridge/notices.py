"""Receipt notices: the first at once, later ones of the same conversation and reader merged to one per 3 s.

Rules
- A move that continues the one before becomes one range with it. Ranges that cannot be merged are told one by one.
- A merged notice is told after its receipts were acknowledged; one that is lost with the process is found by the
  conversation's receipt version (design, section 2, promise 4).
- Moves that are not shown go to the reader's own devices alone: they are merged apart, and hold back no shown one.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from stores.ports.entries import MarkMove
from tidings.protocol.ids import ConvId, UserId

MERGED_MS: Final = 3_000
RANGES: Final = 16
READERS: Final = 10_000

Reader = tuple[ConvId, UserId, bool]
"""A conversation, a member, and whether the moves are shown."""


class Notices:
    """What is held back, by conversation and reader."""

    def __init__(self, merged: int = MERGED_MS, readers: int = READERS) -> None:
        self._merged = merged
        self._most = readers
        self._due: dict[Reader, int] = {}  # when the next may go, in rising order
        self._held: dict[Reader, list[MarkMove]] = {}

    def take(self, moves: Iterable[MarkMove], now: int) -> list[MarkMove]:
        """Take moves in; tells those to be told at once (steady ms `now`)."""
        at_once: list[MarkMove] = []
        first: set[Reader] = set()
        for move in moves:
            reader = (move.conv, move.user, move.shown)
            if reader in first or not self._waits(reader, now):
                first.add(reader)
                at_once.append(move)
            elif not self._hold(reader, move):
                at_once.append(move)
        return at_once

    def due(self, now: int) -> list[MarkMove]:
        """Take what is due at `now`."""
        told: list[MarkMove] = []
        while self._due:
            reader, when = next(iter(self._due.items()))
            if when > now:
                break
            del self._due[reader]
            held = self._held.pop(reader, None)
            if held:
                told.extend(held)
                self._due[reader] = now + self._merged
        return told

    def flush(self) -> list[MarkMove]:
        """Take all that is held back, for a drain."""
        told = [move for held in self._held.values() for move in held]
        self._held.clear()
        return told

    def wake_at(self) -> int | None:
        """Tell when (steady ms) to ask `due` again; None when nothing is held back."""
        if not self._held:
            return None
        return next(iter(self._due.values()))

    def __len__(self) -> int:
        return len(self._held)

    def _waits(self, reader: Reader, now: int) -> bool:
        """Whether this reader's notice was told lately; if not, the time runs from now."""
        due = self._due.get(reader)
        if due is not None and (due > now or reader in self._held):
            return True
        self._due.pop(reader, None)
        self._due[reader] = now + self._merged
        while len(self._due) > self._most:
            oldest = next(iter(self._due))
            if oldest in self._held:
                break
            del self._due[oldest]
        return False

    def _hold(self, reader: Reader, move: MarkMove) -> bool:
        held = self._held.setdefault(reader, [])
        for place, before in enumerate(held):
            if before.kind == move.kind and before.to == move.from_:
                held[place] = replace(move, from_=before.from_)
                return True
        if len(held) >= RANGES or len(self._held) > self._most:
            return False
        held.append(move)
        return True
