"""The session: inputs in, effects out.

Rules
- It joins the machines: `conversations` (logs and watermarks), `outbox`, `requests`, `repair` (what was missed) and
  `presence`. Each input goes to those whom it concerns; then whatever is due goes out.
- Whatever the network brings, no input raises; what cannot be understood is counted in `ignored`.
"""

from collections.abc import Callable, Iterable, Mapping

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
)
from tidings.session.conversations import Conversations
from tidings.session.effects import Effect, Notice, Publish, State, Status, Subscribe
from tidings.session.log import Position
from tidings.session.outbox import LOOK_UP_AFTER_MS, MemoryOutbox, Outbox, Sending, Unsent
from tidings.session.presence import Watching
from tidings.session.repair import Repair
from tidings.session.requests import Requests


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
        self._connected = False
        self._sending = Sending(outbox if outbox is not None else MemoryOutbox(), jitter)
        self._requests = Requests(boot, jitter)
        self._conversations = Conversations(
            user, device, self._sending, self._requests, self._emit, positions or {}, claiming=claiming
        )
        self._repair = Repair(self._conversations, self._sending, self._requests, jitter, backlog)
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
        log = self._conversations.log(conv)
        if log.placed:
            self._conversations.marks(conv).want("read", min(seq, log.applied), now)
        return self._flush(now)

    def compare_heads(self, now: int) -> list[Effect]:
        """Look for what was missed, now rather than at the next regular time."""
        self._repair.heads_at = now
        return self._flush(now)

    def watch(self, users: Iterable[UserId], now: int) -> list[Effect]:
        """Look at the presence of these users, at most 200, from now on. Raises `Refusal`."""
        self._watching.look_at(users, now)
        return self._flush(now)

    # What the network does.

    def connected(self, now: int) -> list[Effect]:
        """The broker took the CONNECT."""
        self._connected = True
        self._repair.connected(now)
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
        self._repair.heard(now)
        try:
            self._take(topics.parse(topic), payload, now)
        except Refusal:
            self.ignored += 1
        return self._flush(now)

    def history_page(self, page: SyncReply, now: int) -> list[Effect]:
        """A page of history that the shell fetched otherwise, such as by HTTP."""
        self._repair.filled(page, now)
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
        receipts = (each.due for each in self._conversations.receipts.values())
        times = (
            self._repair.heads_at,
            self._sending.wake_at(),
            self._requests.wake_at(),
            self._watching.due,
            *receipts,
        )
        return min((time for time in times if time is not None), default=None)

    @property
    def unsent(self) -> int:
        """How many messages wait in the outbox."""
        return sum(len(queue.entries) for queue in self._sending.queues.values())

    @property
    def claims_due(self) -> bool:
        """Whether receipts wait to be sent."""
        return any(marks.due is not None for marks in self._conversations.receipts.values())

    @property
    def settled(self) -> bool:
        """Whether heads were compared since the last connect, and nothing is known to be missing."""
        return self._repair.settled

    def positions(self) -> dict[ConvId, Position]:
        """Tell how far each conversation was delivered; to be kept over a restart."""
        return {conv: found for conv in self._conversations.logs if (found := self.position(conv)) is not None}

    def position(self, conv: ConvId) -> Position | None:
        """Tell how far one conversation was delivered; None when it has not begun here."""
        return self._conversations.position(conv)

    # Inside: what came.

    def _take(self, topic: topics.Topic, payload: bytes, now: int) -> None:
        match topic:
            case topics.UserIn(kind="msg" | "event") | topics.DeviceIn(kind="msg" | "event"):
                self._entry(codec.decode(payload, Message), now)
            case topics.UserIn(kind="receipt"):
                self._conversations.receipt(codec.decode(payload, Receipt))
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
                self._repair.heads_at = now
            self._effects.append(Notice(entry))
            return
        log = self._conversations.log(ids.conv_id(entry.conv))
        self._conversations.own_copy(entry, now)
        if not log.placed and (entry.seq == 1 or self._repair.backlog == 0):
            log.place(entry.seq - 1)
        self._conversations.deliver(log.put(entry), now)
        if log.behind:
            self._repair.fill(entry.conv, now)

    def _error(self, error: ErrorNotice, now: int) -> None:
        retryable = error.code in KINDS and KINDS[Code(error.code)].retryable
        if (want := self._requests.of(error.id)) is not None and want in self._requests:
            if retryable:
                self._requests.put_off(want, now, error.retry_after)
            else:
                self._repair.gave_up(want, now)
        elif (conv := self._sending.waiting_for(MessageId(error.id), error.conv)) is not None:
            if retryable:
                self._sending.hold(conv, now, error.retry_after)
                self._effects.append(Status(conv, MessageId(error.id), State.PENDING, error=error))
            else:
                self._sending.settle(conv, MessageId(error.id), now)
                if error.code != Code.ID_REUSED:  # then the copy in the log is another message
                    self._conversations.refused(conv, MessageId(error.id))
                self._effects.append(Status(conv, MessageId(error.id), State.FAILED, error=error))
        else:
            self._effects.append(Notice(error))

    def _reply(self, payload: bytes, now: int) -> None:
        kind = codec.decode(payload, _ReplyKind).kind
        if kind == "heads":
            self._repair.heads(codec.decode(payload, HeadsReply), now)
        elif kind == "sync":
            self._repair.page(codec.decode(payload, SyncReply), now)
        else:
            self.ignored += 1

    # Inside: what goes out.

    def _flush(self, now: int) -> list[Effect]:
        if self._connected:
            self._repair.compare_when_due(now)
            self._send_due(now)
            self._claim_due(now)
            for request_id, ask in self._requests.take(now):
                self._do("heads" if isinstance(ask, DoHeads) else "sync", replace(ask, id=request_id))
            if users := self._watching.take(now):
                self._watches += 1
                self._do("watch", DoWatch(MessageId(f"{self._boot}-w{self._watches}"), users))
        effects, self._effects = self._effects, []
        return effects

    def _send_due(self, now: int) -> None:
        for entry in self._sending.due(now):
            if entry.tried and now - entry.made > LOOK_UP_AFTER_MS:
                self._repair.look_up(entry.conv, 0, now)
                continue
            self._sending.sent(entry.conv, now)
            self._effects.append(Status(entry.conv, entry.message.id, State.SENDING))
            self._effects.append(self._out(entry.conv, "msg", entry.message))

    def _claim_due(self, now: int) -> None:
        for conv, marks in self._conversations.receipts.items():
            if marks.due is not None and marks.due <= now:
                base = self._conversations.log(conv).base
                self._effects.extend(self._out(conv, "receipt", each) for each in marks.take(base, now))

    def _do(self, verb: str, request: DoHeads | DoSync | DoWatch) -> None:
        topic = topics.Do(self.user, self.device, ids.lane_of(self.user), verb)
        self._effects.append(Publish(topics.build(topic), codec.encode(request, self._encoding)))

    def _out(self, conv: ConvId, verb: str, value: Wire) -> Publish:
        topic = topics.Out(self.user, self.device, ids.lane_of(conv), conv, verb)
        return Publish(topics.build(topic), codec.encode(value, self._encoding))

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)
