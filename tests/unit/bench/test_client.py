"""The bench's client against a script: what it puts on the wire, and when it holds back."""

import asyncio
from collections.abc import Iterator

import mqtt5
import pytest

from bench.client import Client
from bench.job import Seat

TOPIC = "u/a/d1/out/00/c/msg"
SEAT = Seat("a:d1", "a", "token", TOPIC, ("u/a/in/#",), "b")


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.writes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.writes += 1

    def close(self) -> None:
        pass

    def packets(self) -> Iterator[mqtt5.Packet]:
        view, self.written = memoryview(self.written), b""
        while view:
            packet, length = mqtt5.read(view)
            view = view[length:]
            yield packet


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def client(wire: Wire) -> Client:
    """A connected and subscribed client of window 2, whose partner is itself."""
    peers: list[Client] = []
    client = Client("run", 0, SEAT, "xx", peers)
    peers.append(client)
    client.connection_made(wire)
    client.data_received(mqtt5.ConnAckPacket(receive_max=3).write())
    client.data_received(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]).write())
    client.window = 2
    list(wire.packets())
    return client


def copy(number: int, packet_id: int = 1) -> bytes:
    payload = f'{{"conv":"c","seq":1,"id":"run-0-{number:x}","body":"xx"}}'.encode()
    return mqtt5.PublishPacket("u/a/in/msg", payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id).write()


async def test_it_connects_as_its_seat_says_and_subscribes(wire: Wire) -> None:
    client = Client("run", 0, SEAT, "xx", [])
    client.connection_made(wire)
    (connect,) = wire.packets()
    assert isinstance(connect, mqtt5.ConnectPacket)
    assert (connect.client_id, connect.username, connect.password) == ("a:d1", "a", b"token")
    client.data_received(mqtt5.ConnAckPacket().write())
    (subscribe,) = wire.packets()
    assert isinstance(subscribe, mqtt5.SubscribePacket)
    assert [topic.pattern for topic in subscribe.topic_filters] == ["u/a/in/#"]
    assert not client.ready.done()


async def test_a_refused_connection_is_an_error(wire: Wire) -> None:
    client = Client("run", 0, SEAT, "xx", [])
    client.connection_made(wire)
    client.data_received(mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED).write())
    with pytest.raises(ConnectionError, match="NOT_AUTHORIZED"):
        await client.ready


async def test_it_sends_no_more_than_its_window(client: Client, wire: Wire) -> None:
    client.waiting.extend([1.0] * 5)
    client.flush(1.0)
    first, second = wire.packets()
    assert isinstance(first, mqtt5.PublishPacket)
    assert first.payload == b'{"id":"run-0-0","body":"xx","to":"b"}'
    assert isinstance(second, mqtt5.PublishPacket)
    client.data_received(copy(0))
    answer, third = wire.packets()
    assert isinstance(answer, mqtt5.PubAckPacket)
    assert isinstance(third, mqtt5.PublishPacket)


async def test_it_sends_no_more_than_the_receive_maximum_without_a_puback(client: Client, wire: Wire) -> None:
    client.window = 10
    client.waiting.extend([1.0] * 5)
    client.flush(1.0)
    assert len(list(wire.packets())) == 3
    client.data_received(mqtt5.PubAckPacket(1).write())
    assert len(list(wire.packets())) == 1


async def test_a_copy_in_two_pieces_is_one_copy(client: Client, wire: Wire) -> None:
    client.waiting.append(1.0)
    client.flush(1.0)
    whole = copy(0)
    client.data_received(whole[:9])
    assert client.back == 0
    client.data_received(whole[9:])
    client.data_received(copy(0, packet_id=2))
    assert client.back == 1
    assert client.sent.repeated == 1


async def test_answers_and_messages_of_one_wake_up_leave_in_one_write(client: Client, wire: Wire) -> None:
    client.waiting.extend([1.0] * 4)
    client.flush(1.0)
    writes = wire.writes
    client.data_received(copy(0) + copy(1, packet_id=2))
    assert wire.writes == writes + 1


async def test_a_refusal_makes_room_and_is_told(client: Client) -> None:
    client.waiting.append(1.0)
    client.flush(1.0)
    error = b'{"id":"run-0-0","code":"rateLimited","text":"wait"}'
    client.data_received(mqtt5.PublishPacket("u/a/d1/in/error", error).write())
    assert (client.back, client.refused, client.refusal) == (1, 1, "rateLimited: wait")
