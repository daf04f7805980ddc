"""What the bridge's tests are played with: people with ids, a broker of one session, and a world around an owner."""

import asyncio
import itertools
from collections.abc import Iterable, Sequence

from bridge.batch import Bounds
from bridge.bridge import Bridge
from bridge.owner import Stores, Surroundings
from stores.memory.deadletters import MemoryDeadLetters
from stores.memory.lastseen import MemoryLastSeen
from stores.memory.log import MemoryLog
from stores.ports.directory import Person
from tidings.protocol import codec, ids, topics
from tidings.protocol.errors import LinkLost, StoreUnavailable
from tidings.protocol.ids import ConvId, DeviceId, Group, MessageId, UserId
from tidings.protocol.link import Handle, Inbound, Lost, Outbound, Receive
from tidings.protocol.payloads import ErrorNotice, Message, SendMessage, Wire

NOW = 1_800_000_000_000
"""A wall clock's start, ms UTC."""


def user(number: int) -> UserId:
    """Make the user of a number; all on one lane, so that their own requests reach one lane group."""
    return ids.make_user_id(bytes([0xA0, *number.to_bytes(10, "big")]))


def device(number: int) -> DeviceId:
    """Make the device of a number."""
    return ids.make_device_id(number.to_bytes(6, "big"))


ALICE, BOB, CAROL, DAN = (user(n) for n in range(1, 5))
PHONE, TABLET = device(1), device(2)
DIRECT = ids.direct_conversation(ALICE, BOB)
GROUP = ids.group_of(ids.lane_of(DIRECT))


def out(
    sender: UserId, wish: Wire, conv: ConvId = DIRECT, *, verb: str = "msg", on: DeviceId = PHONE
) -> tuple[str, bytes]:
    """Build what a device publishes in a conversation."""
    return topics.build(topics.Out(sender, on, ids.lane_of(conv), conv, verb)), codec.encode(wish)


def text(
    id_: str = "m1", body: str = "hi", sender: UserId = ALICE, to: UserId = BOB, on: DeviceId = PHONE
) -> tuple[str, bytes]:
    """Build a text of a direct conversation."""
    said = SendMessage(MessageId(id_), body, to=to)
    return out(sender, said, ids.direct_conversation(sender, to), on=on)


class People:
    """A directory that can fail."""

    def __init__(self, *users: UserId) -> None:
        self.people = {who: Person(who) for who in users or (ALICE, BOB, CAROL, DAN)}
        self.down = False
        self.asked = 0

    async def people_of(self, users: frozenset[UserId]) -> dict[UserId, Person]:
        """Tell of those that exist."""
        self.asked += 1
        if self.down:
            raise StoreUnavailable("directory")
        return {who: self.people[who] for who in users if who in self.people}


class Phonebook:
    """The port over `People`."""

    def __init__(self, people: People) -> None:
        self._people = people

    async def people(self, users: frozenset[UserId]) -> dict[UserId, Person]:
        """See the port."""
        return await self._people.people_of(users)


