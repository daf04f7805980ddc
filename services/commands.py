"""Commands to the writers of conversations: published on `s/{lane}/do`, answered on `s/api/{process}/re`.

Rules
- A command's id is its idempotency key, so it is published again whenever the link came back, until it is answered or
  its deadline has passed. After the deadline the owner refuses it.
- No answer in time is `Refusal(timedOut)`: it may have been carried out, and the same request tells.
- Two waiting calls never share an id: the second waits for the first, then asks for itself.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Raw

from tidings.protocol import codec, ids, topics
from tidings.protocol.errors import Code, LinkLost, Refusal
from tidings.protocol.ids import ConvId, DeviceId, MessageId, UserId
from tidings.protocol.link import Inbound, Link, Outbound
from tidings.protocol.payloads import Command, CommandReply, Wire

DEADLINE_MS: Final = 5_000
_WAITING_MOST: Final = 1_000
_PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before the first, second … attempt to connect again; the last one repeats."""


class Order(NamedTuple):
    """What is asked of a conversation's writer, and by which device of which user."""

    verb: str
    conv: ConvId
    user: UserId
    device: DeviceId
    id: MessageId
    args: Wire


class Commands(Protocol):
    """What carries an order out."""

    async def call(self, order: Order) -> CommandReply:
        """Wait for the writer's answer. Raises its refusal, or `Refusal(timedOut | unavailable)`."""
        ...


class CommandClient:
    """`Commands` over a link to the broker, as the service process `process`."""

    def __init__(self, link: Link, process: str, clock: Callable[[], int], *, deadline_ms: int = DEADLINE_MS) -> None:
        self._link = link
        self._replies = topics.build(topics.ApiReply(process))
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._waiting: dict[MessageId, asyncio.Future[CommandReply]] = {}
        self._connected = asyncio.Event()
        self._lost = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the link is up now."""
        return self._connected.is_set()

    async def run(self) -> None:
        """Keep the link connected until cancelled, then close it."""
        failures = 0
        try:
            while True:
                self._lost.clear()
                try:
                    await self._link.connect([self._replies], self._receive, self._on_lost)
                except LinkLost:
                    await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                    failures += 1
                    continue
                failures = 0
                self._connected.set()
                await self._lost.wait()
        finally:
            self._connected.clear()
            await self._link.close()

    async def call(self, order: Order) -> CommandReply:
        """Carry an order out. Raises the writer's refusal, or `Refusal(timedOut | unavailable)`."""
        if len(self._waiting) >= _WAITING_MOST:
            raise Refusal(Code.UNAVAILABLE, "too many requests wait for an answer", retry_after=1.0)
        command = Command(
            id=order.id,
            verb=order.verb,
            conv=order.conv,
            user=order.user,
            reply_to=self._replies,
            deadline=self._clock() + self._deadline_ms,
            args=Raw(codec.encode(order.args)),
            device=order.device,
        )
        try:
            async with asyncio.timeout(self._deadline_ms / 1000):
                reply = await self._answered(command)
        except TimeoutError:
            raise Refusal(Code.TIMED_OUT) from None
        return _accepted(reply)

    async def _answered(self, command: Command) -> CommandReply:
        while (other := self._waiting.get(command.id)) is not None:
            await asyncio.wait([other])
            await asyncio.sleep(0)
        answer: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        self._waiting[command.id] = answer
        try:
            publishing = asyncio.create_task(self._publish(command, answer))
            try:
                return await answer
            finally:
                publishing.cancel()
        finally:
            answer.cancel()
            del self._waiting[command.id]

    async def _publish(self, command: Command, answer: "asyncio.Future[CommandReply]") -> None:
        """Publish the command on every connection there is until it is answered."""
        topic = topics.build(topics.LaneDo(ids.lane_of(command.conv)))
        payload = codec.encode(command)
        while not answer.done():
            await self._connected.wait()
            lost = self._lost
            try:
                await self._link.publish([Outbound(topic, payload)])
                await lost.wait()
            except LinkLost:
                await asyncio.sleep(_PAUSES[0])

    def _receive(self, messages: Sequence[Inbound]) -> None:
        self._link.ack([message.handle for message in messages if message.qos])
        for message in messages:
            try:
                reply = codec.decode(message.payload, CommandReply)
            except Refusal:
                continue
            answer = self._waiting.get(reply.id)
            if answer is not None and not answer.done():
                answer.set_result(reply)

    def _on_lost(self) -> None:
        self._connected.clear()
        self._lost.set()


def _accepted(reply: CommandReply) -> CommandReply:
    if not reply.code:
        return reply
    code = Code(reply.code) if reply.code in set(Code) else Code.INTERNAL
    raise Refusal(code, reply.text, retry_after=reply.retry_after)
