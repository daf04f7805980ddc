"""Requests without a conversation (`do/…`): asked once, repeated until answered, a few at a time.

Rules
- A request is named by what it wants, not by its id: wanting the same thing twice is one request.
- At most `FLYING_MOST` are unanswered; others wait in order. Each attempt has an id of its own; a late answer to an
  earlier attempt is taken as well.
- No answer: again after 5 s + 1, 2, 4 … s with jitter; after a reconnect at once.
"""

from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from tidings.protocol.ids import ConvId, MessageId
from tidings.protocol.payloads import DoHeads, DoSync
from tidings.session.outbox import back_off

FLYING_MOST: Final = 8
ANSWER_MS: Final = 5_000
IDS_MOST: Final = 256


class Want(Struct, frozen=True):
    """What is wanted: all heads, a conversation's missing entries, or an old unsent message's fate."""

    what: Literal["heads", "fill", "lookup"]
    conv: ConvId = ConvId("")


class _Request:
    def __init__(self, ask: DoHeads | DoSync, due: int) -> None:
        self.ask = ask
        self.due = due
        self.attempt = 0
        self.flying = False


class Requests:
    """What is asked and not answered."""

    def __init__(self, boot: str, jitter: Callable[[], float]) -> None:
        self._boot = boot
        self._jitter = jitter
        self._count = 0
        self._requests: dict[Want, _Request] = {}
        self._ids: dict[MessageId, Want] = {}

    def __contains__(self, want: Want) -> bool:
        return want in self._requests

    def ask(self, want: Want, ask: DoHeads | DoSync, now: int) -> None:
        """Want something; what is wanted already stays as it was asked. The ask's id is filled in when it goes."""
        self._requests.setdefault(want, _Request(ask, now))

    def forget(self, want: Want) -> None:
        """It is answered, or wanted no more."""
        self._requests.pop(want, None)
        self._ids = {id_: wanted for id_, wanted in self._ids.items() if wanted != want}

    def of(self, request_id: str) -> Want | None:
        """Tell what an answer is about, None when it is no (longer an) open request."""
        return self._ids.get(MessageId(request_id))

    def put_off(self, want: Want, now: int, retry_after: float) -> None:
        """A retryable refusal."""
        request = self._requests[want]
        request.flying = False
        request.due = now + max(int(retry_after * 1_000), back_off(request.attempt, self._jitter()))

    def restart(self, now: int) -> None:
        """The connection is new: everything is asked again."""
        for request in self._requests.values():
            request.flying, request.due, request.attempt = False, now, 0

    def wake_at(self) -> int | None:
        """When the next is due, ms. Those that wait for a free place have no time of their own."""
        room = self._flying() < FLYING_MOST
        return min((each.due for each in self._requests.values() if each.flying or room), default=None)

    def take(self, now: int) -> list[tuple[MessageId, DoHeads | DoSync]]:
        """Take what is to be asked now, each under a new id."""
        taken = []
        flying = self._flying()
        for want, request in self._requests.items():
            if request.due > now or (not request.flying and flying >= FLYING_MOST):
                continue
            flying += not request.flying
            request.flying = True
            request.due = now + ANSWER_MS + back_off(request.attempt, self._jitter())
            request.attempt += 1
            self._count += 1
            request_id = MessageId(f"{self._boot}-{self._count}")
            self._ids[request_id] = want
            if len(self._ids) > IDS_MOST:
                del self._ids[next(iter(self._ids))]
            taken.append((request_id, request.ask))
        return taken

    def _flying(self) -> int:
        return sum(request.flying for request in self._requests.values())
