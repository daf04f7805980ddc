"""A model of the server, as small as can be: one log a conversation, idempotent ids, marks; queues that lose.

It speaks the wire's bytes, so what it accepts is what a bridge would see.
"""

from collections import defaultdict, deque

from tidings.protocol import codec, ids, topics
from tidings.protocol.ids import ConvId, MessageId, UserId
from tidings.protocol.payloads import (
    DoHeads,
    DoSync,
    ErrorNotice,
    Head,
    HeadsReply,
    Mark,
    Message,
    Receipt,
    SendMessage,
    SendReceipt,
    SyncReply,
)
from tidings.session import Publish

ALICE = ids.make_user_id(bytes(range(11)))
BOB = ids.make_user_id(bytes(range(50, 61)))
CAROL = ids.make_user_id(bytes(range(90, 101)))
PHONE = ids.make_device_id(b"phone!")
LAPTOP = ids.make_device_id(b"laptop")
WITH_BOB = ids.direct_conversation(ALICE, BOB)
WITH_CAROL = ids.direct_conversation(ALICE, CAROL)
PEERS = {WITH_BOB: BOB, WITH_CAROL: CAROL}

Packet = tuple[str, bytes]


class Server:
    """Everything that one of Alice's devices (PHONE) sees of Tidings. `queue` is what the broker keeps for it."""

    def __init__(self) -> None:
        self.logs: dict[ConvId, list[Message]] = defaultdict(list)
        self.marks: dict[ConvId, dict[tuple[UserId, str], int]] = defaultdict(dict)
        self.versions: dict[ConvId, int] = defaultdict(int)
        self.queue: deque[Packet] = deque()
        self.refusing: str = ""
        self.page = 3

    def say(self, conv: ConvId, user: UserId, device: str, message: SendMessage) -> None:
        """Store and publish; a repeated id is answered with what is stored."""
        known = [e for e in self.logs[conv] if (e.from_, e.device, e.id) == (user, device, message.id)]
        if known:
            self.queue.append((f"u/{ALICE}/{PHONE}/in/msg", codec.encode(known[0])))
            return
        entry = Message(
            conv,
            len(self.logs[conv]) + 1,
            id=message.id,
            from_=user,
            device=ids.device_id(device),
            body=message.body,
            at=1 + len(self.logs[conv]),
        )
        self.logs[conv].append(entry)
        self.queue.append((f"u/{ALICE}/in/msg", codec.encode(entry)))

    def move(self, conv: ConvId, user: UserId, kind: str, to: int) -> None:
        """Move a mark and tell."""
        before = self.marks[conv].get((user, kind), 0)
        if to > before:
            self.marks[conv][user, kind] = to
            self.versions[conv] += 1
            receipt = Receipt(conv, user, kind, before, to, 1, self.versions[conv])
            self.queue.append((f"u/{ALICE}/in/receipt", codec.encode(receipt)))

    def take(self, published: Publish) -> None:
        """Carry out what PHONE published."""
        match topics.parse(published.topic):
            case topics.Out(conv=conv, verb="msg") as topic:
                topics.check_lane(topic)
                message = codec.decode(published.payload, SendMessage)
                if self.refusing:
                    self._answer("error", ErrorNotice(message.id, self.refusing, "no", conv, 0.5))
                else:
                    self.say(conv, ALICE, PHONE, message)
            case topics.Out(conv=conv, verb="receipt"):
                receipt = codec.decode(published.payload, SendReceipt)
                mark = self.marks[conv].get((ALICE, receipt.kind), 0)
                assert receipt.to <= len(self.logs[conv]), "claims what does not exist"
                if receipt.from_ <= mark:
                    self.move(conv, ALICE, receipt.kind, receipt.to)
            case topics.Do(verb="heads"):
                self._answer("reply", self._heads(codec.decode(published.payload, DoHeads)))
            case topics.Do(verb="sync"):
                self._answer("reply", self._sync(codec.decode(published.payload, DoSync)))
            case other:
                raise AssertionError(other)

    def _answer(self, kind: str, value: ErrorNotice | HeadsReply | SyncReply) -> None:
        self.queue.append((f"u/{ALICE}/{PHONE}/in/{kind}", codec.encode(value)))

    def _heads(self, ask: DoHeads) -> HeadsReply:
        convs = sorted(conv for conv in self.logs if self.logs[conv] and conv > ask.after)
        heads = tuple(Head(conv, 1, len(self.logs[conv]), self.versions[conv]) for conv in convs[:1])
        return HeadsReply(ask.id, heads, next=convs[0] if len(convs) > 1 else "")

    def _sync(self, ask: DoSync) -> SyncReply:
        found = [e for e in self.logs[ask.conv] if e.seq > ask.after and (not ask.before or e.seq < ask.before)]
        most = min(self.page, ask.limit)
        page = found[:most] if ask.after >= 0 else found[-most:]
        users = {user for user, _ in self.marks[ask.conv]}
        marks = tuple(
            Mark(user, self.marks[ask.conv].get((user, "delivered"), 0), self.marks[ask.conv].get((user, "read"), 0))
            for user in sorted(users)
        )
        return SyncReply(
            ask.id,
            ask.conv,
            tuple(page),
            has_more=len(found) > len(page),
            first=1 if self.logs[ask.conv] else 0,
            head=len(self.logs[ask.conv]),
            marks=marks,
            receipts=self.versions[ask.conv],
        )


def text(number: int, conv: ConvId) -> SendMessage:
    """A message to whom the conversation is with."""
    return SendMessage(MessageId(f"m{number}"), f"text {number}", to=PEERS[conv])
