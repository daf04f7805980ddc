"""Finding and filling what was missed.

Rules
- After every connect, once the broker's queue has drained, and every 5 minutes (jittered) heads are compared; what is
  missing is asked for, also a lost last message and lost receipts (design, promise 4).
- A conversation that is new to this device begins with its last `backlog` entries.
- A page that brings nothing on is asked for again later, not at once.
- An old unsent message is looked for from the newest page down to its own time, before it may be sent again.
"""

from collections.abc import Callable
from typing import Final, assert_never

from tidings.protocol import ids, limits
from tidings.protocol.ids import ConvId, MessageId
from tidings.protocol.payloads import DoHeads, DoSync, HeadsReply, SyncReply
from tidings.session.conversations import Conversations
from tidings.session.outbox import Sending
from tidings.session.requests import Requests, Want

QUIET_MS: Final = 300
DRAIN_MOST_MS: Final = 5_000
HEADS_EVERY_MS: Final = 300_000
LOOK_BACK_MARGIN_MS: Final = 86_400_000
HEADS: Final = Want("heads")
_NOBODY: Final = MessageId("")


class Repair:
    """When to compare heads, what to ask for, and what its answers mean."""

    def __init__(
        self,
        conversations: Conversations,
        sending: Sending,
        requests: Requests,
        jitter: Callable[[], float],
        backlog: int,
    ) -> None:
        self.backlog = backlog
        self.heads_at: int | None = None
        """When heads are to be compared next, ms."""
        self._drain_ends = 0
        self._conversations = conversations
        self._sending = sending
        self._requests = requests
        self._jitter = jitter

    # When.

    def connected(self, now: int) -> None:
        """The broker begins to drain its queue."""
        self._drain_ends = now + DRAIN_MOST_MS
        self.heads_at = now + QUIET_MS

    def heard(self, now: int) -> None:
        """Something came: while the queue drains, that puts the comparison off."""
        if self.heads_at is not None and now < self._drain_ends:
            self.heads_at = min(now + QUIET_MS, self._drain_ends)

    @property
    def settled(self) -> bool:
        """Whether heads were compared since the last connect, and nothing is known to be missing."""
        heads_known = self.heads_at is not None and self.heads_at > self._drain_ends
        return heads_known and HEADS not in self._requests and not self._conversations.behind

    def compare_when_due(self, now: int) -> None:
        """Ask for heads if it is time, and claim again what did not come back."""
        if self.heads_at is None or self.heads_at > now:
            return
        self.heads_at = now + int(HEADS_EVERY_MS * (0.8 + 0.4 * self._jitter()))
        self._drain_ends = min(self._drain_ends, now)
        self._requests.ask(HEADS, DoHeads(_NOBODY), now)
        for marks in self._conversations.receipts.values():
            marks.doubt(now)

    # What is asked.

    def fill(self, conv: ConvId, now: int) -> None:
        """Ask for what is missing of a conversation."""
        log = self._conversations.log(conv)
        if log.placed:
            ask = DoSync(_NOBODY, conv, after=log.applied, before=log.gap_end, limit=limits.HISTORY_PAGE_MOST)
        else:
            ask = DoSync(_NOBODY, conv, limit=max(1, self.backlog))
        self._requests.ask(Want("fill", conv), ask, now)

    def look_up(self, conv: ConvId, before: int, now: int) -> None:
        """Look for a conversation's first unsent message in history, below `before` (0: from the end)."""
        self._sending.look_up(conv)
        ask = DoSync(_NOBODY, conv, before=before, limit=limits.HISTORY_PAGE_MOST)
        self._requests.ask(Want("lookup", conv), ask, now)

    def gave_up(self, want: Want, now: int) -> None:
        """A request was refused for good."""
        self._requests.forget(want)
        match want.what:
            case "lookup":
                self._sending.looked_up(want.conv, now)
            case "fill":
                if not self._conversations.log(want.conv).placed:
                    del self._conversations.logs[want.conv]
            case "heads":
                pass
            case _:
                assert_never(want.what)

    # What is answered.

    def heads(self, reply: HeadsReply, now: int) -> None:
        """Where all conversations stand."""
        if self._requests.of(reply.id) != HEADS:
            return
        self._requests.forget(HEADS)
        if reply.next:
            self._requests.ask(HEADS, DoHeads(_NOBODY, after=reply.next), now)
        for head in reply.heads:
            log = self._conversations.log(ids.conv_id(head.conv))
            log.learn_head(head.seq)
            self._conversations.deliver(log.place(self._begin(head.first, head.seq)), now)
            self._conversations.deliver(log.skip_to(head.first), now)
            if log.behind or log.receipts < head.receipts:
                self.fill(head.conv, now)

    def page(self, page: SyncReply, now: int) -> None:
        """A page of history: of a search, or to fill a gap."""
        want = self._requests.of(page.id)
        if want is not None and want.what == "lookup":
            self._looked(page, want, now)
        else:
            self.filled(page, now)

    def filled(self, page: SyncReply, now: int) -> None:
        """Entries that were missing, and the marks."""
        conversations = self._conversations
        log = conversations.log(ids.conv_id(page.conv))
        want, before = Want("fill", page.conv), (log.placed, log.applied)
        asked = self._requests.of(page.id) == want
        log.learn_head(page.head)
        for entry in page.messages:
            conversations.own_copy(entry, now)
        conversations.deliver(log.place(self._begin(page.first, page.head)), now)
        conversations.deliver(log.skip_to(page.first), now)
        for entry in page.messages:
            conversations.deliver(log.put(entry), now)
        log.receipts = max(log.receipts, page.receipts)
        for mark in page.marks:
            conversations.mark(page.conv, mark.user, "delivered", mark.delivered)
            conversations.mark(page.conv, mark.user, "read", mark.read)
        if asked:
            self._requests.forget(want)
        if log.behind:
            progress = (log.placed, log.applied) != before
            self.fill(page.conv, now if progress else now + DRAIN_MOST_MS)

    def _looked(self, page: SyncReply, want: Want, now: int) -> None:
        """A page of history, newest first, in search of an old unsent message."""
        self._requests.forget(want)
        queue = self._sending.queues.get(want.conv)
        if queue is None or not queue.looking_up:
            return
        for entry in page.messages:
            self._conversations.own_copy(entry, now)
        if self._sending.queues.get(want.conv) is not queue or not queue.looking_up:
            return
        oldest = min(page.messages, key=lambda entry: entry.seq, default=None)
        if page.has_more and oldest is not None and oldest.at > queue.entries[0].made - LOOK_BACK_MARGIN_MS:
            self.look_up(want.conv, oldest.seq, now)
        else:
            self._sending.looked_up(want.conv, now)

    def _begin(self, first: int, head: int) -> int:
        """Tell after which entry a log that is new to this device begins."""
        return max(first, head - self.backlog + 1, 1) - 1
