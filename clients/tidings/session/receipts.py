"""Watermarks of one conversation: what this user's devices hold and have read, and how far the others are.

Rules
- A `delivered` receipt claims `(from, to]` only when this device holds all of it (it does: the log has no gaps).
- The first receipt goes at once, later ones of the same conversation are merged to one per half second.
- A receipt counts as lost until the mark came back; it is claimed again at the next comparison of heads.
- Marks only rise.
"""

from typing import Final

from tidings.protocol.ids import MessageId, UserId
from tidings.protocol.payloads import RECEIPT_KINDS, SendReceipt
from tidings.session.effects import State

EVERY_MS: Final = 500
OWN_MOST: Final = 500
_REACHED: Final = {"delivered": State.DELIVERED, "read": State.READ}


class OwnMark:
    """One of this user's own watermarks: wanted, claimed, and known to be stored."""

    def __init__(self) -> None:
        self.wanted = 0
        self.claimed = 0
        self.stored = 0

    def claim(self, base: int) -> tuple[int, int] | None:
        """Take the range to claim now, or None when all is claimed."""
        if self.wanted <= max(self.claimed, self.stored):
            return None
        start = max(self.claimed, self.stored, base)
        self.claimed = self.wanted
        return start, self.wanted

    def doubt(self) -> None:
        """What is not known to be stored is to be claimed again."""
        self.claimed = min(self.claimed, self.stored)


class Receipts:
    """All watermarks of one conversation, and which own messages they have not passed yet."""

    def __init__(self) -> None:
        self.mine = {kind: OwnMark() for kind in RECEIPT_KINDS}
        self.others: dict[UserId, dict[str, int]] = {}
        self._left: dict[UserId, dict[str, int]] = {}
        self.due: int | None = None
        self._last = -EVERY_MS
        self._own: dict[int, tuple[MessageId, State]] = {}

    def want(self, kind: str, to: int, now: int) -> None:
        """Everything up to `to` is held, or read, on this device."""
        if to > self.mine[kind].wanted:
            self.mine[kind].wanted = to
            self.due = max(now, self._last + EVERY_MS)

    def doubt(self, now: int) -> None:
        """A comparison of heads: claim again whatever did not come back."""
        for mark in self.mine.values():
            mark.doubt()
            if mark.wanted > mark.stored:
                self.due = now

    def take(self, base: int, now: int) -> list[SendReceipt]:
        """Take the receipts to send now. `base` is where this device's log begins."""
        self.due, self._last = None, now
        claims = ((kind, mark.claim(base)) for kind, mark in self.mine.items())
        return [SendReceipt(kind, *claim) for kind, claim in claims if claim is not None and claim[0] < claim[1]]

    def stored(self, kind: str, to: int) -> bool:
        """This user's own mark stands at `to`, whichever device moved it. Tells whether that is news."""
        mark = self.mine.get(kind)
        if mark is None or to <= mark.stored:
            return False
        mark.stored = to
        return True

    def own(self, seq: int, message_id: MessageId) -> None:
        """Watch an own message until everybody has read it (the newest `OWN_MOST` of them)."""
        self._own.setdefault(seq, (message_id, State.SENT))
        if len(self._own) > OWN_MOST:
            del self._own[min(self._own)]

    def move(self, user: UserId, kind: str, to: int) -> bool:
        """Another member's mark stands at `to`. Tells whether that is news."""
        if user in self._left:
            return False  # a late receipt of one who is gone: nobody waits for it
        marks = self.others.setdefault(user, dict.fromkeys(RECEIPT_KINDS, 0))
        if kind not in marks or to <= marks[kind]:
            return False
        marks[kind] = to
        if kind == "read":
            marks["delivered"] = max(marks["delivered"], to)
        return True

    def join(self, user: UserId) -> None:
        """A member whose marks count from now on, and go on from where they were."""
        before = self._left.pop(user, None)
        self.others.setdefault(user, before or dict.fromkeys(RECEIPT_KINDS, 0))

    def leave(self, user: UserId) -> None:
        """A member whose marks count no more."""
        if user in self.others:
            self._left[user] = self.others.pop(user)
        else:
            self._left.setdefault(user, dict.fromkeys(RECEIPT_KINDS, 0))

    def reached(self) -> list[tuple[int, MessageId, State]]:
        """Take the own messages that all other known members have passed since the last call."""
        news = []
        for kind in RECEIPT_KINDS:
            mark = min((marks[kind] for marks in self.others.values()), default=0)
            state = _REACHED[kind]
            for seq, (message_id, before) in sorted(self._own.items()):
                if seq <= mark and before is not state:
                    self._own[seq] = message_id, state
                    news.append((seq, message_id, state))
        self._own = {seq: own for seq, own in self._own.items() if own[1] is not State.READ}
        return news