class Session:
    """A broker that has one durable session, and everybody's ears: it delivers at least once, in order, and delivers
    again after a cut what was not acknowledged."""

    def __init__(self) -> None:
        self.heard: list[Outbound] = []
        self.down = False
        self.cuts_at_once = 0
        """How many connections are cut as soon as they are there."""
        self.mute = False
        """Whether publishes are left without an answer."""
        self.filters: Sequence[str] = ()
        self.connections = 0
        self.acknowledged: list[tuple[str, bytes]] = []
        self._connection = 0
        self._packets = itertools.count(1)
        self._unacknowledged: dict[int, tuple[str, bytes]] = {}
        self._receive: Receive | None = None
        self._lost: Lost | None = None
        self._unanswered: list[asyncio.Future[None]] = []

    def say(self, *messages: tuple[str, bytes], qos: int = 1) -> None:
        """Publish as devices do; what finds no bridge waits for it."""
        arrived: list[Inbound] = []
        for topic, payload in messages:
            packet = next(self._packets) if qos else 0
            if qos:
                self._unacknowledged[packet] = (topic, payload)
            arrived.append(Inbound(topic, payload, qos, Handle(self._connection, packet)))
        if self._receive is not None:
            self._receive(arrived)

    def cut(self) -> None:
        """Cut the connection."""
        lost, self._lost, self._receive = self._lost, None, None
        for answer in self._unanswered:
            if not answer.done():
                answer.set_exception(LinkLost("cut"))
        self._unanswered.clear()
        if lost is not None:
            lost()

    def unmute(self) -> None:
        """Answer everything that was left without an answer."""
        self.mute = False
        for answer in self._unanswered:
            if not answer.done():
                answer.set_result(None)
        self._unanswered.clear()

    @property
    def waiting(self) -> list[tuple[str, bytes]]:
        """What no bridge has acknowledged."""
        return list(self._unacknowledged.values())

    def link(self) -> "SessionLink":
        """Make a link to this session: each process has its own, and the last to connect has the session."""
        return SessionLink(self)

    def admit(self, filters: Sequence[str], receive: Receive, lost: Lost) -> int:
        """Let a link in, cutting the one before; tells its connection's number."""
        if self.down:
            raise LinkLost("broker is down")
        self.cut()
        self.filters = filters
        self.connections += 1
        self._connection = self.connections
        self._receive, self._lost = receive, lost
        again, self._unacknowledged = self._unacknowledged, {}
        self.say(*again.values())
        if self.cuts_at_once:
            self.cuts_at_once -= 1
            self.cut()
        return self.connections

    async def hear(self, connection: int, messages: Sequence[Outbound]) -> None:
        """Take publishes, and answer them."""
        if self._receive is None or connection != self._connection:
            raise LinkLost("not connected")
        self.heard.extend(messages)
        if self.mute:
            answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._unanswered.append(answer)
            await answer

    def acknowledge(self, handles: Iterable[Handle]) -> None:
        """Take acknowledgements; those of closed connections mean nothing."""
        for handle in handles:
            if handle.connection == self._connection and handle.packet in self._unacknowledged:
                self.acknowledged.append(self._unacknowledged.pop(handle.packet))

    def leave(self, connection: int) -> None:
        """Let a link go; the session stays."""
        if connection == self._connection:
            self._receive = self._lost = None

    def messages(self, who: UserId, kind: str = "msg") -> list[Message]:
        """List what came on `u/{who}/in/{kind}`."""
        return [codec.decode(m.payload, Message) for m in self.heard if m.topic == f"u/{who}/in/{kind}"]

    def errors(self, who: UserId = ALICE, on: DeviceId = PHONE) -> list[ErrorNotice]:
        """List the refusals that a device was told."""
        topic = f"u/{who}/{on}/in/error"
        return [codec.decode(m.payload, ErrorNotice) for m in self.heard if m.topic == topic]


class SessionLink:
    """A `Link` to a `Session`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = 0

    async def connect(self, filters: Sequence[str], receive: Receive, lost: Lost) -> None:
        """See the port."""
        self._connection = self._session.admit(filters, receive, lost)

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """See the port."""
        await self._session.hear(self._connection, messages)

    def ack(self, handles: Iterable[Handle]) -> None:
        """See the port."""
        self._session.acknowledge(handles)

    async def close(self) -> None:
        """See the port."""
        self._session.leave(self._connection)


class World:
    """A bridge of one lane group with everything around it in memory."""

    def __init__(self, group: Group = GROUP, log: MemoryLog | None = None) -> None:
        self.log = log or MemoryLog()
        self.people = People()
        self.dead = MemoryDeadLetters()
        self.seen = MemoryLastSeen()
        self.session = Session()
        self.group = group
        self.wall = 0
        """How far the wall clock is from `NOW` plus the loop's time, ms."""
        self._names = itertools.count(1)

    def clock(self) -> int:
        """Tell the wall clock, ms UTC."""
        return NOW + self.wall + int(asyncio.get_running_loop().time() * 1000)

    def bridge(self, name: str = "one", bounds: Bounds | None = None) -> Bridge:
        """Make a bridge."""
        stores = Stores(self.log, self.log, Phonebook(self.people), self.dead, self.seen)
        around = Surroundings(self.clock, lambda: 0.5, lambda: MessageId(f"new-{next(self._names)}"), name)
        return Bridge([self.group], stores, lambda _: self.session.link(), around, bounds)


async def settled(seconds: float = 0.5) -> None:
    """Let virtual time pass, so that everything that can happen has happened."""
    await asyncio.sleep(seconds)
