"""A real Mosquitto without a password, and beside it the smallest possible server, played by a stock client."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiomqtt

from tests.processes import free_port
from tests.unit.session.server import Server
from tidings.profile import Profile
from tidings.protocol import topics
from tidings.protocol.ids import DeviceId, UserId
from tidings.session import Publish


class Mosquitto:
    """One broker on a free port. Its sessions live as long as its process."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_keepalive 60\n")
        self._log = folder / "mosquitto.log"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it for as long as the block."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(["mosquitto", "-c", self._config], stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def served(port: int, server: Server) -> AsyncIterator[None]:
    """Play the server for one device: take what is published, publish what its model queues."""
    connected = asyncio.Event()
    task = asyncio.create_task(_serve(port, server, connected))
    try:
        await asyncio.wait_for(connected.wait(), 10)
        yield
    finally:
        while not task.done():  # an error of the goodbye may take a cancellation's place
            task.cancel()
            await asyncio.wait([task], timeout=1)


async def _serve(port: int, server: Server, connected: asyncio.Event) -> None:
    while True:
        with suppress(aiomqtt.MqttError, OSError):
            async with aiomqtt.Client("127.0.0.1", port, identifier="bridge", clean_session=False) as client:
                await client.subscribe([(f"u/+/+/{kind}/#", 1) for kind in ("out", "do")])
                connected.set()
                await _flush(client, server)
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    server.take(Publish(str(message.topic), message.payload))
                    await _flush(client, server)
        await asyncio.sleep(0.05)


async def _flush(client: aiomqtt.Client, server: Server) -> None:
    while server.queue:
        topic, payload = server.queue.popleft()
        topics.parse(topic)
        await client.publish(topic, payload, qos=1)


def profile_of(user: UserId, device: DeviceId, port: int) -> Profile:
    """The profile of a device that logged in to this broker."""
    return Profile("http://127.0.0.1:9", "127.0.0.1", {"mqtt": port}, user, device, "token")
