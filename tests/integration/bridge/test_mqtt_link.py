"""The socket link against a real Mosquitto: cuts lose nothing, and acknowledgements keep their order."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from bridge.links.mqtt import Address, MqttLink
from tests.processes import free_port
from tidings.protocol.errors import LinkLost
from tidings.protocol.link import Handle, Inbound, Outbound

pytestmark = pytest.mark.mosquitto
COUNT = 10_000


class Ears:
    """A receiver that acknowledges what it has been told to, and connects again when it is cut."""

    def __init__(self, link: MqttLink) -> None:
        self.link = link
        self.heard: list[Inbound] = []
        self.lost = asyncio.Event()
        self.arrived = asyncio.Event()
        self.deaf = False

    async def connect(self) -> None:
        self.lost.clear()
        await self.link.connect(["test/#"], self._receive, self.lost.set)

    def _receive(self, messages: Sequence[Inbound]) -> None:
        self.heard.extend(messages)
        self.arrived.set()
        if not self.deaf:
            self.link.ack([message.handle for message in messages])

    async def until(self, count: int) -> None:
        """Wait until so many different payloads were heard."""
        async with asyncio.timeout(60):
            while len({message.payload for message in self.heard}) < count:
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture
async def sender(port: int) -> AsyncIterator[MqttLink]:
    link = MqttLink(Address("127.0.0.1", port, "sender"))
    await link.connect([], lambda _: None, lambda: None)
    yield link
    await link.close()


@pytest.fixture
async def ears(port: int) -> AsyncIterator[Ears]:
    hearing = Ears(MqttLink(Address("127.0.0.1", port, "ears")))
    await hearing.connect()
    yield hearing
    await hearing.link.close()


def numbered(low: int, high: int) -> list[Outbound]:
    return [Outbound("test/numbers", b"%d" % n) for n in range(low, high)]


def cut(link: MqttLink) -> None:
    """Cut the connection as a network does: without a word."""
    connection = link._connection
    assert connection is not None
    assert connection._transport is not None
    connection._transport.abort()


async def test_ten_thousand_messages_arrive_in_order(sender: MqttLink, ears: Ears) -> None:
    await sender.publish(numbered(0, COUNT))
    await ears.until(COUNT)
    assert [int(message.payload) for message in ears.heard] == list(range(COUNT))


async def test_case_a_cut_in_the_middle_loses_nothing(sender: MqttLink, ears: Ears) -> None:
    ears.deaf = True
    await sender.publish(numbered(0, COUNT // 2))
    await ears.until(500)
    cut(ears.link)
    await asyncio.wait_for(ears.lost.wait(), 10)
    ears.deaf = False
    await ears.connect()
    await sender.publish(numbered(COUNT // 2, COUNT))
    await ears.until(COUNT)
    again = [int(message.payload) for message in ears.heard if message.handle.connection == 2]
    assert again == list(range(COUNT)), "what was not acknowledged comes again, in order, and nothing is missing"


async def test_case_handles_die_with_their_connection(sender: MqttLink, ears: Ears) -> None:
    ears.deaf = True
    await sender.publish(numbered(0, 10))
    await ears.until(10)
    old = [message.handle for message in ears.heard]
    cut(ears.link)
    await asyncio.wait_for(ears.lost.wait(), 10)
    await ears.connect()
    await sender.publish(numbered(10, 11))
    await ears.until(11)
    ears.link.ack(old)
    cut(ears.link)
    await asyncio.wait_for(ears.lost.wait(), 10)
    ears.heard.clear()
    await ears.connect()
    await ears.until(11)


async def test_acknowledgements_out_of_order_are_all_taken(sender: MqttLink, ears: Ears) -> None:
    ears.deaf = True
    await sender.publish(numbered(0, 100))
    await ears.until(100)
    for message in reversed(ears.heard):
        ears.link.ack([message.handle])
    ears.link.ack([Handle(99, 1)])
    await ears.link.close()
    ears.heard.clear()
    await ears.connect()
    await sender.publish(numbered(100, 101))
    await ears.until(1)
    assert [message.payload for message in ears.heard] == [b"100"]


async def test_an_unanswered_publish_ends_with_its_connection(sender: MqttLink) -> None:
    publishing = asyncio.ensure_future(sender.publish(numbered(0, COUNT)))
    await asyncio.sleep(0)
    cut(sender)
    with pytest.raises(LinkLost):
        await publishing
    with pytest.raises(LinkLost):
        await sender.publish(numbered(0, 1))


async def test_a_second_link_of_the_same_client_id_cuts_the_first(port: int, ears: Ears) -> None:
    successor = Ears(MqttLink(Address("127.0.0.1", port, "ears")))
    await successor.connect()
    await asyncio.wait_for(ears.lost.wait(), 10)
    await successor.link.close()


async def test_nobody_listens_is_a_lost_link() -> None:
    link = MqttLink(Address("127.0.0.1", free_port(), "nobody", timeout=2.0))
    with pytest.raises(LinkLost):
        await link.connect([], lambda _: None, lambda: None)
