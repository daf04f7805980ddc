"""The process that a broker under trial runs in: it prints one line when it listens, and obeys lines on its input.

    python -m tests.conformance.broker.host '{"kind": "amqtt", "folder": …, "mqtt": …, "websocket": …, "limits": …}'

Each line in is a JSON object with a `do`; each is answered by one line. End of input stops the broker cleanly.
"""

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import msgspec

from acl.keys import KeySet, load, make_key
from broker.port import Limits
from tests.conformance.broker.gates import OpenGate

ROOT = Path(__file__).resolve().parents[3]


def clock():
    """The time, ms UTC."""
    return time.time_ns() // 1_000_000


def make_gate(order):
    """Make the gate, and what can revoke (None where nothing can)."""
    if order.get("gate") != "tokens":
        return OpenGate(), None
    from tests.conformance.acl.keys import make_token_gate

    return make_token_gate(order)


def make_mosquitto(order):
    """Make a Mosquitto, whose gate is made in its own process, and what can revoke."""
    from broker.mosquitto.build import build
    from broker.mosquitto.configuration import Settings
    from broker.mosquitto.server import MosquittoBroker, settings_user
    from tests.conformance.acl.keys import make_revocations

    tokens = order.get("gate") == "tokens"
    keys = load(Path(order["keys"])) if tokens else KeySet((make_key(),))
    revocations, revoke = make_revocations()
    settings = Settings(
        folder=Path(order["folder"]),
        mqtt=order["mqtt"],
        websocket=order["websocket"],
        plugin=build(ROOT / "var" / "mosquitto-plugin"),
        python=Path(sys.executable),
        user=settings_user(),
        limits=msgspec.convert(order["limits"], Limits),
        path=(ROOT,),
        gate="" if tokens else f"{OpenGate.__module__}:{OpenGate.__name__}",
    )
    return MosquittoBroker(settings, keys, revocations), revoke


def make_broker(order, gate):
    """Make the ordered broker."""
    limits = msgspec.convert(order["limits"], Limits)
    folder, mqtt, websocket = Path(order["folder"]), order["mqtt"], order["websocket"]
    match order["kind"]:
        case "amqtt":
            from broker.amqtt.server import AmqttBroker

            return AmqttBroker(gate, clock, mqtt=mqtt, websocket=websocket, limits=limits)
        case "embedded":
            from tests.conformance.broker.embedded import make_embedded

            return make_embedded(folder, gate, clock, mqtt=mqtt, websocket=websocket, limits=limits)
    raise ValueError(order["kind"])


async def obey(broker, revoke, command):
    """Do what a line says and give the answer."""
    match command["do"]:
        case "kick":
            await broker.kick(command["client"], forget=command["forget"])
        case "health":
            return msgspec.to_builtins(broker.health())
        case "revoke":
            revoke(command, clock())
    return {}


def say(value):
    print(msgspec.json.encode(value).decode(), flush=True)


async def main(order):
    if order["kind"] == "mosquitto":
        broker, revoke = make_mosquitto(order)
    else:
        gate, revoke = make_gate(order)
        broker = make_broker(order, gate)
    await broker.start()
    broker.admit()
    say({"pids": [pid for pid in (getattr(broker, "pid", 0),) if pid]})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        say(await obey(broker, revoke, msgspec.json.decode(line)))
    await broker.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(msgspec.json.decode(sys.argv[1])))
