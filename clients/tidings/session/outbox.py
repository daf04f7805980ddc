"""What was said and is not known to be stored: kept until its canonical copy comes back.

Rules
- First in, first out in a conversation, one unanswered message at a time; conversations are independent.
- An answer is the canonical copy (done) or a refusal: final (done, failed) or retryable (this one and those behind it
  wait). No answer: the same bytes again, after a reconnect at once, otherwise after 2 s + 1, 2, 4 … s with jitter.
- A message that was tried and is older than 6 days is looked up in history first: its id may be forgotten (7 days).
- An `Outbox` keeps entries over restarts; what it holds at the start is sent again, in order.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from tidings.protocol.ids import ConvId, MessageId
from tidings.protocol.payloads import SendMessage

ANSWER_MS: Final = 2_000
BACK_OFF_MOST_MS: Final = 60_000
LOOK_UP_AFTER_MS: Final = 6 * 86_400_000


class Unsent(Struct, frozen=True):
    """A message in the outbox: `made` ms, and whether it was ever given to a broker."""

    conv: ConvId
    message: SendMessage
    made: int
    tried: bool = False


class Outbox(Protocol):
    """Where unsent messages are kept. Durable where the device has a disk (`tidings.cache`)."""

    def entries(self) -> Iterable[Unsent]:
        """List what is kept, oldest first."""
        ...

    def put(self, entry: Unsent) -> None:
        """Keep an entry, or replace the one of the same conversation and id in its place."""
        ...

    def remove(self, conv: ConvId, message_id: MessageId) -> None:
        """Forget an entry; unknown ones are no error."""
        ...


class MemoryOutbox:
    """An outbox that lives as long as its object."""

    def __init__(self) -> None:
        self._entries: dict[tuple[ConvId, MessageId], Unsent] = {}

    def entries(self) -> Iterable[Unsent]:
        """List what is kept, oldest first."""
        return tuple(self._entries.values())

    def put(self, entry: Unsent) -> None:
        """Keep or replace an entry."""
        self._entries[entry.conv, entry.message.id] = entry

    def remove(self, conv: ConvId, message_id: MessageId) -> None:
        """Forget an entry."""
        self._entries.pop((conv, message_id), None)


def back_off(attempt: int, jitter: float) -> int:
    """Tell the wait before attempt `attempt` + 1, ms: 1, 2, 4 … 60 s, half of it by jitter (0 … 1)."""
    whole = min(1_000 * 2 ** min(attempt, 16), BACK_OFF_MOST_MS)
    return int(whole * (0.5 + jitter / 2))


class Queue:
    """The unsent messages of one conversation."""

    def __init__(self) -> None:
        self.entries: deque[Unsent] = deque()
        self.attempt = 0
        self.due: int | None = 0
        self.not_before = 0
        self.looking_up = False

    def restart(self, now: int) -> None:
        """The connection is new: the first is to be sent now, unless a refusal said later."""
        self.looking_up, self.attempt = False, 0
        self.due = max(now, self.not_before)

    def settled(self, now: int) -> Unsent:
        """Take the first one out; the next may go at once."""
        self.attempt, self.due, self.looking_up = 0, now, False
        return self.entries.popleft()


class Sending:
    """All conversations' queues over one outbox."""

    def __init__(self, outbox: Outbox, jitter: Callable[[], float]) -> None:
        self._outbox = outbox
        self._jitter = jitter
        self.queues: dict[ConvId, Queue] = {}
        for entry in outbox.entries():
            self._queue(entry.conv).entries.append(entry)

    def _queue(self, conv: ConvId) -> Queue:
        return self.queues.setdefault(conv, Queue())

    def add(self, entry: Unsent) -> None:
        """Keep an entry, then queue it."""
        self._outbox.put(entry)
        self._queue(entry.conv).entries.append(entry)

    def contains(self, conv: ConvId, message_id: MessageId) -> bool:
        """Whether such an entry waits."""
        queue = self.queues.get(conv)
        return queue is not None and any(entry.message.id == message_id for entry in queue.entries)

    def connected(self, now: int) -> None:
        """Send every conversation's first one again."""
        for queue in self.queues.values():
            queue.restart(now)

    def wake_at(self) -> int | None:
        """When the next is due, ms."""
        return min((queue.due for queue in self.queues.values() if queue.due is not None), default=None)

    def due(self, now: int) -> list[Unsent]:
        """Take what is to be looked up or sent now; each waits for its answer from here on."""
        return [
            queue.entries[0]
            for queue in self.queues.values()
            if queue.due is not None and queue.due <= now and not queue.looking_up
        ]

    def look_up(self, conv: ConvId) -> None:
        """The first one is being looked up; it is not due until `looked_up`."""
        self.queues[conv].looking_up, self.queues[conv].due = True, None

    def looked_up(self, conv: ConvId, now: int) -> None:
        """It is not in history: it counts as new, and may be sent."""
        if (queue := self.queues.get(conv)) is not None and queue.looking_up:
            queue.looking_up, queue.due = False, now
            queue.entries[0] = replace(queue.entries[0], tried=False)

    def sent(self, conv: ConvId, now: int) -> None:
        """The first one was given to the broker."""
        queue = self.queues[conv]
        if not queue.entries[0].tried:
            queue.entries[0] = replace(queue.entries[0], tried=True)
            self._outbox.put(queue.entries[0])
        queue.due = now + ANSWER_MS + back_off(queue.attempt, self._jitter())
        queue.attempt += 1

    def hold(self, conv: ConvId, now: int, retry_after: float) -> None:
        """A retryable refusal: this one and those behind it wait."""
        queue = self.queues[conv]
        queue.not_before = now + max(int(retry_after * 1_000), back_off(queue.attempt, self._jitter()))
        queue.due = queue.not_before

    def settle(self, conv: ConvId, message_id: MessageId, now: int) -> bool:
        """An answer came for this entry. Tells whether it was waiting, wherever it stood."""
        queue = self.queues.get(conv)
        if queue is None or not any(entry.message.id == message_id for entry in queue.entries):
            return False
        if queue.entries[0].message.id == message_id:
            queue.settled(now)
        else:
            queue.entries = deque(entry for entry in queue.entries if entry.message.id != message_id)
        self._outbox.remove(conv, message_id)
        if not queue.entries:
            del self.queues[conv]
        return True

    def waiting_for(self, message_id: MessageId, conv: str) -> ConvId | None:
        """Find the conversation whose first entry an answer is about; `conv` "" when the answer does not say."""
        for candidate, queue in self.queues.items():
            if conv in ("", candidate) and queue.entries[0].message.id == message_id:
                return candidate
        return None
