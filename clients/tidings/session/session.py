"""The session: inputs in, effects out.

Rules
- The canonical copy of an own message is its acknowledgement, however it comes: live, alone, or from history.
- After every connect, once the broker's queue has drained, and every 5 minutes (jittered) heads are compared; what is
  missing is asked for, also a lost last message and lost receipts (design, promise 4).
- Whatever the network brings, no input raises; what cannot be understood is counted in `ignored`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, assert_never

from msgspec.structs import replace

from tidings.protocol import codec, events, ids, limits, topics
from tidings.protocol.codec import Encoding
from tidings.protocol.errors import KINDS, Code, Refusal
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId
from tidings.protocol.payloads import (
    DoHeads,
    DoSync,
    DoWatch,
    ErrorNotice,
    HeadsReply,
    Message,
    PresenceNotice,
    Receipt,
    SendMessage,
    SyncReply,
    Typing,
    Wire,
    check_message,
    is_event,
)
from tidings.session.effects import Deliver, Effect, Moved, Notice, Publish, State, Status, Subscribe
from tidings.session.log import ConversationLog, Position
from tidings.session.outbox import LOOK_UP_AFTER_MS, MemoryOutbox, Outbox, Sending, Unsent
from tidings.session.presence import Watching
from tidings.session.receipts import Receipts
from tidings.session.requests import Requests, Want

QUIET_MS: Final = 300
DRAIN_MOST_MS: Final = 5_000
HEADS_EVERY_MS: Final = 300_000
LOOK_BACK_MARGIN_MS: Final = 86_400_000
HEADS: Final = Want("heads")


class _ReplyKind(Wire, frozen=True):
    kind: str = ""


class Session:
    """One device's side of Tidings. See the package for the rules of its use."""

    def __init__(
        self,
        user: UserId,
        device: DeviceId,
        *,
        boot: str,
        jitter: Callable[[], float],
        outbox: Outbox | None = None,
        positions: Mapping[ConvId, Position] | None = None,
        backlog: int = limits.HISTORY_PAGE,
        claiming: bool = True,
        encoding: Encoding = Encoding.JSON,
    ) -> None:
        """`boot` begins the ids of this run's requests and differs from run to run (up to 20 characters of an id);
        `jitter` gives numbers in [0, 1); `positions` is what `positions()` gave before; a conversation that is new
        to this device begins with its last `backlog` entries; without `claiming`, nothing is claimed as delivered."""
        self.user = user
        self.device = device
        self.ignored = 0
        self._encoding = encoding
        self._jitter = jitter
        self._backlog = backlog
        self._claiming = claiming
        self._connected = False
        self._drain_ends = 0
        self._heads_at: int | None = None
        self._sending = Sending(outbox if outbox is not None else MemoryOutbox(), jitter)
        self._requests = Requests(boot, jitter)
        self._logs = {conv: ConversationLog(position) for conv, position in (positions or {}).items()}
        self._receipts: dict[ConvId, Receipts] = {}
        for conv, position in (positions or {}).items():
            self._marks(conv).stored("delivered", position.claimed)
            if claiming and position.claimed < position.applied:  # the claim may have been lost with the last run
                self._marks(conv).want("delivered", position.applied, 0)
        self._watching = Watching()
        self._watches = 0
        self._boot = boot
        self._effects: list[Effect] = []

    # What the application asks.

    def send(self, conv: ConvId, message: SendMessage, now: int) -> list[Effect]:
        """Say something; it stays in the outbox until it is stored or refused. Raises `Refusal` when it is outside
        the limits. A repeat of an id that waits changes nothing."""
        check_message(message)
        if len(codec.encode(message, self._encoding)) > limits.PACKET_BYTES - 512:
            raise Refusal(Code.TOO_LARGE, f"a message has less than {limits.PACKET_BYTES} bytes with all its fields")
        if not self._sending.contains(conv, message.id):
            self._sending.add(Unsent(conv, message, now))
            self._effects.append(Status(conv, message.id, State.PENDING))
        return self._flush(now)

    def mark_read(self, conv: ConvId, seq: int, now: int) -> list[Effect]:
        """The user has read everything up to `seq`, as far as it was delivered here."""
        log = self._log(conv)
        if log.placed:
            self._marks(conv).want("read", min(seq, log.applied), now)
        return self._flush(now)

    def compare_heads(self, now: int) -> list[Effect]:
        """Look for what was missed, now rather than at the next regular time."""
        self._heads_at = now
        return self._flush(now)

    def watch(self, users: Iterable[UserId], now: int) -> list[Effect]:
        """Look at the presence of these users, at most 200, from now on. Raises `Refusal`."""
        self._watching.look_at(users, now)
        return self._flush(now)

    # What the network does.

    def connected(self, now: int) -> list[Effect]:
        """The broker took the CONNECT."""
        self._connected = True
        self._drain_ends = now + DRAIN_MOST_MS
        self._heads_at = now + QUIET_MS
        self._sending.connected(now)
        self._requests.restart(now)
        self._watching.restart(now)
        self._effects.append(Subscribe(topics.device_subscriptions(self.user, self.device)))
        return self._flush(now)

    def disconnected(self, now: int) -> list[Effect]:
        """The connection is gone; nothing is due until the next one."""
        self._connected = False
        self._effects.extend(
            Status(conv, queue.entries[0].message.id, State.PENDING)
            for conv, queue in self._sending.queues.items()
            if queue.entries[0].tried
        )
        return self._flush(now)

    def received(self, topic: str, payload: bytes, now: int) -> list[Effect]:
        """A message came. Acknowledge it to the broker after carrying out the effects."""
        if self._heads_at is not None and now < self._drain_ends:
            self._heads_at = min(now + QUIET_MS, self._drain_ends)
        try:
            self._take(topics.parse(topic), payload, now)
        except Refusal:
            self.ignored += 1
        return self._flush(now)

    def history_page(self, page: SyncReply, now: int) -> list[Effect]:
        """A page of history that the shell fetched otherwise, such as by HTTP."""
        self._filled(page, now)
        return self._flush(now)

    def tick(self, now: int) -> list[Effect]:
        """Time has passed; to be called at `wake_at`, at the latest."""
        return self._flush(now)

    # What a shell looks at.

    @property
    def wake_at(self) -> int | None:
        """When `tick` has something to do, ms; None while disconnected."""
        if not self._connected:
            return None
        receipts = (each.due for each in self._receipts.values())
        times = (self._heads_at, self._sending.wake_at(), self._requests.wake_at(), self._watching.due, *receipts)
        return min((time for time in times if time is not None), default=None)

    @property
    def unsent(self) -> int:
        """How many messages wait in the outbox."""
        return sum(len(queue.entries) for queue in self._sending.queues.values())

    @property
    def claims_due(self) -> bool:
        """Whether receipts wait to be sent."""
        return any(marks.due is not None for marks in self._receipts.values())

    @property
    def settled(self) -> bool:
        """Whether heads were compared since the last connect, and nothing is known to be missing."""
        heads_known = self._heads_at is not None and self._heads_at > self._drain_ends
        return heads_known and HEADS not in self._requests and not any(log.behind for log in self._logs.values())

    def positions(self) -> dict[ConvId, Position]:
        """Tell how far each conversation was delivered; to be kept over a restart."""
        return {conv: found for conv in self._logs if (found := self.position(conv)) is not None}

    def position(self, conv: ConvId) -> Position | None:
        """Tell how far one conversation was delivered; None when it has not begun here."""
        log = self._logs.get(conv)
        if log is None or not log.placed:
            return None
        return Position(log.base, log.applied, log.receipts, self._marks(conv).mine["delivered"].stored)

    # Inside: what came.

    def _take(self, topic: topics.Topic, payload: bytes, now: int) -> None:
        match topic:
            case topics.UserIn(kind="msg" | "event") | topics.DeviceIn(kind="msg" | "event"):
                self._entry(codec.decode(payload, Message), now)
            case topics.UserIn(kind="receipt"):
                self._receipt(codec.decode(payload, Receipt))
            case topics.UserIn(kind="typing"):
                self._effects.append(Notice(codec.decode(payload, Typing)))
            case topics.UserIn(kind="presence"):
                self._effects.append(Notice(codec.decode(payload, PresenceNotice)))
            case topics.DeviceIn(kind="error"):
                self._error(codec.decode(payload, ErrorNotice), now)
            case topics.DeviceIn(kind="reply"):
                self._reply(payload, now)
            case _:
                self.ignored += 1

    def _entry(self, entry: Message, now: int) -> None:
        known = events.KINDS.get(entry.kind)
        if entry.seq < 1 or (known is not None and not known.numbered):
            if entry.kind == "sync.needed":
                self._heads_at = now
            self._effects.append(Notice(entry))
            return
        log = self._log(ids.conv_id(entry.conv))
        self._own_copy(entry, now)
        if not log.placed and (entry.seq == 1 or self._backlog == 0):
            log.place(entry.seq - 1)
        self._deliver(log.put(entry), now)
        if log.behind:
            self._fill(entry.conv, now)

    def _own_copy(self, entry: Message, now: int) -> None:
        if entry.from_ != self.user or entry.device != self.device:
            return
        if self._sending.settle(entry.conv, entry.id, now):
            self._requests.forget(Want("lookup", entry.conv))
            marks = self._marks(entry.conv)
            marks.own(entry.seq, entry.id)
            self._effects.append(Status(entry.conv, entry.id, State.SENT, entry.seq))
            self._passed(entry.conv, marks)

    def _deliver(self, entries: Iterable[Message], now: int) -> None:
        for entry in entries:
            marks = self._marks(entry.conv)
            self._members(marks, entry)
            visible = entry.kind != "tombstone" and not is_event(entry.kind)
            if self._claiming and visible and entry.from_ != self.user:
                marks.want("delivered", entry.seq, now)
            self._effects.append(Deliver(entry))

    def _members(self, marks: Receipts, entry: Message) -> None:
        match entry.kind:
            case "direct.created" | "group.created" | "member.added":
                members = entry.data.get("members")
                for user in members if isinstance(members, list) else ():
                    if user != self.user and isinstance(user, str):
                        marks.join(UserId(user))
            case "member.removed":
                marks.leave(UserId(str(entry.data.get("user"))))
            case "member.left":
                marks.leave(entry.from_)

    def _receipt(self, receipt: Receipt) -> None:
        log = self._log(ids.conv_id(receipt.conv))
        if receipt.version == log.receipts + 1:
            log.receipts = receipt.version
        self._mark(receipt.conv, receipt.user, receipt.kind, receipt.to)

    def _mark(self, conv: ConvId, user: UserId, kind: str, to: int) -> None:
        marks = self._marks(conv)
        if user == self.user:
            if marks.stored(kind, to):
                self._effects.append(Moved(conv, user, kind, to))
        elif marks.move(user, kind, to):
            self._effects.append(Moved(conv, user, kind, to))
            self._passed(conv, marks)

    def _passed(self, conv: ConvId, marks: Receipts) -> None:
        self._effects.extend(Status(conv, id_, state, seq) for seq, id_, state in marks.reached())

    def _error(self, error: ErrorNotice, now: int) -> None:
        retryable = error.code in KINDS and KINDS[Code(error.code)].retryable
        if (want := self._requests.of(error.id)) is not None and want in self._requests:
            if retryable:
                self._requests.put_off(want, now, error.retry_after)
            else:
                self._gave_up(want, now)
        elif (conv := self._sending.waiting_for(MessageId(error.id), error.conv)) is not None:
            if retryable:
                self._sending.hold(conv, now, error.retry_after)
                self._effects.append(Status(conv, MessageId(error.id), State.PENDING, error=error))
            else:
                self._sending.settle(conv, MessageId(error.id), now)
                self._effects.append(Status(conv, MessageId(error.id), State.FAILED, error=error))
        else:
            self._effects.append(Notice(error))

    def _gave_up(self, want: Want, now: int) -> None:
        self._requests.forget(want)
        match want.what:
            case "lookup":
                self._sending.looked_up(want.conv, now)
            case "fill":
                if not self._log(want.conv).placed:
                    del self._logs[want.conv]
            case "heads":
                pass
            case _:
                assert_never(want.what)

    # Inside: answers to requests.

    def _reply(self, payload: bytes, now: int) -> None:
        kind = codec.decode(payload, _ReplyKind).kind
        if kind == "heads":
            self._heads(codec.decode(payload, HeadsReply), now)
        elif kind == "sync":
            page = codec.decode(payload, SyncReply)
            want = self._requests.of(page.id)
            if want is not None and want.what == "lookup":
                self._looked(page, want, now)
            else:
                self._filled(page, now)
        else:
            self.ignored += 1

    def _heads(self, reply: HeadsReply, now: int) -> None:
        if self._requests.of(reply.id) != HEADS:
            return
        self._requests.forget(HEADS)
        if reply.next:
            self._requests.ask(HEADS, DoHeads(MessageId(""), after=reply.next), now)
        for head in reply.heads:
            log = self._log(ids.conv_id(head.conv))
            log.learn_head(head.seq)
            self._deliver(log.place(self._begin(head.first, head.seq)), now)
            self._deliver(log.skip_to(head.first), now)
            if log.behind or log.receipts < head.receipts:
                self._fill(head.conv, now)

    def _begin(self, first: int, head: int) -> int:
        """Tell after which entry a log that is new to this device begins."""
        return max(first, head - self._backlog + 1, 1) - 1

    def _fill(self, conv: ConvId, now: int) -> None:
        log, nobody = self._log(conv), MessageId("")
        if log.placed:
            ask = DoSync(nobody, conv, after=log.applied, before=log.gap_end, limit=limits.HISTORY_PAGE_MOST)
        else:
            ask = DoSync(nobody, conv, limit=max(1, self._backlog))
        self._requests.ask(Want("fill", conv), ask, now)

    def _filled(self, page: SyncReply, now: int) -> None:
        log = self._log(ids.conv_id(page.conv))
        want, before = Want("fill", page.conv), (log.placed, log.applied)
        asked = self._requests.of(page.id) == want
        log.learn_head(page.head)
        for entry in page.messages:
            self._own_copy(entry, now)
        self._deliver(log.place(self._begin(page.first, page.head)), now)
        self._deliver(log.skip_to(page.first), now)
        for entry in page.messages:
            self._deliver(log.put(entry), now)
        log.receipts = max(log.receipts, page.receipts)
        for mark in page.marks:
            self._mark(page.conv, mark.user, "delivered", mark.delivered)
            self._mark(page.conv, mark.user, "read", mark.read)
        if asked:
            self._requests.forget(want)
        if log.behind:
            progress = (log.placed, log.applied) != before
            self._fill(page.conv, now if progress else now + DRAIN_MOST_MS)

    def _looked(self, page: SyncReply, want: Want, now: int) -> None:
        """A page of history, newest first, in search of an old unsent message."""
        self._requests.forget(want)
        queue = self._sending.queues.get(want.conv)
        if queue is None or not queue.looking_up:
            return
        for entry in page.messages:
            self._own_copy(entry, now)
        if self._sending.queues.get(want.conv) is not queue or not queue.looking_up:
            return
        oldest = min(page.messages, key=lambda entry: entry.seq, default=None)
        if page.has_more and oldest is not None and oldest.at > queue.entries[0].made - LOOK_BACK_MARGIN_MS:
            self._look_up(want.conv, oldest.seq, now)
        else:
            self._sending.looked_up(want.conv, now)

    # Inside: what goes out.

    def _flush(self, now: int) -> list[Effect]:
        if self._connected:
            if self._heads_at is not None and self._heads_at <= now:
                self._ask_heads(now)
            self._send_due(now)
            for conv, marks in self._receipts.items():
                if marks.due is not None and marks.due <= now:
                    self._effects.extend(self._out(conv, "receipt", each) for each in marks.take(self._base(conv), now))
            for request_id, ask in self._requests.take(now):
                self._do("heads" if isinstance(ask, DoHeads) else "sync", replace(ask, id=request_id))
            if users := self._watching.take(now):
                self._watches += 1
                self._do("watch", DoWatch(MessageId(f"{self._boot}-w{self._watches}"), users))
        effects, self._effects = self._effects, []
        return effects

    def _ask_heads(self, now: int) -> None:
        self._heads_at = now + int(HEADS_EVERY_MS * (0.8 + 0.4 * self._jitter()))
        self._drain_ends = min(self._drain_ends, now)
        self._requests.ask(HEADS, DoHeads(MessageId("")), now)
        for marks in self._receipts.values():
            marks.doubt(now)

    def _send_due(self, now: int) -> None:
        for entry in self._sending.due(now):
            if entry.tried and now - entry.made > LOOK_UP_AFTER_MS:
                self._look_up(entry.conv, 0, now)
                continue
            self._sending.sent(entry.conv, now)
            self._effects.append(Status(entry.conv, entry.message.id, State.SENDING))
            self._effects.append(self._out(entry.conv, "msg", entry.message))

    def _look_up(self, conv: ConvId, before: int, now: int) -> None:
        self._sending.look_up(conv)
        ask = DoSync(MessageId(""), conv, before=before, limit=limits.HISTORY_PAGE_MOST)
        self._requests.ask(Want("lookup", conv), ask, now)

    def _do(self, verb: str, request: DoHeads | DoSync | DoWatch) -> None:
        topic = topics.Do(self.user, self.device, ids.lane_of(self.user), verb)
        self._effects.append(Publish(topics.build(topic), codec.encode(request, self._encoding)))

    def _out(self, conv: ConvId, verb: str, value: Wire) -> Publish:
        topic = topics.Out(self.user, self.device, ids.lane_of(conv), conv, verb)
        return Publish(topics.build(topic), codec.encode(value, self._encoding))

    def _base(self, conv: ConvId) -> int:
        return self._log(conv).base

    def _log(self, conv: ConvId) -> ConversationLog:
        return self._logs.setdefault(conv, ConversationLog())

    def _marks(self, conv: ConvId) -> Receipts:
        return self._receipts.setdefault(conv, Receipts())
