"""Delivery cases that take the whole product: stock clients on a real server.

All that do not harm the server share one."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest

from tests.e2e.people import Person, connected, next_on, register, whole_history
from tests.processes import TidingsUp
from tidings.protocol import codec
from tidings.protocol.payloads import ErrorNotice

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TidingsUp]:
    running = TidingsUp(tmp_path_factory.mktemp("delivery") / "data").start()
    yield running
    running.stop()


async def say(
    client: aiomqtt.Client, who: Person, to: Person | str, id_: str, body: str, *, conv: str = "", lane: str = ""
) -> None:
    """Publish a message; returns with its PUBACK. `to` a person, or "" in a group `conv`."""
    peer = to.user if isinstance(to, Person) else to
    conv = conv or (who.conversation_with(to) if isinstance(to, Person) else "")
    topic = f"u/{who.user}/{who.device}/out/{lane or conv[2:4]}/{conv}/msg"
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


async def test_who_was_offline_gets_it_on_return_in_order(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    async with connected(server, bob):
        pass
    async with connected(server, alice) as at_alice:
        for number in range(20):
            await say(at_alice, alice, bob, f"m{number}", f"text {number}")
    async with connected(server, bob) as at_bob:
        came = await arrivals(at_bob, 20)
    assert [one["body"] for one in came] == [f"text {number}" for number in range(20)]
    assert [one["seq"] for one in came] == list(range(2, 22))


async def test_two_devices_of_a_user_see_the_same_log_also_what_the_other_said(server: TidingsUp) -> None:
    phone, bob = await register(server, "Alice"), await register(server, "Bob")
    laptop = await register(server, "Alice", phone=phone.phone, device="laptop")
    assert laptop.user == phone.user
    assert laptop.device != phone.device
    async with connected(server, phone) as one, connected(server, laptop) as two, connected(server, bob) as at_bob:
        await say(one, phone, bob, "p", "from the phone")
        await next_on(at_bob, "/in/msg")
        await say(at_bob, bob, phone, "b", "from Bob")
        await next_on(one, "/in/msg")
        await say(two, laptop, bob, "l", "from the laptop")
        here, there = [{"body": "from the phone"}] + await arrivals(one, 2), await arrivals(two, 3)
    assert [entry["body"] for entry in there] == ["from the phone", "from Bob", "from the laptop"]
    assert [entry["body"] for entry in here] == [entry["body"] for entry in there]
    assert [entry["seq"] for entry in there] == [2, 3, 4]


async def test_a_repeat_is_answered_to_that_device_alone_and_stored_once(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    async with connected(server, bob) as at_bob, connected(server, alice) as at_alice:
        await say(at_alice, alice, bob, "same", "once")
        first = await next_on(at_alice, f"u/{alice.user}/in/msg")
        await say(at_alice, alice, bob, "same", "once")
        again = await next_on(at_alice, f"u/{alice.user}/{alice.device}/in/msg")
        await say(at_alice, alice, bob, "other", "twice")
        came = await arrivals(at_bob, 2)
    assert again == first
    assert [entry["body"] for entry in came] == ["once", "twice"]
    assert [entry["seq"] for entry in await whole_history(server, bob, alice.conversation_with(bob))] == [1, 2, 3]


async def test_the_same_id_with_another_body_is_refused(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    async with connected(server, alice) as at_alice:
        await say(at_alice, alice, bob, "same", "one thing")
        await say(at_alice, alice, bob, "same", "another thing")
        error = await next_on(at_alice, f"{alice.device}/in/error")
    assert (error["id"], error["code"]) == ("same", "idReused")
    bodies = [entry.get("body") for entry in await whole_history(server, alice, alice.conversation_with(bob))]
    assert bodies[1:] == ["one thing"]


async def test_a_wrong_lane_is_refused_to_its_sender(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    own = alice.conversation_with(bob)[2:4]
    async with connected(server, alice) as at_alice:
        await say(at_alice, alice, bob, "astray", "hello", lane=f"{int(own, 16) ^ 1:02x}")
        error = await next_on(at_alice, "/in/error")
        await say(at_alice, alice, bob, "right", "hello")
        stored = await next_on(at_alice, "/in/msg")
    assert error["code"] == "wrongLane"
    assert own in error["text"]
    assert stored["id"] == "right"


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


@pytest.mark.parametrize("history", [True, False])
async def test_a_new_member_sees_the_last_100_or_none_as_the_group_says(server: TidingsUp, history: bool) -> None:
    alice, bob, carol = [await register(server, name) for name in ("Alice", "Bob", "Carol")]
    conv = await group_of(server, alice, bob, history=history)
    async with connected(server, alice) as one, connected(server, bob) as two:
        for number in range(60):
            await say(one, alice, "", f"a{number}", f"a{number}", conv=conv)
            await say(two, bob, "", f"b{number}", f"b{number}", conv=conv)
    async with api(server, alice) as http:
        added = (await http.post(f"/api/groups/{conv}/members", json={"members": [carol.user]})).json()["seq"]
    async with api(server, carol) as http:
        heads = (await http.get("/api/sync")).json()["heads"]
    (head,) = [one for one in heads if one["conv"] == conv]
    assert head["seq"] == added
    assert head["first"] == (added - 100 if history else added)
    before = (await whole_history(server, carol, conv))[: -1 if history else None]
    shown = [entry for entry in before if entry["seq"] < added and entry["kind"] != "tombstone"]
    assert len(shown) == (100 if history else 0)


async def test_what_a_blocked_user_says_keeps_its_number_and_is_silent(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    conv = alice.conversation_with(bob)
    async with connected(server, bob) as at_bob, connected(server, alice) as at_alice:
        await say(at_alice, alice, bob, "before", "before")
        await next_on(at_alice, "/in/msg")
        await next_on(at_bob, "/in/msg")
        async with api(server, bob) as http:
            assert (await http.post(f"/api/blocks/{alice.user}")).status_code == 204
        until = time.monotonic() + 35
        number = 0
        while time.monotonic() < until:  # a notice makes it fast, the bridge's next look makes it sure
            number += 1
            await say(at_alice, alice, bob, f"blocked{number}", "blocked")
            mine = await next_on(at_alice, "/in/msg")
            if not [one for one in await _everything(at_bob, "/in/msg") if one["seq"] == mine["seq"]]:
                break
        else:
            pytest.fail("the block never took effect")
    entry = (await whole_history(server, bob, conv))[-1]
    assert entry["kind"] == "tombstone"
    assert "body" not in entry
    assert "from" not in entry
    assert (await whole_history(server, alice, conv))[-1]["body"] == "blocked", "the sender is not told"


async def test_more_than_100_messages_in_a_minute_are_refused_with_a_time_to_wait(server: TidingsUp) -> None:
    alice, bob = await register(server, "Alice"), await register(server, "Bob")
    async with connected(server, alice) as at_alice:
        await asyncio.gather(*(say(at_alice, alice, bob, f"m{number}", "hi") for number in range(130)))
        refused = await _everything(at_alice, "/in/error")
    assert refused
    assert {error["code"] for error in refused} == {"rateLimited"}
    assert all(0 < error["retryAfter"] <= 60 for error in refused)
    stored = [entry["id"] for entry in await whole_history(server, alice, alice.conversation_with(bob))][1:]
    assert len(stored) >= 100
    assert sorted(stored + [error["id"] for error in refused]) == sorted(f"m{number}" for number in range(130))


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
