"""What our plugin costs Mosquitto: CPU a relayed message and a connect, without and with it, in pairs of one run.

    python -m bench.mosquitto [--pairs 5] [--messages 20000] [--connects 300] [--results bench/results]

Rules: the same clients, tokens and topics for both; the pair's order alternates, since a machine's load drifts; CPU is
the broker process' user and system time; a warm-up that is not counted comes first. The median of the pairs is told.
Nothing is saved meanwhile: saving costs more than all the rest, and would hide what the plugin adds.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import psutil
from msgspec import Struct, structs

from acl.keys import KeySet, make_key
from acl.revocations import Revocations
from acl.tokens import Claims, issue
from bench.systems import HOST, free_port
from bridge.links.mqtt import Address, MqttLink
from broker.mosquitto.build import build
from broker.mosquitto.configuration import Settings, configuration
from broker.mosquitto.server import MosquittoBroker, settings_user
from broker.port import Limits
from tidings.protocol import ids
from tidings.protocol.link import Inbound, Outbound

CLIENTS: Final = 20
BATCH: Final = 50
SIZE: Final = 208
_PLUGIN_LINES: Final = ("plugin", "check_retain_source", "allow_anonymous")


class Cost(Struct, frozen=True):
    """Broker CPU of one run, µs: a relayed message, and a connect with its end."""

    message: float
    connect: float


class Device:
    """A client that publishes on a topic of its own and is subscribed to its own inbox."""

    def __init__(self, number: int, port: int, keys: KeySet, life: int = 3_600_000) -> None:
        entropy = Random(number).randbytes(11)
        user, device = ids.make_user_id(entropy), ids.make_device_id(entropy)
        now = time.time_ns() // 1_000_000
        token = issue(keys, Claims(user, device, "person", now, now + life, allow=(("subscribe", "u/+/+/out/#"),)))
        name = ids.client_id(user, device)
        self.link = MqttLink(Address(HOST, port, name, user, password=token.encode, session_expiry=0))
        self.topic = f"u/{user}/{device}/out/00/conversation/msg"
        self.came = 0

    async def connect(self, filters: tuple[str, ...]) -> None:
        """Connect and subscribe."""
        await self.link.connect(filters, self._receive, lambda: None)

    def _receive(self, messages: Sequence[Inbound]) -> None:
        self.came += len(messages)
        self.link.ack(one.handle for one in messages)


@asynccontextmanager
async def running(folder: Path, keys: KeySet, *, plugin: bool) -> AsyncIterator[tuple[int, psutil.Process]]:
    """A Mosquitto with the configuration of `TIDINGS_BROKER=mosquitto`, or with the same but for the plugin."""
    revocations = Revocations()
    revocations.replace(1, [])
    settings = Settings(
        folder=folder,
        mqtt=free_port(),
        plugin=build(),
        python=Path(sys.executable),
        user=settings_user(),
        limits=Limits(inflight=1_000, queue_messages=20_000, queue_bytes=64 * 1024 * 1024),
        autosave=10**9,
    )
    if plugin:
        broker = MosquittoBroker(settings, keys, revocations)
        await broker.start()
        broker.admit()
        try:
            yield settings.mqtt, psutil.Process(broker.pid)
        finally:
            await broker.stop()
        return
    folder.mkdir(parents=True, exist_ok=True)
    lines = [line for line in configuration(settings, 0).splitlines() if not line.startswith(_PLUGIN_LINES)]
    settings.configuration.write_text("\n".join(["allow_anonymous true", *lines, ""]))
    process = await asyncio.create_subprocess_exec(
        "mosquitto", "-c", str(settings.configuration), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _until_it_listens(settings.mqtt)
        yield settings.mqtt, psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


async def measure(folder: Path, keys: KeySet, *, plugin: bool, messages: int, connects: int) -> Cost:
    """Run one of a pair."""
    async with running(folder, keys, plugin=plugin) as (port, process):
        devices = [Device(number, port, keys) for number in range(CLIENTS)]
        for number, device in enumerate(devices):
            await device.connect((devices[(number + 1) % CLIENTS].topic,))
        await _relay(devices, messages // 5)
        before = _cpu(process)
        relayed = await _relay(devices, messages)
        message = (_cpu(process) - before) / relayed
        for device in devices:
            await device.link.close()
        strangers = [Device(1_000 + number, port, keys) for number in range(connects)]
        before = _cpu(process)
        for stranger in strangers:
            await stranger.connect(())
            await stranger.link.close()
        return Cost(message * 1e6, (_cpu(process) - before) / connects * 1e6)


async def _relay(devices: list[Device], messages: int) -> int:
    """Publish QoS 1 messages to neighbours, and wait until all have come."""
    each = messages // len(devices) // BATCH * BATCH
    wanted = [device.came + each for device in devices]

    async def speak(device: Device) -> None:
        for _ in range(each // BATCH):
            await device.link.publish([Outbound(device.topic, bytes(SIZE))] * BATCH)

    await asyncio.gather(*(speak(device) for device in devices))
    async with asyncio.timeout(30):
        while any(device.came < count for device, count in zip(devices, wanted, strict=True)):
            await asyncio.sleep(0.01)
    return each * len(devices)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                return
            await asyncio.sleep(0.02)


async def pairs(count: int, messages: int, connects: int) -> list[tuple[Cost, Cost]]:
    """Run the pairs: (without, with)."""
    keys, found = KeySet((make_key(),)), []
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as scratch:
        for number in range(count):
            costs = {}
            for plugin in (False, True) if number % 2 == 0 else (True, False):
                folder = Path(scratch) / f"{number}-{plugin}"
                costs[plugin] = await measure(folder, keys, plugin=plugin, messages=messages, connects=connects)
            found.append((costs[False], costs[True]))
            print(*(f"{name} {value:.1f}" for cost in found[-1] for name, value in structs.asdict(cost).items()))
    return found


def report(found: list[tuple[Cost, Cost]], messages: int) -> str:
    """Write the table."""
    rows = [
        (name, *(statistics.median(getattr(pair[side], name) for pair in found) for side in (0, 1)))
        for name in ("message", "connect")
    ]
    ratio = statistics.median(with_.message / without.message for without, with_ in found)
    lines = [f"| {name} | {bare:.1f} | {asked:.1f} | {asked - bare:+.1f} |" for name, bare, asked in rows]
    return "\n".join(
        [
            "# Mosquitto with and without the plugin\n",
            f"{len(found)} pairs, {messages} messages of {SIZE} bytes, QoS 1, {CLIENTS} clients each to a neighbour; "
            f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}. Broker CPU, µs, medians; a connect is "
            "CONNECT with a token not seen before, CONNACK and DISCONNECT.\n",
            "| | without | with | more |\n| --- | --- | --- | --- |",
            *lines,
            f"\nA message costs {100 * (ratio - 1):+.1f} % (median of the pairs' ratios).\n",
        ]
    )


def main() -> None:
    """Measure, print, and write `mosquitto-plugin.md` and `.json` into the results' folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connects", type=int, default=300)
    parser.add_argument("--results", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    found = asyncio.run(pairs(options.pairs, options.messages, options.connects))
    text = report(found, options.messages)
    print(text)
    (options.results / "mosquitto-plugin.md").write_text(text)
    (options.results / "mosquitto-plugin.json").write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
