"""The asyncio shell over a real broker: sending, receiving, reconnecting."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sdk.broker import Mosquitto, profile_of, served
from tests.unit.session.server import ALICE, BOB, LAPTOP, PHONE, WITH_BOB, Server, text
from tidings.aio import Client, new_message_id
from tidings.cache import Cache
from tidings.protocol.errors import Refusal
from tidings.session import Deliver, State, Status

pytestmark = pytest.mark.mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    with mosquitto.running():
        yield mosquitto


async def test_a_message_is_stored_and_comes_back_with_its_number(broker: Mosquitto) -> None:
    async with asyncio.timeout(20), served(broker.port, Server()), Client(profile_of(ALICE, PHONE, broker.port)) as me:
        assert await me.send_to(BOB, "hi") == 1
        assert await me.send_to(BOB, "how are you?") == 2
        async for entry in me:
            if entry.seq == 2:
                assert entry.body == "how are you?"
                break


async def test_what_was_said_while_offline_comes_in_order_and_is_claimed(broker: Mosquitto) -> None:
    server = Server()
    for number in range(7):
        server.say(WITH_BOB, BOB, LAPTOP, text(number, WITH_BOB))
    server.queue.clear()
    async with asyncio.timeout(20), served(broker.port, server), Client(profile_of(ALICE, PHONE, broker.port)) as me:
        seen = []
        async for entry in me:
            seen.append(entry.seq)
            me.mark_read(entry.conv, entry.seq)
            if entry.seq == 7:
                break
        await me.drained()
        assert seen == list(range(1, 8))
        # Drained means that Mosquitto has it; the server behind takes it a moment later.
        while server.marks[WITH_BOB] != {(ALICE, "delivered"): 7, (ALICE, "read"): 7}:
            await asyncio.sleep(0.01)


async def test_a_message_outlives_the_broker_and_the_client(broker: Mosquitto, tmp_path: Path) -> None:
    server, me = Server(), profile_of(ALICE, PHONE, broker.port)
    with Cache(tmp_path / "alice.db") as cache:
        async with Client(me, outbox=cache) as first:
            message_id = first.post(WITH_BOB, "into the void", to=BOB)
            async with asyncio.timeout(10):
                async for event in first.events():
                    if isinstance(event, Status) and event.state is State.SENDING:
                        break
        assert [entry.message.id for entry in cache.entries()] == [message_id]
    with Cache(tmp_path / "alice.db") as cache:
        async with asyncio.timeout(20), served(broker.port, server), Client(me, outbox=cache) as second:
            async for event in second.events():
                if isinstance(event, Deliver):
                    assert (event.entry.id, event.entry.body) == (message_id, "into the void")
                    break
        assert not list(cache.entries())


async def test_the_client_comes_back_after_a_broker_restart(tmp_path: Path) -> None:
    broker, server = Mosquitto(tmp_path), Server()
    async with asyncio.timeout(40), Client(profile_of(ALICE, PHONE, broker.port)) as me:
        with broker.running():
            async with served(broker.port, server):
                assert await me.send_to(BOB, "before") == 1
        posted = asyncio.create_task(me.send_to(BOB, "between"))
        with broker.running():
            async with served(broker.port, server):
                assert await posted == 2


async def test_a_refusal_is_raised_to_the_sender(broker: Mosquitto) -> None:
    server = Server()
    server.refusing = "unknownRecipient"
    async with asyncio.timeout(20), served(broker.port, server), Client(profile_of(ALICE, PHONE, broker.port)) as me:
        with pytest.raises(Refusal, match="unknownRecipient"):
            await me.send_to(BOB, "hi")


async def test_leaving_the_client_ends_who_waits_in_it(broker: Mosquitto) -> None:
    async with Client(profile_of(ALICE, PHONE, broker.port)) as me:
        waiting = asyncio.create_task(me.send_to(BOB, "nobody answers"))
        await asyncio.wait_for(me.connected.wait(), 10)
    with pytest.raises(Refusal, match="closed"):
        await waiting


def test_message_ids_are_uuid7_and_differ() -> None:
    made = {new_message_id() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(len(each) == 32 and each[12] == "7" and each[16] in "89ab" for each in made)
