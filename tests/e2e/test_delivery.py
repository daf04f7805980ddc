"""Delivery cases that strain or harm a whole server; plain talk is in `test_messaging`.

All that do not harm it share one."""

import asyncio
import json
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest

from tests.e2e.people import Person, connected, next_on, register, whole_history
from tests.processes import BIN, TidingsUp
from tidings.protocol import codec
from tidings.protocol.payloads import ErrorNotice

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def say(client: aiomqtt.Client, who: Person, to: Person | str, id_: str, body: str, *, conv: str = "") -> None:
    """Publish a message; returns with its PUBACK. `to` a person, or "" in a group `conv`."""
    peer = to.user if isinstance(to, Person) else to
    conv = conv or (who.conversation_with(to) if isinstance(to, Person) else "")
    topic = f"u/{who.user}/{who.device}/out/{conv[2:4]}/{conv}/msg"
    await client.publish(topic, json.dumps({"id": id_, "body": body, "to": peer}), qos=1, timeout=10)


async def arrivals(client: aiomqtt.Client, count: int, *, within: float = 10.0) -> list[dict[str, Any]]:
    """Take the next `count` messages that travel on `in/msg`."""
    return [await next_on(client, "/in/msg", within=within) for _ in range(count)]


@asynccontextmanager
async def api(server: TidingsUp, who: Person) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, headers=who.headers, timeout=10) as http:
        yield http


async def group_of(server: TidingsUp, admin: Person, *members: Person, history: bool = True) -> str:
    body = {"name": "Group", "members": [one.user for one in members], "history": history}
    async with api(server, admin) as http:
        answer = await http.post("/api/groups", json=body)
        assert answer.status_code == 201, answer.text
        conv: str = answer.json()["conv"]
        return conv


@pytest.mark.parametrize("poison", [b"\xff\xfe\x00", b"{", b"[]", b"", b'{"id": 7}', b"\x81\xa2id", b"\x84"])
async def test_undecodable_bytes_are_told_and_hold_nobody_up(server: TidingsUp, poison: bytes) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    async with connected(server, alice) as at_alice:
        await at_alice.publish(alice.out(alice.conversation_with(bob)), poison, qos=1, timeout=10)
        async with asyncio.timeout(10):
            answer = await anext(aiter(at_alice.messages))
        assert str(answer.topic).endswith(f"{alice.device}/in/error")
        assert isinstance(answer.payload, bytes)
        told = codec.decode(answer.payload, ErrorNotice)  # in the encoding that the poison seemed to have
        assert told.code == "badPayload"
        await say(at_alice, alice, bob, "fine", "hello")
        assert (await next_on(at_alice, "/in/msg"))["id"] == "fine"


