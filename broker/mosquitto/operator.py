"""An operator's connection to a broker that only speaks MQTT: it watches `$SYS` and disconnects clients.

Rules
- A client is disconnected by connecting in its name and leaving again: every broker cuts the older connection. The
  session stays when the new connection is not a clean one, and is deleted when it is.
- What comes in the name of the kicked client is not acknowledged, so it stays in its queue.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import mqtt5
from mqtt5 import Packet

from broker.embedded import codec311
from broker.embedded.packets import MalformedPacket, ProtocolViolation

CONNECT_WITHIN: Final = 5.0
"""Seconds for a CONNECT's answer."""
_KEEP_ALIVE: Final = 30
_CHUNK: Final = 64 * 1024


class Door:
    """Where to connect, and with which credentials."""

    def __init__(self, host: str, port: int, username: str, password: bytes) -> None:
        self.host = host
        self.port = port
        self.username = username
        self.password = password

    @contextlib.asynccontextmanager
    async def enter(self, client_id: str, *, clean: bool) -> AsyncIterator["Conversation"]:
        """Connect in the name of `client_id`. Raises `OSError` when refused or cut."""
        async with asyncio.timeout(CONNECT_WITHIN):
            reader, writer = await asyncio.open_connection(self.host, self.port)
        conversation = Conversation(reader, writer)
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await conversation.connect(self.username, self.password, client_id, clean)
            yield conversation
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class Conversation:
    """Packets over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()

    async def connect(self, username: str, password: bytes, client_id: str, clean: bool) -> None:
        """Send CONNECT and wait for its answer."""
        self.send(
            mqtt5.ConnectPacket(
                client_id, clean_start=clean, keep_alive=_KEEP_ALIVE, username=username, password=password
            )
        )
        answer = await self.receive()
        if not isinstance(answer, mqtt5.ConnAckPacket) or answer.reason_code.value != 0:
            raise ConnectionRefusedError(f"the broker refused its operator: {answer}")

    def send(self, packet: Packet) -> None:
        """Send one packet."""
        self._writer.write(codec311.write(packet))

    async def receive(self) -> Packet:
        """Wait for one packet. Raises `ConnectionResetError` at the connection's end."""
        while True:
            try:
                found = codec311.read(memoryview(bytes(self._buffer)))
            except (MalformedPacket, ProtocolViolation) as error:
                raise ConnectionResetError(str(error)) from error
            if found is not None:
                packet, size = found
                del self._buffer[:size]
                return packet
            data = await self._reader.read(_CHUNK)
            if not data:
                raise ConnectionResetError("the broker closed the connection")
            self._buffer += data


async def kick(door: Door, client_id: str, *, forget: bool) -> None:
    """Disconnect a client; with `forget`, delete its session too."""
    async with door.enter(client_id, clean=forget) as conversation:
        conversation.send(mqtt5.DisconnectPacket())


class Watch:
    """The last values of the `$SYS` topics it was told to watch, all of them counts."""

    def __init__(self, door: Door, topics: tuple[str, ...]) -> None:
        self.values: dict[str, int] = dict.fromkeys(topics, 0)
        self.connected = False
        self._door = door

    async def run(self) -> None:
        """Watch until cancelled or cut; raises `OSError` at a cut."""
        async with self._door.enter("tidings-operator", clean=True) as conversation:
            conversation.send(
                mqtt5.SubscribePacket(
                    1, [mqtt5.TopicFilter(topic, max_qos=mqtt5.QoS.AT_MOST_ONCE) for topic in self.values]
                )
            )
            self.connected = True
            try:
                await self._follow(conversation)
            finally:
                self.connected = False

    async def _follow(self, conversation: Conversation) -> None:
        while True:
            try:
                async with asyncio.timeout(_KEEP_ALIVE / 2):
                    packet = await conversation.receive()
            except TimeoutError:
                conversation.send(mqtt5.PingReqPacket())
                continue
            if isinstance(packet, mqtt5.PublishPacket) and packet.payload.isdigit():
                self.values[packet.topic] = int(packet.payload)
