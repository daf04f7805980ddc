"""A service process that sends commands to lane owners, as HTTP calls do."""

import asyncio

from msgspec import Raw

from tests.simulation.broker import SimBroker, SimLink
from tests.simulation.network import Network
from tests.simulation.process import EPOCH_MS
from tidings.protocol import codec, ids, topics
from tidings.protocol.errors import KINDS, Code, LinkLost
from tidings.protocol.ids import ConvId, MessageId, UserId
from tidings.protocol.link import Inbound, Outbound
from tidings.protocol.payloads import Command, CommandReply, Wire

_DEADLINE_MS = 5_000
_NAME = "1"


class Api:
    """Sends commands, again with the same id until they are answered."""

    def __init__(self, broker: SimBroker, network: Network) -> None:
        self._link = SimLink(broker, network, f"api-{_NAME}")
        self._reply_to = topics.build(topics.ApiReply(_NAME))
        self._waiting: dict[MessageId, asyncio.Future[CommandReply]] = {}
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Stay connected."""
        while True:
            try:
                self._gone.clear()
                await self._link.connect([self._reply_to], lambda messages: self._take(list(messages)), self._gone.set)
                await self._gone.wait()
            except LinkLost:
                await asyncio.sleep(0.5)

    async def do(self, id_: MessageId, verb: str, conv: ConvId, user: UserId, args: Wire) -> CommandReply:
        """Have a command carried out or refused."""
        while True:
            reply = await self._try(id_, verb, conv, user, args)
            if reply is not None and not (reply.code and KINDS[Code(reply.code)].retryable):
                return reply
            await asyncio.sleep(1 + (reply.retry_after if reply else 0))

    async def _try(self, id_: MessageId, verb: str, conv: ConvId, user: UserId, args: Wire) -> CommandReply | None:
        loop = asyncio.get_running_loop()
        deadline = EPOCH_MS + int(loop.time() * 1000) + _DEADLINE_MS
        command = Command(id_, verb, conv, user, self._reply_to, deadline, Raw(codec.encode(args)))
        answer: asyncio.Future[CommandReply] = loop.create_future()
        self._waiting[id_] = answer
        try:
            async with asyncio.timeout(_DEADLINE_MS / 1000):
                await self._link.publish(
                    [Outbound(topics.build(topics.LaneDo(ids.lane_of(conv))), codec.encode(command))]
                )
                return await answer
        except (TimeoutError, LinkLost):
            return None
        finally:
            self._waiting.pop(id_, None)

    def _take(self, messages: list[Inbound]) -> None:
        for message in messages:
            reply = codec.decode(message.payload, CommandReply)
            answer = self._waiting.get(reply.id)
            if answer is not None and not answer.done():
                answer.set_result(reply)
        self._link.ack([message.handle for message in messages])
