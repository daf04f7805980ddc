"""The in-process link beside stock clients over TCP, on the real store."""

import asyncio

import aiomqtt
import pytest

from broker.embedded.durable import SqliteStore
from broker.embedded.link import InProcessLink
from tests.processes import free_port
from tidings.protocol.errors import LinkLost
from tidings.protocol.link import Outbound


class End:
    """What a bridge has of a link: what came, and whether it was lost."""

    def __init__(self, broker, client_id="bridge-0", **options):
        self.link = InProcessLink(broker, client_id, **options)
        self.came = asyncio.Queue()
        self.lost = asyncio.Event()

    async def connect(self, *filters):
        await self.link.connect(filters, lambda some: [self.came.put_nowait(one) for one in some], self.lost.set)
        return self

    async def next(self):
        return await asyncio.wait_for(self.came.get(), 5)


def device(endpoints, client_id="c", **options):
    """Make a stock client."""
    return aiomqtt.Client(
        endpoints.host, endpoints.mqtt, identifier=client_id, username="u", password="good", **options
    )


async def test_a_stock_clients_puback_waits_for_the_bridge(make_broker):
    broker, endpoints = await make_broker()
    end = await End(broker).connect("in/#")
    async with device(endpoints) as client:
        publishing = asyncio.create_task(client.publish("in/a", b"x", qos=1))
        message = await end.next()
        await client.publish("elsewhere", b"", qos=0)
        assert not publishing.done()
        end.link.ack([message.handle])
        await asyncio.wait_for(publishing, 5)


async def test_what_the_link_publishes_is_durable_when_it_is_answered(make_broker, tmp_path):
    broker, endpoints = await make_broker()
    async with device(endpoints, clean_session=False) as client:
        await client.subscribe("out/#", qos=1)
    end = await End(broker).connect("in/#")
    await end.link.publish([Outbound("out/a", b"%d" % n) for n in range(500)])
    other = SqliteStore(tmp_path / "broker.db")
    saved = other.load()
    other.close()
    assert [row.message.payload for row in saved.rows] == [b"%d" % n for n in range(500)]
    async with device(endpoints, clean_session=False) as client:
        assert [(await anext(client.messages)).payload for _ in range(500)] == [b"%d" % n for n in range(500)]


async def test_a_successor_cuts_the_link(make_broker):
    broker, _ = await make_broker()
    old = await End(broker).connect("in/#")
    new = await End(broker).connect("in/#")
    await asyncio.wait_for(old.lost.wait(), 5)
    with pytest.raises(LinkLost):
        await old.link.publish([Outbound("out/a", b"")])
    await new.link.publish([Outbound("in/self", b"x")])
    assert (await new.next()).payload == b"x"


async def test_a_kept_session_collects_while_the_link_is_away_and_over_a_restart(make_broker):
    broker, endpoints = await make_broker()
    end = await End(broker).connect("in/#")
    other = await End(broker, "bridge-1").connect("x")
    await end.link.close()
    await end.link.close()
    await other.link.publish([Outbound("in/a", b"meanwhile")])
    await broker.stop()
    broker, _ = await make_broker(mqtt=endpoints.mqtt)
    end = await End(broker).connect("in/#")
    assert (await end.next()).payload == b"meanwhile"


async def test_a_services_session_ends_with_its_link(make_broker):
    broker, _ = await make_broker()
    service = await End(broker, "api-1").connect("s/api/1/re")
    before = broker.health().sessions
    await service.link.close()
    assert broker.health().sessions == before - 1


async def test_a_stopped_broker_loses_its_links(make_broker):
    broker, _ = await make_broker()
    end = await End(broker).connect("in/#")
    await broker.stop()
    await broker.stop()
    await asyncio.wait_for(end.lost.wait(), 5)
    for publishing in (end.link.publish([Outbound("out/a", b"")]), end.connect("in/#")):
        with pytest.raises(LinkLost):
            await publishing
    end.link.ack([])
    assert not broker.health().ready


async def test_a_taken_port_is_an_error_and_leaves_nothing_open(make_broker):
    _, endpoints = await make_broker()
    free = free_port()
    with pytest.raises(OSError):
        await make_broker(mqtt=free, websocket=endpoints.mqtt)
    await make_broker(mqtt=free)


async def test_devices_wait_until_they_are_admitted(make_broker):
    broker, endpoints = await make_broker(admit=False)
    assert "admitted" in broker.health().reasons[0]
    with pytest.raises(aiomqtt.MqttError, match="unavailable"):
        await device(endpoints).__aenter__()
    broker.admit()
    async with device(endpoints):
        assert broker.health().ready
