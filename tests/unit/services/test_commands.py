"""The command client: replies by id, repeats over a lost link, and deadlines."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from services.commands import CommandClient, Order
from tidings.protocol import codec, ids
from tidings.protocol.errors import Code, LinkLost, Refusal
from tidings.protocol.ids import MessageId
from tidings.protocol.link import Handle, Inbound, Lost, Outbound, Receive
from tidings.protocol.payloads import Command, CommandReply, SendMessage

NOW = 1_800_000_000_000
ALICE = ids.make_user_id(bytes(range(11)))
BOB = ids.make_user_id(bytes(range(11, 22)))
CONV = ids.direct_conversation(ALICE, BOB)
ORDER = Order(
    "message.send", CONV, ALICE, ids.make_device_id(b"phone1"), MessageId("k1"), SendMessage(MessageId("m1"), "hi")
)

Answer = Callable[[Command], list[CommandReply]]


def done(command: Command) -> list[CommandReply]:
    return [CommandReply(command.id, seq=7)]


class FakeLink:
    """A link whose other end answers at once, as told; `refuse` connections fail first."""

    def __init__(self, answer: Answer = done, refuse: int = 0) -> None:
        self.answer = answer
        self.refuse = refuse
        self.commands: list[tuple[str, Command]] = []
        self.filters: list[Sequence[str]] = []
        self.acked: list[Handle] = []
        self.closed = False
        self._receive: Receive | None = None
        self._lost: Lost | None = None

    async def connect(self, filters: Sequence[str], receive: Receive, lost: Lost) -> None:
        if self.refuse:
            self.refuse -= 1
            raise LinkLost
        self.filters.append(filters)
        self._receive, self._lost = receive, lost

    async def publish(self, messages: Sequence[Outbound]) -> None:
        if self._receive is None:
            raise LinkLost
        for message in messages:
            command = codec.decode(message.payload, Command)
            self.commands.append((message.topic, command))
            self.deliver(*(codec.encode(reply) for reply in self.answer(command)))

    def deliver(self, *payloads: bytes) -> None:
        assert self._receive is not None
        self._receive([Inbound("s/api/web/re", payload, 1, Handle(1, n + 1)) for n, payload in enumerate(payloads)])

    def cut(self) -> None:
        lost, self._receive = self._lost, None
        assert lost is not None
        lost()

    def ack(self, handles: Iterable[Handle]) -> None:
        self.acked.extend(handles)

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def client(link: FakeLink, deadline_ms: int = 2_000) -> AsyncIterator[CommandClient]:
    commands = CommandClient(link, "web", lambda: NOW, deadline_ms=deadline_ms)
    running = asyncio.create_task(commands.run())
    try:
        yield commands
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert link.closed
        assert not commands._waiting


async def test_a_command_goes_to_its_lane_and_its_answer_comes_back() -> None:
    link = FakeLink()
    async with client(link) as commands:
        assert (await commands.call(ORDER)).seq == 7
    assert link.filters == [["s/api/web/re"]]
    [(topic, command)] = link.commands
    assert topic == f"s/{CONV[2:4]}/do"
    assert command.reply_to == "s/api/web/re"
    assert command.deadline == NOW + 2_000
    assert codec.decode(bytes(command.args), SendMessage).body == "hi"
    assert link.acked == [Handle(1, 1)]


async def test_a_refusal_is_the_writers_own() -> None:
    link = FakeLink(lambda command: [CommandReply(command.id, "rateLimited", "slowly", retry_after=3)])
    async with client(link) as commands:
        with pytest.raises(Refusal) as caught:
            await commands.call(ORDER)
    assert (caught.value.code, caught.value.text, caught.value.retry_after) == (Code.RATE_LIMITED, "slowly", 3)


async def test_a_code_of_a_later_version_is_internal() -> None:
    async with client(FakeLink(lambda command: [CommandReply(command.id, "moonPhase", "wait")])) as commands:
        with pytest.raises(Refusal, match="internal: wait"):
            await commands.call(ORDER)


async def test_no_answer_in_time_is_told() -> None:
    link = FakeLink(lambda command: [])
    async with client(link, deadline_ms=30) as commands:
        with pytest.raises(Refusal) as caught:
            await commands.call(ORDER)
    assert len(link.commands) == 1, "while the link is up, once is enough"
    assert caught.value.code is Code.TIMED_OUT
    assert caught.value.kind.retryable


async def test_without_a_link_a_command_waits_for_one() -> None:
    link = FakeLink(refuse=1)
    async with client(link) as commands:
        assert not commands.connected
        assert (await commands.call(ORDER)).seq == 7


async def test_a_command_is_published_again_after_the_link_came_back() -> None:
    link = FakeLink()
    silent = [True]

    def answer(command: Command) -> list[CommandReply]:
        if silent.pop():
            silent.append(False)
            asyncio.get_running_loop().call_soon(link.cut)
            return []
        return done(command)

    link.answer = answer
    async with client(link) as commands:
        assert (await commands.call(ORDER)).seq == 7
    assert [command.id for _, command in link.commands] == ["k1", "k1"]
    assert len({codec.encode(command) for _, command in link.commands}) == 1, "byte for byte"


async def test_two_calls_of_one_id_do_not_share_an_answer() -> None:
    numbers = iter((7, 8))
    link = FakeLink(lambda command: [CommandReply(command.id, seq=next(numbers))])
    async with client(link) as commands:
        replies = await asyncio.gather(commands.call(ORDER), commands.call(ORDER))
    assert [reply.seq for reply in replies] == [7, 8]


async def test_answers_to_nobody_and_bytes_of_anything_are_acknowledged_and_dropped() -> None:
    link = FakeLink(lambda command: [CommandReply(MessageId("other"), seq=1), *done(command), *done(command)])
    async with client(link) as commands:
        await commands.call(ORDER)
        link.deliver(b"", b"\xff", b"{}", b'{"id": 7}')
    assert len(link.acked) == 7


async def test_how_many_may_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.commands._WAITING_MOST", 1)
    async with client(FakeLink(lambda command: []), deadline_ms=50) as commands:
        first = asyncio.create_task(commands.call(ORDER))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as caught:
            await commands.call(ORDER._replace(id=MessageId("k2")))
        assert caught.value.code is Code.UNAVAILABLE
        with pytest.raises(Refusal):
            await first