async def test_a_body_that_the_server_cannot_read_comes_out_as_it_went_in(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    body = "AAECAwQF+/=" * 50 + "\u0000\u202e\U0001f9ff"
    async with connected(server, bob) as at_bob, connected(server, alice) as at_alice:
        await say(at_alice, alice, bob, "cipher", body)
        assert (await next_on(at_bob, "/in/msg"))["body"] == body


async def test_a_removed_member_sees_nothing_later_in_mid_stream(server: TidingsUp) -> None:
    alice, bob, carol = [await register(server, name) for name in ("Alice", "Bob", "Carol")]
    conv = await group_of(server, alice, bob, carol)
    async with connected(server, bob) as at_bob, connected(server, carol) as at_carol:

        async def stream() -> None:
            for number in range(60):
                await say(at_carol, carol, "", f"c{number}", f"{number}", conv=conv)

        talking = asyncio.create_task(stream())
        await arrivals(at_bob, 10)
        async with api(server, alice) as http:
            removed = await http.delete(f"/api/groups/{conv}/members/{bob.user}")
        assert removed.status_code == 200, removed.text
        await talking
        late = await _everything(at_bob, "/in/msg")
    last = removed.json()["seq"]
    assert all(entry["seq"] < last for entry in late)
    whole = await whole_history(server, carol, conv)
    assert [entry["seq"] for entry in whole] == list(range(1, len(whole) + 1))
    assert sum(entry["kind"] == "text" for entry in whole) == 60
    seen = await whole_history(server, bob, conv)
    assert [entry["seq"] for entry in seen] == list(range(1, last + 1))
    async with api(server, bob) as http:
        refused = await http.post("/api/messages", json={"conv": conv, "body": "still here?"})
    assert refused.status_code == 403
    assert refused.json()["code"] == "notMember"


async def _everything(client: aiomqtt.Client, ending: str) -> list[dict[str, Any]]:
    """Everything that is still on its way: until half a second is silent."""
    found: list[dict[str, Any]] = []
    while True:
        try:
            found.append(await next_on(client, ending, within=0.5))
        except TimeoutError:
            return found


async def test_a_revoked_device_is_disconnected_within_2_s_and_stays_out(server: TidingsUp) -> None:
    phone = await register(server, "Alice")
    laptop = await register(server, "Alice", phone=phone.phone, device="laptop")
    async with _until_cut(server, laptop), api(server, phone) as http:
        assert (await http.delete(f"/api/devices/{laptop.device}")).status_code == 204
    with pytest.raises(aiomqtt.MqttError):
        await connected(server, laptop).__aenter__()
    async with connected(server, phone):
        pass


@asynccontextmanager
async def _until_cut(server: TidingsUp, who: Person) -> AsyncIterator[None]:
    """Be connected; what is inside happens, and the connection must end within 2 s of it."""
    with suppress(aiomqtt.MqttError):
        async with connected(server, who) as client:
            yield
            async with asyncio.timeout(2.5):
                async for _ in client.messages:
                    pass
        pytest.fail("it was not cut off")


async def test_nobody_speaks_in_anothers_name(server: TidingsUp) -> None:
    alice, bob, eve = [await register(server, name) for name in ("Alice", "Bob", "Eve")]
    async with connected(server, bob) as at_bob:
        async with connected(server, alice) as at_alice:
            await say(at_alice, alice, bob, "real", "I am Alice")
            await next_on(at_bob, "/in/msg")
        for topic in (alice.out(alice.conversation_with(bob)), f"u/{bob.user}/in/msg"):
            with suppress(aiomqtt.MqttError):  # cut off, or never acknowledged: either is a refusal on MQTT 3.1.1
                async with connected(server, eve) as at_eve:
                    await at_eve.publish(topic, json.dumps({"id": "forged", "body": "I am Alice"}), qos=1, timeout=2)
        assert await _everything(at_bob, "/in/msg") == []
    assert [one.get("id") for one in await whole_history(server, alice, alice.conversation_with(bob))][1:] == ["real"]


# Cases that harm the server: each has its own.


@pytest.fixture
def own(tmp_path: Path) -> Iterator[TidingsUp]:
    running = TidingsUp(tmp_path / "data", limits_messages_a_minute="0").start()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()


async def test_a_stock_clients_puback_means_stored(own: TidingsUp) -> None:
    alice, bob = await register(own, "Alice"), await register(own, "Bob")
    async with connected(own, alice) as at_alice:
        for number in range(10):
            await say(at_alice, alice, bob, f"m{number}", f"{number}")
        own.kill()
    own.start()
    entries = await whole_history(own, alice, alice.conversation_with(bob))
    assert [entry["id"] for entry in entries[1:]] == [f"m{number}" for number in range(10)]


async def test_what_the_broker_lost_is_found_by_its_head_and_repaired_over_mqtt(own: TidingsUp) -> None:
    alice, bob = await register(own, "Alice"), await register(own, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(own, bob):
        pass
    async with connected(own, alice) as at_alice:
        for number in range(3):
            await say(at_alice, alice, bob, f"m{number}", f"text {number}")
    own.kill()
    lost = list(own.data.glob("broker.db*"))
    assert lost
    for file in lost:
        file.unlink()
    own.start()
    async with connected(own, bob) as at_bob:
        lane = bob.user[2:4]
        await at_bob.publish(f"u/{bob.user}/{bob.device}/do/{lane}/heads", json.dumps({"id": "h"}), qos=1)
        reply = await next_on(at_bob, f"{bob.device}/in/reply")
        assert [(head["conv"], head["seq"]) for head in reply["heads"]] == [(conv, 4)]
        ask = {"id": "s", "conv": conv, "after": 0, "limit": 50}
        await at_bob.publish(f"u/{bob.user}/{bob.device}/do/{lane}/sync", json.dumps(ask), qos=1)
        reply = await next_on(at_bob, f"{bob.device}/in/reply")
    assert [entry.get("body", "") for entry in reply["messages"]][1:] == ["text 0", "text 1", "text 2"]
    assert reply["head"] == 4


async def test_a_locked_store_stops_acknowledging_turns_readyz_red_and_heals(own: TidingsUp) -> None:
    alice, bob = await register(own, "Alice"), await register(own, "Bob")
    async with connected(own, alice) as at_alice:
        await say(at_alice, alice, bob, "before", "before")
        with locked(own.data / "log.db"):
            publishing = asyncio.create_task(say(at_alice, alice, bob, "during", "during"))
            await _readyz(own, 503)
            assert not publishing.done(), "acknowledged, though it cannot be stored"
        await publishing
        await _readyz(own, 200)
    entries = await whole_history(own, alice, alice.conversation_with(bob))
    assert [entry["id"] for entry in entries[1:]] == ["before", "during"]


async def test_a_dead_letter_is_listed_shown_replayed_and_dropped(own: TidingsUp) -> None:
    alice, bob = await register(own, "Alice"), await register(own, "Bob")
    topic = alice.out(alice.conversation_with(bob))
    async with connected(own, alice) as at_alice:
        await at_alice.publish(topic, b"\xff poison", qos=1, timeout=10)
        await next_on(at_alice, "/in/error")
        (letter,) = json.loads(dead(own, "list", "--json"))
        assert (letter["topic"], letter["code"]) == (topic, "badPayload")
        assert "poison" in dead(own, "show", str(letter["number"]))
        dead(own, "replay", str(letter["number"]))
        await next_on(at_alice, "/in/error")
    (again,) = json.loads(dead(own, "list", "--json"))
    assert again["number"] > letter["number"], "still poison: it has become a letter again"
    dead(own, "drop", str(again["number"]))
    assert json.loads(dead(own, "list", "--json")) == []


def dead(server: TidingsUp, *arguments: str) -> str:
    """Run `tidings bridge dead …` on the server's folder."""
    command = [BIN / "tidings", "bridge", "dead", *arguments]
    done = subprocess.run(command, env=server.environment(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the database's write lock, as a backup tool that hangs does."""
    holder = sqlite3.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


async def _readyz(server: TidingsUp, status: int) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=server.url, timeout=10) as http:
        while (await http.get("/readyz")).status_code != status:
            await asyncio.sleep(0.1)
