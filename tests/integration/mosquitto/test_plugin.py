"""A Mosquitto with our plugin, from outside: what Python is asked, who waits for whom, and what a kill leaves."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from acl.gate import bridge_claims
from acl.keys import KeySet, make_key
from acl.revocations import Revocations
from acl.tokens import Claims, issue
from bridge.links.mqtt import Address, MqttLink
from broker.mosquitto.build import build
from broker.mosquitto.configuration import Settings
from broker.mosquitto.server import MosquittoBroker, settings_user
from tests.conformance.acl.keys import now
from tests.conformance.broker.mosquitto import NEEDS_MOSQUITTO
from tests.processes import free_port
from tidings.protocol import ids, topics
from tidings.protocol.errors import LinkLost
from tidings.protocol.ids import Group
from tidings.protocol.link import Outbound

pytestmark = NEEDS_MOSQUITTO
ROOT = Path(__file__).resolve().parents[3]
GROUP = Group("0")
KEYS = KeySet((make_key(),))
ALICE = ids.make_user_id(bytes(11))
PHONE = ids.make_device_id(bytes(6))
STATE = f"u/{ALICE}/{PHONE}/state/00"


def settings(folder: Path, **more: object) -> Settings:
    fields = {"folder": folder, "mqtt": free_port(), "plugin": build(ROOT / "var" / "mosquitto-plugin")}
    fields |= {"python": Path(sys.executable), "user": settings_user(), "path": (ROOT,)}
    return Settings(**{**fields, **more})  # type: ignore[arg-type]


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[MosquittoBroker]:
    """A Mosquitto that wants the bridge of one lane group, and has admitted."""
    revocations = Revocations()
    revocations.replace(1, [])
    made = MosquittoBroker(settings(tmp_path / "data"), KEYS, revocations, (GROUP,))
    await made.start()
    made.admit()
    yield made
    await made.stop()


def link(broker: MosquittoBroker, claims: Claims, name: str, username: str) -> MqttLink:
    port = broker._settings.mqtt
    return MqttLink(Address("127.0.0.1", port, name, username, password=lambda: issue(KEYS, claims).encode()))


def device(broker: MosquittoBroker) -> MqttLink:
    claims = Claims(ALICE, PHONE, "device", now(), now() + 60_000)
    return link(broker, claims, ids.client_id(ALICE, PHONE), ALICE)


def bridge(broker: MosquittoBroker) -> MqttLink:
    return link(broker, bridge_claims(GROUP, now(), 60_000), f"bridge-{GROUP}", f"bridge-{GROUP}")


async def connect(one: MqttLink, *filters: str) -> None:
    await one.connect(filters, lambda _: None, lambda: None)


async def test_devices_wait_for_the_bridge_and_wait_again_after_a_kill(broker: MosquittoBroker) -> None:
    phone, ours = device(broker), bridge(broker)
    for _ in range(2):
        with pytest.raises(LinkLost):
            await connect(phone)
        await connect(ours, *topics.bridge_subscriptions(GROUP))
        await connect(phone)
        await phone.publish([Outbound(STATE, b"x")])
        killed = broker.pid
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(10):
            while broker.pid in (0, killed) or not await listens(broker):
                await asyncio.sleep(0.02)
    await phone.close()
    await ours.close()


async def listens(broker: MosquittoBroker) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", broker._settings.mqtt)
    except OSError:
        return False
    writer.close()
    return True


async def test_python_is_asked_once_for_what_is_said_often(tmp_path: Path) -> None:
    gate = "tests.integration.mosquitto.counting:CountingGate"
    broker = MosquittoBroker(settings(tmp_path / "data", gate=gate), KEYS, Revocations())
    await broker.start()
    broker.admit()
    asked = tmp_path / "asked"
    try:
        one = MqttLink(Address("127.0.0.1", broker._settings.mqtt, str(asked), "user", password=lambda: b"good"))
        await connect(one, "x")
        for _ in range(5):
            await one.publish([Outbound("x", b"1")] * 20)
        await one.publish([Outbound("y", b"1")])
        await one.close()
    finally:
        await broker.stop()
    # The second question about "x" is whether it may be read.
    assert asked.read_text().split() == ["subscribe:x", "publish:x", "subscribe:x", "publish:y"]


def test_what_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "broker.mosquitto.build", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "CC": "no-such-compiler"}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "tidings: the plugin needs a C compiler; Debian: apt install gcc libc6-dev\n"
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    made = build(tmp_path)
    changed = made.stat().st_mtime_ns
    assert build(tmp_path) == made
    assert made.stat().st_mtime_ns == changed
    assert list(tmp_path.iterdir()) == [made]
