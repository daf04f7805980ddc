"""All conversations of a device: entries taken in and delivered in order, own copies recognised, watermarks followed.

Rules
- The canonical copy of an own message is its acknowledgement, however it comes: live, alone, or from history.
- What is delivered here, of others and visible, is claimed as delivered (unless this device claims nothing).
- Members come and go with the entries that say so; only present ones hold a tick back.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tidings.protocol import ids
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId
from tidings.protocol.payloads import Message, Receipt, is_event
from tidings.session.effects import Deliver, Effect, Moved, State, Status
from tidings.session.log import ConversationLog, Position
from tidings.session.outbox import Sending
from tidings.session.receipts import Receipts
from tidings.session.requests import Requests, Want

REFUSED_MOST: Final = 1_000
"""Refused messages that are remembered."""


class Conversations:
    """Logs and watermarks, by conversation. Whatever is to be told goes to `emit`."""

    def __init__(
        self,
        user: UserId,
        device: DeviceId,
        sending: Sending,
        requests: Requests,
        emit: Callable[[Effect], None],
        positions: Mapping[ConvId, Position],
        *,
        claiming: bool,
    ) -> None:
        self.logs = {conv: ConversationLog(position) for conv, position in positions.items()}
        self.receipts: dict[ConvId, Receipts] = {}
        self._user = user
        self._device = device
        self._sending = sending
        self._requests = requests
        self._emit = emit
        self._claiming = claiming
        self._refused: OrderedDict[tuple[ConvId, MessageId], None] = OrderedDict()
        for conv, position in positions.items():
            self.marks(conv).stored("delivered", position.claimed)
            if claiming and position.claimed < position.applied:  # the claim may have been lost with the last run
                self.marks(conv).want("delivered", position.applied, 0)

    def log(self, conv: ConvId) -> ConversationLog:
        """Find a conversation's log; a new one is not placed yet."""
        return self.logs.setdefault(conv, ConversationLog())

    def marks(self, conv: ConvId) -> Receipts:
        """Find a conversation's watermarks."""
        return self.receipts.setdefault(conv, Receipts())

    def position(self, conv: ConvId) -> Position | None:
        """Tell how far one conversation was delivered; None when it has not begun here."""
        log = self.logs.get(conv)
        if log is None or not log.placed:
            return None
        return Position(log.base, log.applied, log.receipts, self.marks(conv).mine["delivered"].stored)

    @property
    def behind(self) -> bool:
        """Whether anything is known to be missing."""
        return any(log.behind for log in self.logs.values())

    def own_copy(self, entry: Message, now: int) -> None:
        """If this is the copy of a message that waits in the outbox: it is sent."""
        if entry.from_ != self._user or entry.device != self._device:
            return
        if self._sending.settle(entry.conv, entry.id, now) or self._is_forgiven(entry):
            self._requests.forget(Want("lookup", entry.conv))
            marks = self.marks(entry.conv)
            marks.own(entry.seq, entry.id)
            self._emit(Status(entry.conv, entry.id, State.SENT, entry.seq))
            self._passed(entry.conv, marks)

    def refused(self, conv: ConvId, message_id: MessageId) -> None:
        """Remember a final refusal: a second copy of the message, already on its way when the first was refused, may
        be accepted once the world has changed (made a member again, say). Then it is sent, and is told so."""
        self._refused[conv, message_id] = None
        if len(self._refused) > REFUSED_MOST:
            self._refused.popitem(last=False)

    def _is_forgiven(self, entry: Message) -> bool:
        return self._refused.pop((entry.conv, entry.id), self) is None

    def deliver(self, entries: Iterable[Message], now: int) -> None:
        """Tell entries that are next in their log."""
        for entry in entries:
            marks = self.marks(entry.conv)
            _follow_members(marks, entry, self._user)
            visible = entry.kind != "tombstone" and not is_event(entry.kind)
            if self._claiming and visible and entry.from_ != self._user:
                marks.want("delivered", entry.seq, now)
            self._emit(Deliver(entry))

    def receipt(self, receipt: Receipt) -> None:
        """A watermark's move was told."""
        log = self.log(ids.conv_id(receipt.conv))
        if receipt.version == log.receipts + 1:
            log.receipts = receipt.version
        self.mark(receipt.conv, receipt.user, receipt.kind, receipt.to)

    def mark(self, conv: ConvId, user: UserId, kind: str, to: int) -> None:
        """A watermark stands at `to`."""
        marks = self.marks(conv)
        if user == self._user:
            if marks.stored(kind, to):
                self._emit(Moved(conv, user, kind, to))
        elif marks.move(user, kind, to):
            self._emit(Moved(conv, user, kind, to))
            self._passed(conv, marks)

    def _passed(self, conv: ConvId, marks: Receipts) -> None:
        for seq, message_id, state in marks.reached():
            self._emit(Status(conv, message_id, state, seq))


def _follow_members(marks: Receipts, entry: Message, me: UserId) -> None:
    match entry.kind:
        case "direct.created" | "group.created" | "member.added":
            members = entry.data.get("members")
            for user in members if isinstance(members, list) else ():
                if user != me and isinstance(user, str):
                    marks.join(UserId(user))
        case "member.removed":
            marks.leave(UserId(str(entry.data.get("user"))))
        case "member.left":
            marks.leave(entry.from_)
