"""Deciding without a lane group: a conversation's state, and orders put to it."""

import msgspec

from bridge.conversation import Found, decide
from bridge.decision import Decision, Repeat, Verdict
from bridge.intake import digest
from bridge.orders import Acknowledge, Alter, Change, Order, Say
from bridge.state import State
from stores.ports.directory import Person
from tests.unit.bridge.house import ALICE, BOB, CAROL, DAN, NOW, PHONE
from tidings.protocol import codec, ids
from tidings.protocol.commands import CreateGroup
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId
from tidings.protocol.payloads import Message, SendMessage, SendReceipt

REQUEST = MessageId("request-1")
GROUP = ids.group_conversation(ALICE, REQUEST)


class Talk:
    """A conversation to which orders are put; decisions are taken in at once."""

    def __init__(self, conv: ConvId) -> None:
        self.state = State(conv)
        self.people = {who: Person(who) for who in (ALICE, BOB, CAROL, DAN)}
        self.now = NOW
        self.found = Found()
        self._numbers = 0

    def put(self, order: Order) -> Verdict:
        """Decide an order and take it in. Raises `Refusal`."""
        verdict = decide(self.state, order, self.people, self.now, self.found)
        if isinstance(verdict, Decision):
            self.state.apply(verdict)
        return verdict

    def say(
        self,
        sender: UserId = ALICE,
        body: str = "hi",
        id_: str = "",
        to: UserId = BOB,
        on: DeviceId = PHONE,
        reply_to: int = 0,
    ) -> Verdict:
        """Say a text, under a new id unless one is given."""
        self._numbers += 1
        message = SendMessage(MessageId(id_ or f"m{self._numbers}"), body, to=to, reply_to=reply_to)
        return self.put(Say(self.state.conv, sender, on, message, digest(body)))

    def alter(self, change: Change, by: UserId = ALICE, id_: str = "") -> Verdict:
        """Change the group."""
        self._numbers += 1
        request = MessageId(id_ or f"c{self._numbers}")
        return self.put(Alter(self.state.conv, by, PHONE, request, change, digest(type(change).__name__, change)))

    def acknowledge(self, who: UserId, kind: str, low: int, to: int) -> Verdict:
        """Receive, or read, all of `(low, to]`."""
        return self.put(Acknowledge(self.state.conv, who, SendReceipt(kind, low, to)))

    def block(self, who: UserId, whom: UserId) -> None:
        """Let `who` block `whom`."""
        self.people[who] = msgspec.structs.replace(self.people[who], blocks=self.people[who].blocks | {whom})

    @property
    def log(self) -> list[Message]:
        """Tell the log as its canonical messages."""
        return [codec.decode(row.payload, Message) for row in self.state.tail]


def direct() -> Talk:
    """Make the direct conversation of Alice and Bob, not begun."""
    return Talk(ids.direct_conversation(ALICE, BOB))


def group(*members: UserId, history: bool = True) -> Talk:
    """Make a group by Alice with these members."""
    talk = Talk(GROUP)
    talk.alter(CreateGroup("walkers", members, history=history), id_=REQUEST)
    return talk


def done(verdict: Verdict) -> Decision:
    """Tell a decision; anything else is a failure."""
    assert isinstance(verdict, Decision), verdict
    return verdict


def repeat_of(verdict: Verdict) -> int:
    """Tell a repeat's number; anything else is a failure."""
    assert isinstance(verdict, Repeat), verdict
    return verdict.seq
